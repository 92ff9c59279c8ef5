"""Defines the routes on a track's distance: two laps compared, and the map of the track."""

from typing import Any, Final

import numpy as np
import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from apex_pipeline.api.lake.asking import Ask
from apex_pipeline.api.lake.documented import documented
from apex_pipeline.api.lake.encoding import arrow_bytes, csv_bytes
from apex_pipeline.api.lake.errors import RequestError, values_of_the_query
from apex_pipeline.api.lake.forms import ROWS, Form
from apex_pipeline.api.lake.kept import Answer
from apex_pipeline.api.lake.limits import MAX_JSON_BYTES, MAX_ROWS
from apex_pipeline.api.lake.service import Takes, answered
from apex_pipeline.api.lake.telemetry_routes import lap_facts, named_lap, require_length, step_m
from apex_pipeline.catalog.lap import Lap
from apex_pipeline.catalog.lap_distance import LapComparison
from apex_pipeline.catalog.session import RaceSession

router = APIRouter(tags=["distance"])

_COMPARE = Takes(("a", "b", "step_m", "channels", "format", "snapshot"), forms=ROWS)
_MAP = Takes()
# Track, session, car, lap.
_PARTS: Final = 4


@router.get("/compare", **documented(_COMPARE))
async def compare(request: Request) -> Response:
    """Return how far lap b is behind lap a, all along the track; both laps on its distance, with how sure it is."""
    return await answered(request, _COMPARE, _compare)


@router.get("/sessions/{track}/{session}/map", **documented(_MAP))
async def track_map(request: Request, track: str, session: str) -> Response:
    """Return the map of the track as GeoJSON; without GPS the track has no geometry, and says why."""
    return await answered(request, _MAP, lambda ask: _map(ask, track, session))


def _compare(ask: Ask) -> Answer:
    a, b = (_lap(ask, name) for name in ("a", "b"))
    channels = ask.query.names("channels")
    require_length(a.session)
    with values_of_the_query():
        found = a.compare(b, step_m=step_m(ask.query), channels=channels)
        rows = found.frame(channels, frame="arrow")
    if rows.num_rows > MAX_ROWS:
        raise RequestError(
            f"The comparison has {rows.num_rows:,} points, and {MAX_ROWS:,} can be answered.", "Raise step_m."
        )
    if ask.form is not Form.JSON:
        write = csv_bytes if ask.form is Form.CSV else arrow_bytes
        return ask.answer(write(rows), None, [("Apex-Count", str(rows.num_rows))])
    columns = {name: rows[name].to_numpy() for name in rows.schema.names}
    document = {"a": lap_facts(a), "b": lap_facts(b), **_facts(found), "count": rows.num_rows, **columns}
    body = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    if len(body) > MAX_JSON_BYTES:
        raise RequestError(
            f"The comparison has {len(body):,} bytes of JSON, and {MAX_JSON_BYTES:,} can be answered.",
            "Name the channels, raise step_m, or ask for Arrow.",
        )
    return ask.answer(body, None)


def _facts(found: LapComparison) -> dict[str, Any]:
    delta = found.delta_s
    # Lap times are whole milliseconds; their difference is one, too, but for what binary fractions add to it.
    at_line = round(float(delta[-1]), 3) if delta.size and np.isfinite(delta[-1]) else None
    return {"delta_at_line_s": at_line, "method": found.method, "holes": found.holes, "notes": found.notes}


def _lap(ask: Ask, name: str) -> Lap:
    """Return a lap named like ``barber/R1/13/8`` in the query.

    Raises:
        RequestError: It is missing, or has other parts.
        NotFoundError: There is no such lap.
    """
    parts = [part.strip() for part in (ask.query.text(name) or "").split("/")]
    if len(parts) != _PARTS:
        raise RequestError(f"{name} does not name a lap.", f"Write track/session/car/lap: {name}=barber/R1/13/8.")
    track, session, car, number = parts
    return named_lap(ask, (track, session, car, number))


def _map(ask: Ask, track: str, session: str) -> Answer:
    race = RaceSession(ask.catalog, ask.session(track, session))
    require_length(race)
    return ask.document(race.track_map(), None)
