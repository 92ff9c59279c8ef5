"""Defines the routes about what is published: the snapshot, earlier ones, and what changed since one of them."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import pyarrow as pa
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from apex_pipeline.api.lake.asking import Ask
from apex_pipeline.api.lake.documented import documented
from apex_pipeline.api.lake.errors import RequestError
from apex_pipeline.api.lake.forms import ROWS
from apex_pipeline.api.lake.kept import Answer
from apex_pipeline.api.lake.limits import MAX_SNAPSHOTS
from apex_pipeline.api.lake.listing import Listed, list_answer
from apex_pipeline.api.lake.service import LakeService, Takes, answered
from apex_pipeline.catalog.reader import Catalog
from apex_pipeline.lake.history import SessionChanges, changes_between, published_history

router = APIRouter(tags=["snapshots"])

_ONE = Takes()
_LIST = Takes(("limit", "cursor", "format"), forms=ROWS)
_CHANGES = Takes(("since", "limit", "cursor", "format", "snapshot"), forms=ROWS)
_SNAPSHOT = pa.schema([(name, pa.string()) for name in ("id", "created_utc", "parent", "note")])
_CHANGE = pa.schema([(name, pa.string()) for name in ("track", "session", "change")])


@router.get("/snapshot", **documented(_ONE))
async def snapshot(request: Request) -> Response:
    """Return the published snapshot, or the one named."""
    return await answered(request, _ONE, _snapshot)


@router.get("/snapshots", **documented(_LIST))
async def snapshots(request: Request) -> Response:
    """List the published snapshots, the newest first, until the first one that has been removed."""
    return await answered(request, _LIST, _snapshots)


@router.get("/changes", **documented(_CHANGES))
async def changes(request: Request) -> Response:
    """List the sessions that were added, changed or removed since a snapshot."""
    service: LakeService = request.app.state.lake
    since = request.query_params.get("since")
    before = None if since is None else await service.lake.of_cursor(since)
    return await answered(request, _CHANGES, lambda ask: _changes(ask, before))


def _snapshot(ask: Ask) -> Answer:
    found = ask.catalog.snapshot
    facts = {name: getattr(found, name) for name in _SNAPSHOT.names}
    entries = found.entries.values()
    return ask.document({**facts, "sessions": len(entries), "rows": sum(entry.rows for entry in entries)}, found.id)


def _snapshots(ask: Ask) -> Answer:
    limit = ask.query.number("limit", MAX_SNAPSHOTS, 1, MAX_SNAPSHOTS)
    first = 0 if ask.cursor is None else ask.cursor.row
    store, current = ask.catalog.snapshot.store, ask.catalog.snapshot
    # One more than the page has, to know whether there is another.
    walked = islice((one.snapshot for one in published_history(store, current)), first + limit + 1)
    rows = [{name: getattr(one, name) for name in _SNAPSHOT.names} for one in walked]
    listed = Listed([lambda: pa.Table.from_pylist(rows, _SNAPSHOT)], None, most=MAX_SNAPSHOTS, usual=MAX_SNAPSHOTS)
    # Retention removes snapshots without publishing one.
    return replace(list_answer(ask, listed), is_kept=False)


def _changes(ask: Ask, before: Catalog | None) -> Answer:
    if before is None:
        raise RequestError("since is missing.", "Name the snapshot to compare with, as /api/v1/snapshots lists it.")
    found = changes_between(before.snapshot, ask.catalog.snapshot)
    rows = pa.Table.from_pylist(list(_change_rows(found)), _CHANGE)
    facts = {"since": before.snapshot.id, "snapshot": ask.snapshot}
    return list_answer(ask, Listed([lambda: rows], f"{before.snapshot.id} {ask.snapshot}", facts=facts))


def _change_rows(found: SessionChanges) -> Iterator[dict[str, Any]]:
    for change in ("added", "changed", "removed"):
        for key in getattr(found, change):
            yield {"track": key.track, "session": key.session, "change": change}
