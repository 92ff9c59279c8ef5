"""Implements ``apex telemetry``; see catalog/reader.py for how only the needed part of a file is read."""

from datetime import datetime
from typing import Annotated, NamedTuple

import pyarrow as pa
import typer

from apex_pipeline import arrow_compute as pc
from apex_pipeline.catalog.reader import Catalog, open_catalog
from apex_pipeline.cli.listing import Listing, lists, one_session
from apex_pipeline.cli.options import AsOf, Car, Chassis, Lake, SessionArgument, TrackArgument, resolve_car
from apex_pipeline.errors import ConfigurationError, ObjectMissingError
from apex_pipeline.tables.session_key import SessionKey

_CHANNELS = ("speed_kph", "gear", "throttle_pct", "brake_front_bar")


@lists
def telemetry_command(  # noqa: PLR0913, PLR0917  -- one option each
    track: TrackArgument,
    session: SessionArgument,
    car: Car = None,
    chassis: Chassis = None,
    lap: Annotated[int | None, typer.Option(help="lap_number, as `apex laps` lists it.")] = None,
    best: Annotated[bool, typer.Option("--best", help="The fastest valid lap, of the car or of the session.")] = False,
    start: Annotated[str | None, typer.Option(help="From this time on, e.g. 2025-09-06T18:40:00Z.")] = None,
    end: Annotated[str | None, typer.Option(help="Before this time.")] = None,
    channel: Annotated[list[str] | None, typer.Option(help="Only this channel; may be repeated.")] = None,
    lake: Lake = None,
    as_of: AsOf = None,
) -> Listing:
    """List telemetry samples of a session: by car, lap, time and channel."""
    if best and lap is not None:
        raise ConfigurationError("--best and --lap cannot be combined.", "Choose one of them.")
    catalog = open_catalog(lake, as_of=as_of)
    key = catalog.find_session(track, session)
    _require_telemetry(catalog, key)
    vehicle_id = resolve_car(catalog, key, car, chassis)
    title, notes = "Telemetry", ()
    if best:
        found = best_lap_with_samples(catalog, key, vehicle_id)
        vehicle_id, lap, notes = found.vehicle_id, found.lap_number, found.notes
        title = f"Telemetry of {vehicle_id} in lap {lap}"
    samples = catalog.telemetry_arrow(
        *key,
        vehicle_id=vehicle_id,
        lap_number=lap,
        start_utc=_parse_time(start),
        end_utc=_parse_time(end),
        channels=channel,
    )
    columns = ("vehicle_id", "sample_time_utc", *(channel or _default_channels(samples)))
    return one_session(samples, title, key, columns, keys=2, notes=notes)


def _require_telemetry(catalog: Catalog, key: SessionKey) -> None:
    if catalog.rows("telemetry", *key) == 0:
        raise ObjectMissingError(
            f"{key} has no telemetry: none of its raw files has any.",
            '`apex table sessions --where "not missing_kinds contains telemetry"` lists the sessions that have some.',
        )


def _default_channels(samples: pa.Table) -> list[str]:
    """Return the channels that most people look at first, as far as the session has readings of them."""
    return [name for name in _CHANNELS if name in samples.schema.names and samples[name].null_count < samples.num_rows]


class BestLap(NamedTuple):
    """A lap; the notes name a faster one that has no telemetry."""

    vehicle_id: str
    lap_number: int
    notes: tuple[str, ...]


def best_lap_with_samples(catalog: Catalog, key: SessionKey, vehicle_id: str | None) -> BestLap:
    """Return the fastest valid lap whose car sent telemetry during it.

    Raises:
        ObjectMissingError: There is none.
    """
    laps = catalog.table_arrow("laps", *key)
    times = pc.and_kleene(laps["is_valid"], pc.is_valid(laps["lap_time_s"]))
    laps = laps.filter(pc.and_kleene(times, pc.is_valid(laps["lap_end_utc"])))
    rows = laps.select(["vehicle_id", "lap_number", "lap_time_s"]).to_pylist()
    sent = catalog.table_arrow("telemetry_cars", *key)["vehicle_id"].to_pylist()
    cars = {vehicle_id} if vehicle_id else set(sent)
    rows = sorted((row for row in rows if vehicle_id in {None, row["vehicle_id"]}), key=lambda row: row["lap_time_s"])
    for row in rows:
        car, lap = row["vehicle_id"], row["lap_number"]
        if car in cars and _has_samples(catalog, key, car, lap):
            fastest = f"Lap {rows[0]['lap_number']} of {rows[0]['vehicle_id']} is faster, but has no telemetry."
            return BestLap(car, lap, () if row is rows[0] else (fastest,))
    raise ObjectMissingError(
        f"{f'{vehicle_id} has no' if vehicle_id else 'No car has a'} valid lap with telemetry.",
        f"`apex laps {key.track} {key.session} --valid` lists the valid laps.",
    )


def _has_samples(catalog: Catalog, key: SessionKey, vehicle_id: str, lap: int) -> bool:
    try:
        samples = catalog.telemetry_arrow(*key, vehicle_id=vehicle_id, lap_number=lap, channels=["lap_number"])
    except ConfigurationError:  # the lap has no start or end in UTC
        return False
    return samples.num_rows > 0


def _parse_time(text: str | None) -> datetime | None:
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(f"{text!r} is not a time.", "Write it as 2025-09-06T18:40:00Z.") from error
