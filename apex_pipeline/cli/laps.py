"""Implements the commands that answer questions about a race: laps, best, results."""

from typing import Annotated

import pyarrow as pa
import typer

from apex_pipeline import arrow_compute as pc
from apex_pipeline.amounts import lap_time
from apex_pipeline.catalog.reader import Catalog, open_catalog
from apex_pipeline.cli.listing import Listing, lists, one_session
from apex_pipeline.cli.options import (
    AsOf,
    Car,
    Chassis,
    Lake,
    OptionalSession,
    OptionalTrack,
    SessionArgument,
    TrackArgument,
    resolve_car,
)
from apex_pipeline.cli.query import chosen_sessions, require_rows
from apex_pipeline.errors import ConfigurationError
from apex_pipeline.tables import LAPS, RESULTS
from apex_pipeline.tables.model import Row
from apex_pipeline.tables.session_key import SessionKey

_LAP_COLUMNS = ("car_number", "vehicle_id", "lap_number", "lap_time_s", "is_valid", "flags")
_RESULT_COLUMNS = ("position", "car_number", "laps_completed", "gap_to_first_s", "best_lap_time_s")
_BEST_SCHEMA = pa.schema(
    [
        *(("track", pa.string()), ("session", pa.string()), ("rank", pa.int64()), ("car_number", pa.string())),
        *(("lap_number", pa.int64()), ("lap_time", pa.string()), ("lap_time_s", pa.float64())),
        *(("gap_s", pa.float64()), ("vehicle_id", pa.string())),
    ]
)


@lists
def laps_command(
    track: TrackArgument,
    session: SessionArgument,
    car: Car = None,
    chassis: Chassis = None,
    valid: Annotated[bool, typer.Option("--valid", help="Only laps that nothing speaks against.")] = False,
    doubtful: Annotated[bool, typer.Option("--doubtful", help="Only the others, with their flags.")] = False,
    lake: Lake = None,
    as_of: AsOf = None,
) -> Listing:
    """List the laps of a session, one car's or all."""
    if valid and doubtful:
        raise ConfigurationError("--valid and --doubtful cannot be combined.", "Leave both out to list all laps.")
    catalog = open_catalog(lake, as_of=as_of)
    key = catalog.find_session(track, session)
    laps = catalog.table_arrow("laps", *key)
    vehicle_id = resolve_car(catalog, key, car, chassis)
    if vehicle_id is not None:
        laps = laps.filter(pc.equal(laps["vehicle_id"].cast(pa.string()), vehicle_id))
    if valid or doubtful:
        laps = laps.filter(laps["is_valid"] if valid else pc.invert(laps["is_valid"]))
    what = "Valid laps" if valid else "Doubtful laps" if doubtful else "Laps"
    columns = tuple(name for name in _LAP_COLUMNS if not (valid or doubtful) or name != "is_valid")
    return one_session(laps, what, key, columns, keys=3, table=LAPS)


@lists
def results_command(
    track: TrackArgument,
    session: SessionArgument,
    every: Annotated[bool, typer.Option("--all", help="Provisional classifications, too.")] = False,
    lake: Lake = None,
    as_of: AsOf = None,
) -> Listing:
    """List the classification of a session, the winner first."""
    catalog = open_catalog(lake, as_of=as_of)
    key = catalog.find_session(track, session)
    results = require_rows(catalog, "results", key, "results")
    if not every:
        results = results.filter(results["is_final"])
    return one_session(results, "Results", key, _RESULT_COLUMNS, keys=2, table=RESULTS)


@lists
def best_command(
    track: OptionalTrack = None,
    session: OptionalSession = None,
    overall: Annotated[bool, typer.Option("--overall", help="Only the best lap of all of them.")] = False,
    lake: Lake = None,
    as_of: AsOf = None,
) -> Listing:
    """List the best valid lap of every car of a session, or of every session of a track or of the lake."""
    catalog = open_catalog(lake, as_of=as_of)
    keys = chosen_sessions(catalog, track, session)
    is_one = session is not None
    rows = [row for key in keys for row in _best_laps(catalog, key, most=None if is_one else 1)]
    rows.sort(key=lambda row: (row["track"], row["lap_time_s"]))
    if overall:
        rows = sorted(rows, key=lambda row: row["lap_time_s"])[:1]
    found = pa.Table.from_pylist(rows, _BEST_SCHEMA)
    if is_one:
        columns = ("rank", "car_number", "lap_number", "lap_time", "gap_s", "vehicle_id")
        return one_session(found, "Best valid lap of each car", keys[0], columns, keys=2)
    columns = ("track", "session", "car_number", "lap_number", "lap_time")
    return Listing(found, "Best valid lap of each session" if not overall else "Best valid lap", columns, keys=2)


def _best_laps(catalog: Catalog, key: SessionKey, most: int | None) -> list[Row]:
    """Return the best valid lap of each car of a session, the fastest first, as the catalog finds them."""
    best = catalog.session(*key).best(frame="arrow").slice(0, most).to_pylist()
    return [{**row, "lap_time": lap_time(row["lap_time_s"])} for row in best]
