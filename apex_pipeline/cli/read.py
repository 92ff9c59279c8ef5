"""Commands that read what is published: tracks, sessions, files, laps, cars, telemetry, rejects."""

from datetime import datetime
from typing import Annotated, Any

import pandas as pd
import typer

from apex_pipeline.catalog import Catalog, open_catalog
from apex_pipeline.cli.console import show_frame
from apex_pipeline.errors import ConfigurationError
from apex_pipeline.ops.lineage import find_car
from apex_pipeline.settings import load_settings
from apex_pipeline.storage.contract import ObjectStore
from apex_pipeline.storage.opening import open_store, open_store_at

AsJson = Annotated[bool, typer.Option("--json", help="Print all rows as JSON.")]
Lake = Annotated[str | None, typer.Option("--lake", help="Folder or s3:// address; the settings' lake without it.")]
TrackArgument = Annotated[str, typer.Argument(help="Track slug, as `apex tracks` lists it.")]
SessionArgument = Annotated[str, typer.Argument(help="Session, as `apex sessions` lists it.")]

_LAP_COLUMNS = ("vehicle_id", "car_number", "lap_number", "unit_lap", "lap_end_utc", "lap_time_s", "is_valid", "flags")
_CAR_COLUMNS = (
    *("vehicle_id", "car_number", "method", "confidence", "agreeing_crossings", "official_crossings"),
    *("runner_up", "runner_up_agreeing", "evidence"),
)


def store_at(lake: str | None) -> ObjectStore:
    """Return the store of a lake given by ``--lake``, or the settings' own."""
    settings = load_settings()
    return open_store_at(lake, settings) if lake else open_store(settings, for_writing=False)


def tracks_command(lake: Lake = None, as_json: AsJson = False) -> None:  # noqa: FBT002  -- a command-line switch
    """List the tracks of the lake."""
    show_frame(open_catalog(lake).tracks(), as_json=as_json, title="Tracks")


def sessions_command(
    track: Annotated[str | None, typer.Argument(help="Only this track.", show_default=False)] = None,
    lake: Lake = None,
    as_json: AsJson = False,  # noqa: FBT002  -- a command-line switch
) -> None:
    """List the sessions of the lake, with the kinds of raw file they have and miss."""
    sessions = open_catalog(lake).sessions()
    if track is not None:
        sessions = sessions[sessions["track"] == track]
    show_frame(sessions, as_json=as_json, title="Sessions")


def files_command(
    status: Annotated[str | None, typer.Option(help="ready, quarantined, unresolved or ignored.")] = None,
    lake: Lake = None,
    as_json: AsJson = False,  # noqa: FBT002  -- a command-line switch
) -> None:
    """List every file seen, and what became of it."""
    files = open_catalog(lake).files()
    if status is not None:
        files = files[files["status"] == status]
    columns = ["path", "bytes", "kind", "track", "session", "status", "reason"]
    show_frame(files if as_json else files[columns], as_json=as_json, title="Files")


def laps_command(
    track: TrackArgument,
    session: SessionArgument,
    car: Annotated[str | None, typer.Option(help="vehicle_id, chassis or car number.")] = None,
    lake: Lake = None,
    as_json: AsJson = False,  # noqa: FBT002  -- a command-line switch
) -> None:
    """List the laps of a session, one car's or all."""
    laps = open_catalog(lake).laps(track, session)
    if car is not None:
        laps = laps[(laps["vehicle_id"] == car) | (laps["chassis"] == car) | (laps["car_number"] == car)]
    shown = laps if as_json else laps[list(_LAP_COLUMNS)]
    show_frame(shown, as_json=as_json, title=f"Laps of {track}/{session}")


def cars_command(
    track: TrackArgument,
    session: SessionArgument,
    lake: Lake = None,
    as_json: AsJson = False,  # noqa: FBT002  -- a command-line switch
) -> None:
    """List who is who: every unit and official car of a session, with the evidence."""
    cars = open_catalog(lake).cars(track, session)
    shown = cars if as_json else cars[list(_CAR_COLUMNS)]
    show_frame(shown, as_json=as_json, title=f"Cars of {track}/{session}")


def telemetry_command(  # noqa: PLR0913, PLR0917  -- one option each
    track: TrackArgument,
    session: SessionArgument,
    car: Annotated[
        str | None,
        typer.Option(help="vehicle_id, chassis or car number; #13 is always a number. Without it every car."),
    ] = None,
    lap: Annotated[int | None, typer.Option(help="lap_number, as `apex laps` lists it.")] = None,
    start: Annotated[str | None, typer.Option(help="From this time on, e.g. 2025-09-06T18:40:00Z.")] = None,
    end: Annotated[str | None, typer.Option(help="Before this time.")] = None,
    channel: Annotated[list[str] | None, typer.Option(help="Only this channel; may be repeated.")] = None,
    lake: Lake = None,
    as_json: AsJson = False,  # noqa: FBT002  -- a command-line switch
) -> None:
    """List telemetry samples: one car, one lap, a time, chosen channels."""
    catalog = open_catalog(lake)
    samples = catalog.telemetry(
        track,
        session,
        vehicle_id=None if car is None else _unit_called(catalog, track, session, car),
        lap_number=lap,
        start_utc=_moment(start),
        end_utc=_moment(end),
        channels=channel,
    )
    show_frame(_drop_constant(samples), as_json=as_json, title=f"Telemetry of {track}/{session}")


def _unit_called(catalog: Catalog, track: str, session: str, car: str) -> str:
    """Return the vehicle_id of a car; a unit may have sent telemetry and no lap trigger, or the other way round."""
    units: dict[str, dict[str, Any]] = {}
    for table in ("telemetry_cars", "cars"):
        for row in catalog.table_arrow(table, track, session).to_pylist():
            units[row["vehicle_id"]] = {"car_number": None, **row}
    return find_car(list(units.values()), car)


def _moment(text: str | None) -> datetime | None:
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(f"{text!r} is not a time.", "Write it as 2025-09-06T18:40:00Z.") from error


def _drop_constant(samples: pd.DataFrame) -> pd.DataFrame:
    return samples.drop(columns=["track", "session", "chassis"], errors="ignore")


def rejects_command(
    track: TrackArgument,
    session: SessionArgument,
    lake: Lake = None,
    as_json: AsJson = False,  # noqa: FBT002  -- a command-line switch
) -> None:
    """List every row that could not be used, with file, line and reason."""
    rejects = open_catalog(lake).rejects(track, session)
    shown = rejects if as_json else rejects[["source_file", "source_row", "reason", "detail"]]
    show_frame(shown, as_json=as_json, title=f"Rejected rows of {track}/{session}")


__all__ = [
    "AsJson",
    "Lake",
    "SessionArgument",
    "TrackArgument",
    "cars_command",
    "files_command",
    "laps_command",
    "rejects_command",
    "sessions_command",
    "store_at",
    "telemetry_command",
    "tracks_command",
]
