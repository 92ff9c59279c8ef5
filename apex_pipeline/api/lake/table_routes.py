"""Defines the routes of whole tables: tracks, sessions, and any table of a session, a track or the lake."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from apex_pipeline.api.lake.asking import Ask, checked_name
from apex_pipeline.api.lake.cars import SessionCar, UnknownCarError, find_session_car, rows_of_car
from apex_pipeline.api.lake.documented import documented
from apex_pipeline.api.lake.errors import NotFoundError, RequestError, names_of_the_path
from apex_pipeline.api.lake.forms import ROWS
from apex_pipeline.api.lake.kept import Answer
from apex_pipeline.api.lake.limits import MAX_NAME_CHARACTERS, MAX_ROWS
from apex_pipeline.api.lake.listing import Listed, list_answer
from apex_pipeline.api.lake.problems import suggestion_in
from apex_pipeline.api.lake.service import Takes, answered
from apex_pipeline.errors import did_you_mean
from apex_pipeline.lake.published_session import PublishedSession
from apex_pipeline.sources.session_names import canonical_session
from apex_pipeline.storage.limits import PARALLEL_LOOKUPS
from apex_pipeline.tables import CATALOG_TABLES, LISTED_SESSIONS, RACE_TABLES, REJECTS, TELEMETRY, TRACKS
from apex_pipeline.tables.session_key import SessionKey

router = APIRouter(tags=["tables"])

PAGED = ("columns", "sort", "limit", "cursor", "format", "snapshot")
_TRACKS = Takes(PAGED, compares=True, forms=ROWS)
_SESSIONS = Takes(("track", "has", *PAGED), compares=True, forms=ROWS)
_TABLES = Takes(("track", "session", "car", *PAGED), compares=True, forms=ROWS)
TABLES_BY_NAME = {table.name: table for table in (*CATALOG_TABLES, *RACE_TABLES, REJECTS)}


@router.get("/tracks", **documented(_TRACKS))
async def tracks(request: Request) -> Response:
    """List the tracks of the lake."""
    return await answered(request, _TRACKS, _tracks)


@router.get("/sessions", **documented(_SESSIONS))
async def sessions(request: Request) -> Response:
    """List the sessions of the lake, those of a track, or those that have a table."""
    return await answered(request, _SESSIONS, _sessions)


@router.get("/tables/{name}", **documented(_TABLES))
async def tables(request: Request, name: str) -> Response:
    """List rows of any published table; those of several sessions follow each other in the order of the sessions."""
    return await answered(request, _TABLES, lambda ask: _table(ask, name))


def _tracks(ask: Ask) -> Answer:
    return list_answer(ask, Listed([lambda: ask.catalog.list_arrow("tracks")], None, TRACKS, is_of_snapshot=False))


def _sessions(ask: Ask) -> Answer:
    track, table = ask.query.text("track"), ask.query.text("has")
    rows = ask.catalog.list_arrow("sessions")
    if track is not None:
        with names_of_the_path():
            slug = ask.catalog.find_track(checked_name(track))
        rows = rows.filter(pc.equal(rows["track"].cast(pa.string()), slug))
    if table is not None:
        having = _keys_having(ask, table)
        keys = zip(rows["track"].to_pylist(), rows["session"].to_pylist(), strict=True)
        rows = rows.filter(pa.array([SessionKey(*key) in having for key in keys], pa.bool_()))
    return list_answer(ask, Listed([lambda: rows], None, LISTED_SESSIONS, is_of_snapshot=False))


def _keys_having(ask: Ask, table: str) -> set[SessionKey]:
    """Return the sessions whose table of this name has rows."""
    _require_known(ask, table, RequestError)
    with ThreadPoolExecutor(PARALLEL_LOOKUPS) as pool:
        records = pool.map(ask.catalog.snapshot.session, ask.catalog.snapshot.keys)
        return {one.key for one in records if one and table in one.tables and one.tables[table].rows > 0}


def _table(ask: Ask, name: str) -> Answer:
    track, session, car = (ask.query.text(parameter) for parameter in ("track", "session", "car"))
    if name in {table.name for table in CATALOG_TABLES}:
        if track or session or car:
            raise RequestError(f"{name} is one table for the whole lake.", "Compare its columns: ?track=…")
        table = TABLES_BY_NAME[name]
        return list_answer(ask, Listed([lambda: ask.catalog.list_arrow(name)], None, table, is_of_snapshot=False))
    _require_known(ask, name, NotFoundError)
    if name == TELEMETRY.name:
        raise RequestError(
            "Telemetry is answered one lap at a time.",
            "Ask for /api/v1/sessions/TRACK/SESSION/cars/CAR/laps/LAP/telemetry, or read the Parquet file.",
        )
    keys = _chosen_sessions(ask, track, session)
    # The tables of one session are named by one object, those of several by the snapshot.
    source = ask.source_of(keys[0]) if len(keys) == 1 else ask.snapshot
    parts = [partial(table_rows, ask, name, key, cars) for key, cars in _with_cars(ask, name, keys, car)]
    return list_answer(ask, Listed(parts, source, TABLES_BY_NAME.get(name)))


def table_rows(ask: Ask, name: str, key: SessionKey, car: SessionCar | None = None) -> pa.Table:
    """Return a table of a session, or the rows of one of its cars.

    Raises:
        NotFoundError: The session was published without the table.
        RequestError: It is too long to be answered, or has no cars.
    """
    with names_of_the_path():
        count = ask.catalog.rejected_rows(*key) if name == REJECTS.name else ask.catalog.rows(name, *key)
    if count > MAX_ROWS:
        raise RequestError(
            f"{name} of {key} has {count:,} rows, and {MAX_ROWS:,} can be answered.",
            "Read its Parquet file: `apex layout` shows where it is.",
        )
    rows = ask.catalog.rejects_arrow(*key) if name == REJECTS.name else ask.catalog.table_arrow(name, *key)
    return rows if car is None else rows_of_car(rows, car, name)


def _chosen_sessions(ask: Ask, track: str | None, session: str | None) -> list[SessionKey]:
    """Return the sessions with these names: one, those of a track, those of a name, or all.

    Raises:
        NotFoundError: There is none.
    """
    if track is not None and session is not None:
        return [ask.session(track, session)]
    if track is not None:
        with names_of_the_path():
            return ask.catalog.find_sessions(checked_name(track))
    keys = list(ask.catalog.snapshot.keys)
    if session is None:
        return keys
    found = [key for key in keys if canonical_session(key.session) == canonical_session(session)]
    if not found:
        guess = did_you_mean(session[:MAX_NAME_CHARACTERS], {key.session for key in keys})
        raise NotFoundError("No session has this name.", f"{guess}/api/v1/sessions lists the names there are.")
    return found


def _with_cars(
    ask: Ask, name: str, keys: list[SessionKey], car: str | None
) -> list[tuple[SessionKey, SessionCar | None]]:
    """Return the sessions that have a table, each with the car of this name if one is asked for.

    Raises:
        NotFoundError: No session has the car.
    """
    records = {key: ask.catalog.snapshot.session(key) for key in keys}
    having = [key for key, record in records.items() if len(keys) == 1 or _has(record, name)]
    if car is None:
        return [(key, None) for key in having]
    found: list[tuple[SessionKey, SessionCar | None]] = []
    unknown: UnknownCarError | None = None
    for key in having:
        try:
            found.append((key, find_session_car(ask.catalog, key, car)))
        except UnknownCarError as error:
            # The error of a session that has a car of a similar name helps more.
            unknown = error if unknown is None or suggestion_in(error.hint) else unknown
    if not found and unknown is not None:
        raise unknown
    return found


def _has(record: PublishedSession | None, name: str) -> bool:
    return record is not None and (name == REJECTS.name or name in record.tables)


def _require_known(ask: Ask, name: str, kind: type[RequestError]) -> None:
    """Raise an error of this kind if no session can have a table of this name."""
    if name in TABLES_BY_NAME:
        return
    records = map(ask.catalog.snapshot.session, ask.catalog.snapshot.keys)
    known = {*TABLES_BY_NAME, *(table for record in records if record for table in record.tables)}
    if name not in known:
        shown = name[:MAX_NAME_CHARACTERS]
        guess = did_you_mean(shown, known)
        raise kind(f"No table is called {shown!r}.", f"{guess}There are: {', '.join(sorted(known))}.")
