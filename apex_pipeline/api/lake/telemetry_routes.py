"""Defines the route of one lap's telemetry: each channel as a curve, thinned for a screen if asked."""

import re
from dataclasses import fields
from typing import Any
from weakref import WeakKeyDictionary

import orjson
import pyarrow as pa
import pyarrow.compute as pc
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from apex_pipeline.api.lake.asking import Ask, checked_name
from apex_pipeline.api.lake.curves import DISTANCE, LapCurves, distance_curves, time_curves
from apex_pipeline.api.lake.documented import documented
from apex_pipeline.api.lake.encoding import arrow_bytes, csv_bytes
from apex_pipeline.api.lake.errors import RequestError, names_of_the_path, values_of_the_query
from apex_pipeline.api.lake.forms import ROWS, Form
from apex_pipeline.api.lake.kept import Answer
from apex_pipeline.api.lake.limits import MAX_POINTS
from apex_pipeline.api.lake.query import Query
from apex_pipeline.api.lake.service import Takes, answered
from apex_pipeline.catalog.lap import Lap
from apex_pipeline.catalog.reader import Catalog
from apex_pipeline.catalog.session import RaceSession
from apex_pipeline.tables.session_key import SessionKey

router = APIRouter(tags=["telemetry"])

_LAP = Takes(("channels", "max_points", "x", "step_m", "format", "snapshot"), forms=ROWS)
# As `Lap.on_distance` has it.
_STEP_M = 2.0
# Finding a car and its lap takes a third of the time of an answer; without the session, which holds the catalog.
_LAPS: WeakKeyDictionary[Catalog, dict[tuple[SessionKey, str, int], dict[str, Any]]] = WeakKeyDictionary()
_MOST_LAPS = 10_000
_NUMBER = re.compile(r"-?[0-9]{1,9}")


@router.get("/sessions/{track}/{session}/cars/{car}/laps/{lap}/telemetry", **documented(_LAP))
async def telemetry(request: Request, track: str, session: str, car: str, lap: str) -> Response:
    """Return the telemetry of a lap: one curve per channel, with null where the car sent nothing for half a second."""
    return await answered(request, _LAP, lambda ask: _telemetry(ask, (track, session, car, lap)))


def named_lap(ask: Ask, names: tuple[str, str, str, str]) -> Lap:
    """Return a lap by track, session, car and number.

    Raises:
        NotFoundError: There is none.
        RequestError: The number is none.
    """
    track, session, car, number = names
    key = ask.session(track, session)
    if not _NUMBER.fullmatch(number):
        raise RequestError("A lap is named by its number.", "Take lap_number from /laps: a whole number.")
    known = _LAPS.setdefault(ask.catalog, {})
    facts = known.get((key, car, int(number)))
    if facts is None:
        with names_of_the_path():
            lap = RaceSession(ask.catalog, key).lap(car=checked_name(car), number=int(number))
        facts = {one.name: getattr(lap, one.name) for one in fields(lap) if one.name != "session"}
        if len(known) >= _MOST_LAPS:
            known.clear()
        known[key, car, int(number)] = facts
    return Lap(RaceSession(ask.catalog, key), **facts)


def lap_facts(lap: Lap) -> dict[str, Any]:
    """Return what is known about a lap, for JSON."""
    return {
        "track": lap.track,
        "session": lap.session.name,
        "vehicle_id": lap.vehicle_id,
        "car_number": lap.car_number,
        "lap_number": lap.number,
        "lap_time_s": lap.time_s,
        "lap_time_method": lap.method,
        "confidence": lap.confidence,
        "flags": lap.flags,
        "is_valid": lap.is_valid,
        "line_residual_s": lap.line_residual_s,
    }


def _telemetry(ask: Ask, names: tuple[str, str, str, str]) -> Answer:
    most = ask.query.number("max_points", 0, 2, MAX_POINTS) or None
    lap = named_lap(ask, names)
    curves = _curves(ask, lap, most)
    # A distance depends on the length of the track, which users can set, and on GPS of its other sessions, too.
    source = None if curves.axis == DISTANCE else ask.source_of(lap.session.key)
    if ask.form is not Form.JSON:
        write = csv_bytes if ask.form is Form.CSV else arrow_bytes
        return ask.answer(write(curves.rows()), source, [("Apex-Count", str(curves.points))])
    document = {
        "lap": lap_facts(lap),
        # Finding the reason reads the lap once more.
        "note": "" if curves.points else lap.telemetry_note,
        **curves.said,
        "x": curves.axis,
        "count": curves.points,
        "limit": most,
        "next": None,
        "channels": curves.channels(),
    }
    return ask.answer(orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY), source)


def _curves(ask: Ask, lap: Lap, most: int | None) -> LapCurves:
    channels = ask.query.names("channels")
    axis = ask.query.text("x")
    if axis == "distance":
        require_length(lap.session)
        with values_of_the_query():
            rows = lap.on_distance(step_m(ask.query), channels, frame="arrow")
        return distance_curves(rows, step_m(ask.query), most)
    if ask.query.text("step_m") is not None:
        raise RequestError("step_m is the distance between two points.", "Add x=distance.")
    if axis is not None and axis != "time":
        raise RequestError(f"x cannot be {axis[:20]!r}.", "Give time or distance.")
    with values_of_the_query():
        samples = lap.telemetry_arrow(channels)
    return time_curves(samples, _start_ms(lap), channels, most)


def step_m(query: Query) -> float:
    """Return the distance between two points that a query asks for, in metres.

    Raises:
        RequestError: It is no number; whether it makes a grid is told later.
    """
    text = query.text("step_m")
    if text is None:
        return _STEP_M
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text):
        raise RequestError(f"step_m cannot be {text[:20]!r}.", "Give a distance from 0.1 to 1000, in metres.")
    return float(text)


def require_length(race: RaceSession) -> None:
    """Raise a ``NotFoundError`` if the length of the session's track is not known."""
    with names_of_the_path():
        race.catalog.lap_distances.geometry.length(race.key)


def _start_ms(lap: Lap) -> int | None:
    """Return the start of a lap, milliseconds since 1970 UTC: the car's own crossing, else that of its row."""
    start = lap.line_start_utc
    if start is None:
        rows = lap.session.catalog.table_arrow("laps", *lap.session.key)
        rows = rows.filter(pc.equal(rows["vehicle_id"].cast(pa.string()), lap.vehicle_id))
        start = rows.filter(pc.equal(rows["lap_number"], lap.number))["lap_start_utc"][0].as_py()
    return None if start is None else round(start.timestamp() * 1000)
