"""Defines the routes of the analytics front end, at its addresses and with its field names.

``driver_id`` is the vehicle_id; a car is also found by its number. Where nothing can be said honestly, the answer is a
message that the page shows.
"""

import asyncio
from functools import partial
from typing import Any, Final

from fastapi import APIRouter
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from apex_pipeline.api.lake import seed_answers, seed_laps
from apex_pipeline.api.lake.documented import documented
from apex_pipeline.api.lake.encoding import json_document
from apex_pipeline.api.lake.errors import RequestError
from apex_pipeline.api.lake.limits import BODY_TIMEOUT_S, MAX_BODY_BYTES
from apex_pipeline.api.lake.seed_answers import OfDriver, OfSession, driver_answer, session_answer
from apex_pipeline.api.lake.seed_laps import nothing
from apex_pipeline.api.lake.service import Takes, answered

router = APIRouter(tags=["analytics front end"])

_NOTHING = Takes(())
_ANSWER: Final[dict[str, Any]] = documented(_NOTHING)
_LIST: Final[dict[str, Any]] = documented(_NOTHING, is_list=True)
_SESSION: Final = "/api/analytics/track/{track}/session/{session}"
_DRIVER: Final = _SESSION + "/driver/{driver}"
_STRATEGY: Final = "/api/strategy/track/{track}/session/{session}/driver/{driver}"
_TELEMETRY: Final = "/api/telemetry/track/{track}/session/{session}/driver/{driver}"
_JSON: Final = "application/json"


@router.get("/health", **_ANSWER)
async def health() -> Response:
    """Answer that the process lives."""
    return Response(json_document({"status": "healthy"}), media_type=_JSON)


@router.get("/api/analytics/tracks", **_LIST)
async def tracks(request: Request) -> Response:
    """List the tracks by slug."""
    return await answered(request, _NOTHING, lambda ask: ask.document(seed_answers.track_names(ask), None))


@router.get("/api/analytics/track/{track}/sessions", **_LIST)
async def sessions(request: Request, track: str) -> Response:
    """List the sessions of a track by name."""
    return await answered(request, _NOTHING, lambda ask: ask.document(seed_answers.session_names(ask, track), None))


@router.get(f"{_SESSION}/best-lap", **_ANSWER)
async def best_lap(request: Request, track: str, session: str) -> Response:
    """Return the best valid lap of a session."""
    return await _of_session(request, (track, session), seed_answers.best_lap)


@router.get(f"{_SESSION}/drivers", **_LIST)
async def drivers(request: Request, track: str, session: str) -> Response:
    """List the drivers of a session who have laps."""
    names = (track, session)
    return await answered(
        request, _NOTHING, lambda ask: session_answer(ask, names, seed_answers.drivers, lambda _reason: [])
    )


@router.get(f"{_SESSION}/sector-analysis", **_ANSWER)
async def sectors(request: Request, track: str, session: str) -> Response:
    """Return the sector times of each driver."""
    names = (track, session)
    return await _of_session(request, names, lambda race: seed_laps.sector_analysis(seed_laps.valid_laps(race)))


@router.get(f"{_DRIVER}/performance", **_ANSWER)
async def performance(request: Request, track: str, session: str, driver: str) -> Response:
    """Return the lap times of a driver."""
    return await _of_driver(request, (track, session, driver), seed_answers.performance)


@router.get(f"{_STRATEGY}/consistency", **_ANSWER)
async def consistency(request: Request, track: str, session: str, driver: str) -> Response:
    """Return how even a driver's laps are."""
    return await _of_driver(request, (track, session, driver), seed_answers.consistency)


@router.get(f"{_DRIVER}/detailed-performance", **_ANSWER)
async def detailed(request: Request, track: str, session: str, driver: str) -> Response:
    """Return a driver's best, evenness and pace."""
    return await _of_driver(request, (track, session, driver), seed_answers.detailed, is_of_session=False)


@router.get(f"{_DRIVER}/speed-analysis", **_ANSWER)
async def speed(request: Request, track: str, session: str, driver: str) -> Response:
    """Return the speeds of a driver."""
    return await _of_driver(request, (track, session, driver), seed_answers.speed)


