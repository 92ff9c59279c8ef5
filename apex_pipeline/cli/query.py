"""Implements the commands that list one table: tracks, sessions, files, cars, rejects, weather, quality, note, table.

See ``laps.py`` and ``telemetry.py`` for the tables with questions of their own.
"""

from typing import Annotated

import pyarrow as pa
import typer

from apex_pipeline import arrow_compute as pc
from apex_pipeline.catalog.conditions import rows_where, sorted_rows
from apex_pipeline.catalog.reader import Catalog, open_catalog
from apex_pipeline.cli.listing import Listing, Where, allowed_values, lists, one_session
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
from apex_pipeline.errors import ConfigurationError, ObjectMissingError, did_you_mean
from apex_pipeline.sources.base import FileStatus
from apex_pipeline.tables import (
    CARS,
    CATALOG_TABLES,
    FILES,
    LISTED_SESSIONS,
    QUALITY,
    RACE_TABLES,
    REJECTS,
    TELEMETRY,
    TRACKS,
    WEATHER,
)
from apex_pipeline.tables.session_key import SessionKey

_FILE_COLUMNS = ("path", "kind", "session", "status", "reason")
_SESSION_COLUMNS = ("track", "session", "session_type", "files", "missing_kinds")
_CAR_COLUMNS = ("car_number", "vehicle_id", "method", "confidence", "agreeing_crossings", "evidence")
_REJECT_COLUMNS = ("source_file", "source_row", "reason", "detail")
_WEATHER_COLUMNS = ("observed_utc", "air_temp_c", "track_temp_c", "humidity_pct", "is_raining")
_QUALITY_COLUMNS = ("scope", "vehicle_id", "measure", "score", "sentence")
_NAMES = {table.name: table for table in (*CATALOG_TABLES, *RACE_TABLES, REJECTS)}


@lists
def tracks_command(lake: Lake = None, as_of: AsOf = None) -> Listing:
    """List the tracks of the lake."""
    tracks = open_catalog(lake, as_of=as_of).list_arrow("tracks")
    return Listing(tracks, "Tracks", ("track", "track_name", "sessions", "files"), table=TRACKS)


@lists
def sessions_command(track: OptionalTrack = None, lake: Lake = None, as_of: AsOf = None) -> Listing:
    """List the sessions of the lake, with the kinds of raw file they have and miss."""
    catalog = open_catalog(lake, as_of=as_of)
    sessions, title = catalog.list_arrow("sessions"), "Sessions"
    if track is not None:
        slug = catalog.find_track(track)
        sessions, title = sessions.filter(pc.equal(sessions["track"], slug)), f"Sessions of {slug}"
    all_published = pc.all(sessions["is_published"], min_count=0).as_py()
    columns = _SESSION_COLUMNS if all_published else (*_SESSION_COLUMNS, "is_published")
    return Listing(sessions, title, columns, keys=2, table=LISTED_SESSIONS)


@lists
def files_command(
    status: Annotated[FileStatus | None, typer.Option(help="Only files with this status.")] = None,
    lake: Lake = None,
    as_of: AsOf = None,
) -> Listing:
    """List every file found, with its identity and status."""
    files = open_catalog(lake, as_of=as_of).list_arrow("files")
    if status is not None:
        files = files.filter(pc.equal(files["status"].cast(pa.string()), status.value))
    title = "Files" if status is None else f"Files that are {status.value}"
    return Listing(files, title, _FILE_COLUMNS, folder_of="path", table=FILES)


@lists
def cars_command(track: TrackArgument, session: SessionArgument, lake: Lake = None, as_of: AsOf = None) -> Listing:
    """List the on-board devices and official cars of a session, how they are matched, and the evidence."""
    catalog = open_catalog(lake, as_of=as_of)
    key = catalog.find_session(track, session)
    return one_session(catalog.table_arrow("cars", *key), "Cars", key, _CAR_COLUMNS, keys=2, table=CARS)


@lists
def rejects_command(track: TrackArgument, session: SessionArgument, lake: Lake = None, as_of: AsOf = None) -> Listing:
    """List every row that could not be used, with file, line and reason."""
    catalog = open_catalog(lake, as_of=as_of)
    key = catalog.find_session(track, session)
    return Listing(
        catalog.rejects_arrow(*key), f"Rejected rows of {key}", _REJECT_COLUMNS, folder_of="source_file", table=REJECTS
    )


@lists
def weather_command(track: TrackArgument, session: SessionArgument, lake: Lake = None, as_of: AsOf = None) -> Listing:
    """List the weather readings of a session, about one a minute."""
    catalog = open_catalog(lake, as_of=as_of)
    key = catalog.find_session(track, session)
    weather = require_rows(catalog, "weather", key, "weather readings")
    return one_session(weather, "Weather", key, _WEATHER_COLUMNS, table=WEATHER)


