"""Defines the routes of one session: its laps, result, chart and gaps, weather, quality and note."""

from functools import partial
from typing import Literal, Protocol

import pyarrow as pa
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from apex_pipeline.api.lake.asking import Ask
from apex_pipeline.api.lake.cars import find_session_car, rows_of_car
from apex_pipeline.api.lake.documented import documented
from apex_pipeline.api.lake.errors import names_of_the_path
from apex_pipeline.api.lake.forms import ROWS
from apex_pipeline.api.lake.kept import Answer
from apex_pipeline.api.lake.listing import Listed, list_answer
from apex_pipeline.api.lake.service import Takes, answered
from apex_pipeline.api.lake.table_routes import PAGED, TABLES_BY_NAME, table_rows
from apex_pipeline.catalog.frames import Frame
from apex_pipeline.catalog.session import RaceSession

router = APIRouter(prefix="/sessions/{track}/{session}", tags=["sessions"])

_OF_CARS = Takes(("car", *PAGED), compares=True, forms=ROWS)
_ROWS = Takes(PAGED, compares=True, forms=ROWS)
_NOTE = Takes()


@router.get("/laps", **documented(_OF_CARS))
async def laps(request: Request, track: str, session: str) -> Response:
    """List the laps of a session, invalid ones too: see is_valid and flags."""
    return await answered(request, _OF_CARS, lambda ask: _table(ask, "laps", track, session))


@router.get("/best", **documented(_OF_CARS))
async def best(request: Request, track: str, session: str) -> Response:
    """List the best valid lap of each car, the fastest first."""
    return await answered(request, _OF_CARS, lambda ask: _asked(ask, RaceSession.best, track, session))


@router.get("/results", **documented(_OF_CARS))
async def results(request: Request, track: str, session: str) -> Response:
    """List the final classification, the winner first; no rows without an official file."""
    return await answered(request, _OF_CARS, lambda ask: _asked(ask, RaceSession.results, track, session))


@router.get("/positions", **documented(_OF_CARS))
async def positions(request: Request, track: str, session: str) -> Response:
    """List the place of each car on the road at the end of each of its laps."""
    return await answered(request, _OF_CARS, lambda ask: _asked(ask, RaceSession.positions, track, session))


@router.get("/gaps", **documented(_OF_CARS))
async def gaps(request: Request, track: str, session: str) -> Response:
    """List the gap of each car to the leader and to the car ahead at the end of each of its laps."""
    return await answered(request, _OF_CARS, lambda ask: _asked(ask, RaceSession.gaps, track, session))


@router.get("/penalties", **documented(_OF_CARS))
async def penalties(request: Request, track: str, session: str) -> Response:
    """List what the result adds to each car's time on the road."""
    return await answered(request, _OF_CARS, lambda ask: _asked(ask, RaceSession.penalties, track, session))


@router.get("/sectors", **documented(_OF_CARS))
async def sectors(request: Request, track: str, session: str) -> Response:
    """List the best sectors of each car, and what they would make together."""
    return await answered(request, _OF_CARS, lambda ask: _asked(ask, RaceSession.sectors, track, session))


@router.get("/weather", **documented(_ROWS))
async def weather(request: Request, track: str, session: str) -> Response:
    """List the weather readings of a session, about one a minute."""
    return await answered(request, _ROWS, lambda ask: _table(ask, "weather", track, session))


@router.get("/quality", **documented(_OF_CARS))
async def quality(request: Request, track: str, session: str) -> Response:
    """List the quality scores of a session and its cars, 0 to 100, each with a sentence."""
    return await answered(request, _OF_CARS, lambda ask: _table(ask, "quality", track, session))


@router.get("/note", **documented(_NOTE))
async def note(request: Request, track: str, session: str) -> Response:
    """Return what to know about a session, in a few sentences."""
    return await answered(request, _NOTE, lambda ask: _note(ask, track, session))


def _table(ask: Ask, name: str, track: str, session: str) -> Answer:
    """Return rows of a table of the session."""
    key = ask.session(track, session)
    text = ask.query.text("car")
    car = None if text is None else find_session_car(ask.catalog, key, text)
    read = partial(table_rows, ask, name, key, car)
    facts = {"track": key.track, "session": key.session}
    return list_answer(ask, Listed([read], ask.source_of(key), TABLES_BY_NAME[name], facts))


class _Question(Protocol):
    """A method of a session that answers with rows."""

    def __call__(self, session: RaceSession, /, *, frame: Literal["arrow"]) -> Frame:
        """Return the rows."""
        ...


def _asked(ask: Ask, question: _Question, track: str, session: str) -> Answer:
    """Return the rows that the session answers a question with."""
    key = ask.session(track, session)
    race = RaceSession(ask.catalog, key)
    text = ask.query.text("car")
    car = None if text is None else find_session_car(ask.catalog, key, text)

    def read() -> pa.Table:
        with names_of_the_path():
            rows = question(race, frame="arrow")
        return rows if car is None else rows_of_car(rows, car, "This table")

    facts = {"track": key.track, "session": key.session, "note": race.timing_note}
    return list_answer(ask, Listed([read], ask.source_of(key), facts=facts))


def _note(ask: Ask, track: str, session: str) -> Answer:
    key = ask.session(track, session)
    text = ask.catalog.session_note(*key)
    return ask.document({"track": key.track, "session": key.session, "note": text}, ask.source_of(key))
