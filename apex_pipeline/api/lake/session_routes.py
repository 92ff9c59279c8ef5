"""Defines the routes of one session: its laps and the other tables people ask for by name."""

from functools import partial

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from apex_pipeline.api.lake.asking import Ask
from apex_pipeline.api.lake.cars import find_session_car
from apex_pipeline.api.lake.documented import documented
from apex_pipeline.api.lake.forms import Form
from apex_pipeline.api.lake.kept import Answer
from apex_pipeline.api.lake.listing import Listed, list_answer
from apex_pipeline.api.lake.service import Takes, answered
from apex_pipeline.api.lake.table_routes import PAGED, TABLES_BY_NAME, table_rows

router = APIRouter(prefix="/sessions/{track}/{session}", tags=["sessions"])

_OF_CARS = Takes(("car", *PAGED), compares=True, forms=tuple(Form))
_ROWS = Takes(PAGED, compares=True, forms=tuple(Form))
_NOTE = Takes()


@router.get("/laps", **documented(_OF_CARS))
async def laps(request: Request, track: str, session: str) -> Response:
    """List the laps of a session, invalid ones too: see is_valid and flags."""
    return await answered(request, _OF_CARS, lambda ask: _table(ask, "laps", track, session))


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


def _note(ask: Ask, track: str, session: str) -> Answer:
    key = ask.session(track, session)
    text = ask.catalog.session_note(*key)
    return ask.document({"track": key.track, "session": key.session, "note": text}, ask.source_of(key))