@lists
def quality_command(
    track: TrackArgument,
    session: SessionArgument,
    car: Car = None,
    chassis: Chassis = None,
    lake: Lake = None,
    as_of: AsOf = None,
) -> Listing:
    """List the quality scores of a session and its cars, 0 to 100, each with a sentence."""
    catalog = open_catalog(lake, as_of=as_of)
    key = catalog.find_session(track, session)
    scores = require_rows(catalog, "quality", key, "quality scores")
    vehicle_id = resolve_car(catalog, key, car, chassis)
    if vehicle_id is not None:
        scores = scores.filter(pc.equal(scores["vehicle_id"].cast(pa.string()), vehicle_id))
    scores = sorted_rows(scores, "-scope,score")
    return one_session(scores, "Quality", key, _QUALITY_COLUMNS, keys=3, table=QUALITY)


@lists
def note_command(
    track: OptionalTrack = None, session: OptionalSession = None, lake: Lake = None, as_of: AsOf = None
) -> Listing:
    """Print what to know about a session, in a few sentences; by default about every session."""
    catalog = open_catalog(lake, as_of=as_of)
    keys = chosen_sessions(catalog, track, session)
    rows = [{"track": key.track, "session": key.session, "note": catalog.session_note(*key)} for key in keys]
    schema = pa.schema([(name, pa.string()) for name in ("track", "session", "note")])
    return Listing(pa.Table.from_pylist(rows, schema), "Notes", keys=2)


@lists
def table_command(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of the table, e.g. laps; docs/tables.md describes all.")
    ],
    track: OptionalTrack = None,
    session: OptionalSession = None,
    where: Where = None,
    lake: Lake = None,
    as_of: AsOf = None,
) -> Listing:
    """List rows of any published table: of a session, of a track, or of the whole lake."""
    catalog = open_catalog(lake, as_of=as_of)
    table = _NAMES.get(name)
    if table in CATALOG_TABLES:
        if track is not None:
            raise ConfigurationError(f"{name} is one table for the whole lake.", f'Add --where "track = {track}".')
        rows = catalog.list_arrow(name)
        found = rows_where(rows, where, allowed_values(table)) if where else rows
        title = name
    else:
        keys = chosen_sessions(catalog, track, session)
        found = _rows_of_sessions(catalog, name, keys, where)
        title = f"{name} of {keys[0] if len(keys) == 1 else f'{len(keys)} sessions'}"
    is_one = track is not None and session is not None
    return Listing(found, title, keys=1, table=table, hidden=("track", "session") if is_one else ())


def _rows_of_sessions(catalog: Catalog, name: str, keys: list[SessionKey], where: str | None) -> pa.Table:
    """Return the rows of a table of several sessions that meet a condition."""
    if name == TELEMETRY.name and len(keys) != 1:
        raise ConfigurationError(
            "Telemetry is read one session at a time.", "Name the session: apex table telemetry TRACK SESSION."
        )
    _require_table(catalog, name, keys)
    found: list[pa.Table] = []
    for key in keys:
        rows = catalog.rejects_arrow(*key) if name == REJECTS.name else catalog.table_arrow(name, *key)
        found.append(rows_where(rows, where, allowed_values(_NAMES.get(name))) if where else rows)
    plain = [rows.replace_schema_metadata(None) for rows in found]
    return pa.concat_tables(plain, promote_options="default").unify_dictionaries()


def _require_table(catalog: Catalog, name: str, keys: list[SessionKey]) -> None:
    records = [catalog.snapshot.session(key) for key in keys]
    published = {table for record in records if record for table in record.tables}
    known = sorted({*_NAMES, *published})
    if name not in known:
        raise ConfigurationError(
            f"No table is called {name!r}.", f"{did_you_mean(name, known)}There are: {', '.join(known)}."
        )


def chosen_sessions(catalog: Catalog, track: str | None, session: str | None) -> list[SessionKey]:
    """Return the published sessions with these names: one, those of a track, or all of the lake.

    Raises:
        ObjectMissingError: There is none.
    """
    if track is None:
        return list(catalog.snapshot.keys)
    return catalog.find_sessions(track) if session is None else [catalog.find_session(track, session)]


def require_rows(catalog: Catalog, name: str, key: SessionKey, what: str) -> pa.Table:
    """Return a table of a session that has rows.

    Raises:
        ObjectMissingError: The session has none.
    """
    rows = catalog.table_arrow(name, *key)
    if rows.num_rows == 0:
        raise ObjectMissingError(
            f"{key} has no {what}: none of its raw files has any.", f"`apex sessions {key.track}` lists its files."
        )
    return rows
