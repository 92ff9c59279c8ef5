"""Defines the pages for people: the index of the lake at ``/``, the report of a session, its laps as a Parquet file."""

import io
from typing import Final

import pyarrow.parquet as pq
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from apex_pipeline import __version__
from apex_pipeline.api.lake.asking import Ask
from apex_pipeline.api.lake.documented import documented
from apex_pipeline.api.lake.encoding import json_document
from apex_pipeline.api.lake.forms import MEDIA_TYPES, Form, chosen_form
from apex_pipeline.api.lake.kept import Answer
from apex_pipeline.api.lake.service import Takes, answered
from apex_pipeline.catalog.session import RaceSession
from apex_pipeline.reports.index_page import IndexFilter, index_page
from apex_pipeline.reports.index_tables import index_tables
from apex_pipeline.reports.session_report import facts_of, render_report
from apex_pipeline.tables import LAPS

router = APIRouter(tags=["pages"])

_INDEX = Takes(("track", "kind", "has", "format", "snapshot"), forms=(Form.JSON, Form.HTML))
_REPORT = Takes(("format", "snapshot"), forms=(Form.HTML,))
_PARQUET = Takes(("format", "snapshot"), forms=(Form.PARQUET,))
_SESSION: Final = "/api/v1/sessions/{track}/{session}"


@router.get("/", **documented(_INDEX))
async def index(request: Request) -> Response:
    """List the sessions as a page for people; programs, which do not ask for HTML, are told what this is."""
    form = chosen_form(request.query_params.get("format"), request.headers.get("accept"), _INDEX.forms)
    if form is Form.HTML:
        return await answered(request, _INDEX, _index)
    about = {"message": "APEX lake", "version": __version__, "api": "/api/v1", "openapi": "/openapi.json"}
    return Response(json_document(about), media_type=MEDIA_TYPES[Form.JSON])


@router.get(f"{_SESSION}/report", **documented(_REPORT))
async def report(request: Request, track: str, session: str) -> Response:
    """Return the report of a session: one HTML file with its charts, which loads nothing."""
    return await answered(request, _REPORT, lambda ask: _report(ask, track, session))


@router.get(f"{_SESSION}/laps.parquet", **documented(_PARQUET))
async def laps_file(request: Request, track: str, session: str) -> Response:
    """Return the laps of a session as a Parquet file."""
    return await answered(request, _PARQUET, lambda ask: _laps_file(ask, track, session))


def _index(ask: Ask) -> Answer:
    chosen = IndexFilter(*(ask.query.text(name) or "" for name in ("track", "kind", "has")))
    page = index_page(index_tables(ask.catalog), chosen, ask.snapshot)
    return ask.answer(page.encode(), ask.snapshot, is_of_snapshot=True)


def _report(ask: Ask, track: str, session: str) -> Answer:
    key = ask.session(track, session)
    page = render_report(facts_of(RaceSession(ask.catalog, key)))
    # Its map may be that of another session, and it names the snapshot.
    return ask.answer(page.encode(), ask.snapshot, is_of_snapshot=True)


def _laps_file(ask: Ask, track: str, session: str) -> Answer:
    key = ask.session(track, session)
    file = io.BytesIO()
    pq.write_table(ask.catalog.table_arrow(LAPS.name, *key), file, compression="zstd")
    # The bytes are those of this version of the writer, so the tag is theirs, not that of the rows.
    return ask.answer(file.getvalue(), None, [("Content-Disposition", 'attachment; filename="laps.parquet"')])
