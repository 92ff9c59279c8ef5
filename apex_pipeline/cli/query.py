"""Implements the commands that read published tables: tracks, sessions, files, laps, cars, telemetry, rejects."""

from datetime import datetime
from typing import Annotated, Any

import typer

from apex_pipeline.catalog import Catalog, open_catalog
from apex_pipeline.cli.emit import emit, print_frame
from apex_pipeline.cli.options import AsOf, Lake, RowsAsJson, SessionArgument, TrackArgument
from apex_pipeline.errors import ConfigurationError
from apex_pipeline.ops.lineage import find_car

_FILE_COLUMNS = ["path", "bytes", "kind", "track", "session", "status", "reason"]
_LAP_COLUMNS = ["vehicle_id", "car_number", "lap_number", "unit_lap", "lap_end_utc", "lap_time_s", "is_valid", "flags"]
_CAR_COLUMNS = [
    *("vehicle_id", "car_number", "method", "confidence", "agreeing_crossings", "official_crossings"),
    *("runner_up", "runner_up_agreeing", "evidence"),
]
_REJECT_COLUMNS = ["source_file", "source_row", "reason", "detail"]


def tracks_command(lake: Lake = None, as_of: AsOf = None, as_json: RowsAsJson = False) -> None:
    """List the tracks of the lake."""
    tracks = open_catalog(lake, as_of=as_of).tracks()
    emit(tracks, as_json=as_json, render=lambda: print_frame(tracks, "Tracks"))


def sessions_command(
    track: Annotated[str | None, typer.Argument(help="Only this track.", show_default=False)] = None,
    lake: Lake = None,
    as_of: AsOf = None,
    as_json: RowsAsJson = False,
) -> None:
    """List the sessions of the lake, with the kinds of raw file they have and miss."""
    sessions = open_catalog(lake, as_of=as_of).sessions()
    if track is not None:
        sessions = sessions[sessions["track"] == track]
    emit(sessions, as_json=as_json, render=lambda: print_frame(sessions, "Sessions"))


def files_command(
    status: Annotated[str | None, typer.Option(help="ready, quarantined, unresolved or ignored.")] = None,
    lake: Lake = None,
    as_of: AsOf = None,
    as_json: RowsAsJson = False,
) -> None:
    """List every file found, with its identity and status."""
    files = open_catalog(lake, as_of=as_of).files()
    if status is not None:
        files = files[files["status"] == status]
    emit(files, as_json=as_json, render=lambda: print_frame(files[_FILE_COLUMNS], "Files"))


def laps_command(
    track: TrackArgument,
    session: SessionArgument,
    car: Annotated[str | None, typer.Option(help="vehicle_id, chassis or car number.")] = None,
    lake: Lake = None,
    as_of: AsOf = None,
    as_json: RowsAsJson = False,
) -> None:
    """List the laps of a session, one car's or all."""
    laps = open_catalog(lake, as_of=as_of).laps(track, session)
    if car is not None:
        laps = laps[(laps["vehicle_id"] == car) | (laps["chassis"] == car) | (laps["car_number"] == car)]
    emit(laps, as_json=as_json, render=lambda: print_frame(laps[_LAP_COLUMNS], f"Laps of {track}/{session}"))


def cars_command(
    track: TrackArgument, session: SessionArgument, lake: Lake = None, as_of: AsOf = None, as_json: RowsAsJson = False
) -> None:
    """List the on-board devices and official cars of a session, how they are matched, and the evidence."""
    cars = open_catalog(lake, as_of=as_of).cars(track, session)
    emit(cars, as_json=as_json, render=lambda: print_frame(cars[_CAR_COLUMNS], f"Cars of {track}/{session}"))


def telemetry_command(  # noqa: PLR0913, PLR0917  -- one option each
    track: TrackArgument,
    session: SessionArgument,
    car: Annotated[
        str | None,
        typer.Option(help="vehicle_id, chassis or car number; #13 is always a number. By default every car."),
    ] = None,
    lap: Annotated[int | None, typer.Option(help="lap_number, as `apex laps` lists it.")] = None,
    start: Annotated[str | None, typer.Option(help="From this time on, e.g. 2025-09-06T18:40:00Z.")] = None,
    end: Annotated[str | None, typer.Option(help="Before this time.")] = None,
    channel: Annotated[list[str] | None, typer.Option(help="Only this channel; may be repeated.")] = None,
    lake: Lake = None,
    as_of: AsOf = None,
    as_json: RowsAsJson = False,
) -> None:
    """List telemetry samples of a session: by car, lap, time and channel."""
    catalog = open_catalog(lake, as_of=as_of)
    samples = catalog.telemetry(
        track,
        session,
        vehicle_id=None if car is None else _resolve_vehicle(catalog, track, session, car),
        lap_number=lap,
        start_utc=_parse_time(start),
        end_utc=_parse_time(end),
        channels=channel,
    ).drop(columns=["track", "session", "chassis"], errors="ignore")
    emit(samples, as_json=as_json, render=lambda: print_frame(samples, f"Telemetry of {track}/{session}"))


def _resolve_vehicle(catalog: Catalog, track: str, session: str, car: str) -> str:
    """Return the vehicle_id of a car. A device may have sent only telemetry or only lap triggers."""
    devices: dict[str, dict[str, Any]] = {}
    for table in ("telemetry_cars", "cars"):
        for row in catalog.table_arrow(table, track, session).to_pylist():
            devices[row["vehicle_id"]] = {"car_number": None, **row}
    return find_car(list(devices.values()), car)


def _parse_time(text: str | None) -> datetime | None:
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(f"{text!r} is not a time.", "Write it as 2025-09-06T18:40:00Z.") from error


def rejects_command(
    track: TrackArgument, session: SessionArgument, lake: Lake = None, as_of: AsOf = None, as_json: RowsAsJson = False
) -> None:
    """List every row that could not be used, with file, line and reason."""
    rejects, title = open_catalog(lake, as_of=as_of).rejects(track, session), f"Rejected rows of {track}/{session}"
    emit(rejects, as_json=as_json, render=lambda: print_frame(rejects[_REJECT_COLUMNS], title))