@router.get(f"{_DRIVER}/braking-analysis", **_ANSWER)
async def braking(request: Request, track: str, session: str, driver: str) -> Response:
    """Return how a driver brakes."""
    return await _of_driver(request, (track, session, driver), seed_answers.braking)


@router.get(f"{_DRIVER}/amicos-analysis", **_ANSWER)
async def amicos(request: Request, track: str, session: str, driver: str) -> Response:
    """Say why there is no analysis against the limits of the car."""
    return await _of_driver(request, (track, session, driver), seed_answers.no_limits)


@router.get(f"{_STRATEGY}/tire-degradation", **_ANSWER)
async def tyres(request: Request, track: str, session: str, driver: str) -> Response:
    """Return how much slower than his best each lap of a driver was."""
    return await _of_driver(request, (track, session, driver), seed_answers.lap_deltas)


class PitStop(BaseModel):
    """What the front end asks a pit strategy for."""

    current_lap: int
    total_laps: int
    tire_age: int
    fuel_level: float


_BODY: Final[dict[str, Any]] = {"required": True, "content": {_JSON: {"schema": PitStop.model_json_schema()}}}
_POST: Final[dict[str, Any]] = {**_ANSWER, "openapi_extra": {"requestBody": _BODY}}


@router.post(f"{_STRATEGY}/pit-strategy", **_POST)
async def pit_strategy(request: Request, track: str, session: str, driver: str) -> Response:
    """Say why there is no strategy, with the mean of the driver's laps."""
    await _require_pit_stop(request)
    return await _of_driver(request, (track, session, driver), seed_answers.pit_strategy)


@router.get(f"{_TELEMETRY}/lap/{{lap}}", **_ANSWER)
async def lap(request: Request, track: str, session: str, driver: str, lap: str) -> Response:
    """Return speed and throttle of one lap."""
    return await _of_driver(request, (track, session, driver), partial(seed_answers.lap, lap))


@router.get(f"{_TELEMETRY}/speed-analysis", **_ANSWER)
async def lap_speeds(request: Request, track: str, session: str, driver: str) -> Response:
    """Return top, lowest and mean speed of a driver."""
    return await _of_driver(request, (track, session, driver), seed_answers.short_speed)


@router.get(f"{_TELEMETRY}/braking-analysis", **_ANSWER)
async def lap_braking(request: Request, track: str, session: str, driver: str) -> Response:
    """Return brake pressures of a driver."""
    return await _of_driver(request, (track, session, driver), seed_answers.short_braking)


async def _of_session(request: Request, names: tuple[str, str], make: OfSession) -> Response:
    """Answer about a session."""
    return await answered(request, _NOTHING, lambda ask: session_answer(ask, names, make, nothing))


async def _of_driver(
    request: Request, names: tuple[str, str, str], make: OfDriver, *, is_of_session: bool = True
) -> Response:
    """Answer about a driver of a session."""
    return await answered(request, _NOTHING, lambda ask: driver_answer(ask, names, make, is_of_session=is_of_session))


async def _require_pit_stop(request: Request) -> None:
    """Raise a ``RequestError`` if the body is none of a pit strategy; it changes nothing in the answer."""
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            body = await _body(request)
        PitStop.model_validate_json(body)
    except TimeoutError as error:
        problem = f"The body did not arrive within {BODY_TIMEOUT_S:.0f} s."
        raise RequestError(problem, "Send it together with the head.") from error
    except ValidationError as error:
        places = ", ".join(dict.fromkeys(".".join(map(str, entry["loc"])) or "the body" for entry in error.errors()))
        raise RequestError(f"Not valid: {places}.", "Send current_lap, total_laps, tire_age, fuel_level.") from error


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for block in request.stream():
        body += block
        if len(body) > MAX_BODY_BYTES:
            raise RequestError(f"The body is longer than {MAX_BODY_BYTES:,} bytes.", "Send four numbers as JSON.")
    return bytes(body)
