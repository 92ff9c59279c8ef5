"""Makes one page of a list: rows of one or several sessions, compared, sorted, cut, and where the next page begins."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from apex_pipeline.api.lake.asking import Ask
from apex_pipeline.api.lake.comparisons import rows_meeting
from apex_pipeline.api.lake.encoding import arrow_bytes, csv_bytes, json_document, json_rows
from apex_pipeline.api.lake.errors import GoneError, RequestError, values_of_the_query
from apex_pipeline.api.lake.forms import Form
from apex_pipeline.api.lake.kept import Answer
from apex_pipeline.api.lake.limits import DEFAULT_ROWS, MAX_ROWS
from apex_pipeline.catalog.conditions import sorted_rows, unknown_column
from apex_pipeline.tables.model import Table


@dataclass(frozen=True)
class Listed:
    """A list to answer with.

    Attributes:
        parts: Reads each part of it, mostly a session's table, in order.
        source: Digest of the object it is made from; ``None`` if it depends on more.
        table: The definition of the table, if it has one.
        facts: Further entries at the head of the JSON.
        most: Most rows of one page.
        usual: Most rows of a page without ``limit``.
        is_of_snapshot: The snapshot alone decides what is in it. Else its one part also has what is not published while
            the snapshot is the present one, and the places of its rows change when it no longer is.
    """

    parts: Sequence[Callable[[], pa.Table]]
    source: str | None
    table: Table | None = None
    facts: dict[str, Any] = field(default_factory=dict[str, Any])
    most: int = MAX_ROWS
    usual: int = DEFAULT_ROWS
    is_of_snapshot: bool = True


# Two lists have the same by chance once in 4 billion times.
_STATE_DIGITS = 8
# Number of the part and of the row in it where the next page begins; ``None`` after the last.
_Place = tuple[int, int] | None


def list_answer(ask: Ask, listed: Listed) -> Answer:
    """Return the page of a list that a request asks for.

    Raises:
        RequestError: A column, comparison, order or limit is wrong, or CSV would have to be cut.
        GoneError: The list is not the one that the cursor is a place in.
    """
    if ask.cursor is not None and ask.cursor.state != _state(ask, listed):
        raise GoneError(
            "The list is no longer as it was at the first page: what is not published is listed beside the present "
            "snapshot only.",
            "Ask again without the cursor.",
        )
    limit = ask.query.number("limit", listed.usual, 1, listed.most)
    rows, place = _page(ask, listed, limit)
    rows = _with_columns(rows, ask.query.names("columns"))
    if ask.form is Form.JSON:
        return _json_page(ask, listed, rows, place, limit)
    if ask.form is Form.CSV:
        if place is not None:
            raise RequestError(
                f"There are more than {limit:,} rows, and a CSV file cannot say that it was cut.",
                f"Raise limit (up to {listed.most:,}), compare columns to get fewer, or ask for JSON or Arrow pages.",
            )
        return _answer(ask, listed, csv_bytes(rows), (rows.num_rows, limit, None))
    return _answer(ask, listed, arrow_bytes(rows), (rows.num_rows, limit, place))


def _json_page(ask: Ask, listed: Listed, rows: pa.Table, place: _Place, limit: int) -> Answer:
    body, count = json_rows(rows)
    if count < rows.num_rows:  # the text got too long, so the page ends earlier
        place = _place_after(ask, listed, count)
    head = {**listed.facts, "count": count, "limit": limit, "next": _cursor(ask, listed, place)}
    return _answer(ask, listed, json_document(head)[:-1] + b',"rows":' + body + b"}", (count, limit, place))


def _answer(ask: Ask, listed: Listed, body: bytes, page: tuple[int, int, _Place]) -> Answer:
    count, limit, place = page
    headers = [("Apex-Count", str(count)), ("Apex-Limit", str(limit))]
    following = _cursor(ask, listed, place)
    if following is not None:
        headers.append(("Apex-Next", following))
    return ask.answer(body, listed.source, headers, is_of_snapshot=following is not None)


def _cursor(ask: Ask, listed: Listed, place: _Place) -> str | None:
    return None if place is None else ask.next_cursor(*place, _state(ask, listed))


def _state(ask: Ask, listed: Listed) -> str:
    """Return a digest of which rows stand where in a list that the snapshot alone does not decide."""
    if listed.is_of_snapshot or listed.table is None:
        return ""
    order = ask.query.text("sort")
    rows = _sorted(ask, listed, order) if order else _meeting(ask, listed, 0)
    keys = [rows[name].to_pylist() for name in listed.table.key]
    return hashlib.sha256(json_document(keys)).hexdigest()[:_STATE_DIGITS]


def _page(ask: Ask, listed: Listed, limit: int) -> tuple[pa.Table, _Place]:
    """Return at most ``limit`` rows from the request's place on, and the place of the next page."""
    part, row = _start(ask)
    order = ask.query.text("sort")
    if order:
        rows = _sorted(ask, listed, order)
        return rows.slice(row, limit), (0, row + limit) if row + limit < rows.num_rows else None
    found: list[pa.Table] = []
    while part < len(listed.parts):
        rows = _meeting(ask, listed, part)
        taken = rows.slice(row, limit - sum(one.num_rows for one in found))
        found.append(taken)
        row += taken.num_rows
        if row < rows.num_rows:
            return _joined(found, listed), (part, row)
        part, row = part + 1, 0
    return _joined(found, listed), None


def _place_after(ask: Ask, listed: Listed, count: int) -> _Place:
    """Return the place after a number of rows of the page."""
    part, row = _start(ask)
    if ask.query.text("sort"):
        return 0, row + count
    while count >= (rest := _meeting(ask, listed, part).num_rows - row):
        part, row, count = part + 1, 0, count - rest
    return part, row + count


def _start(ask: Ask) -> tuple[int, int]:
    return (0, 0) if ask.cursor is None else (ask.cursor.part, ask.cursor.row)


def _meeting(ask: Ask, listed: Listed, part: int) -> pa.Table:
    rows = listed.parts[part]()
    if listed.table is not None:
        rows = listed.table.with_missing_columns(rows)  # derived by an earlier version
    return rows_meeting(rows, ask.query.comparisons, listed.table)


def _sorted(ask: Ask, listed: Listed, order: str) -> pa.Table:
    found: list[pa.Table] = []
    for part in range(len(listed.parts)):
        found.append(_meeting(ask, listed, part))
        if sum(rows.num_rows for rows in found) > MAX_ROWS:
            raise RequestError(
                f"More than {MAX_ROWS:,} rows would have to be sorted.",
                "Name a track or a session, or compare columns.",
            )
    with values_of_the_query():
        return sorted_rows(_joined(found, listed), order)


def _joined(parts: list[pa.Table], listed: Listed) -> pa.Table:
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return listed.table.empty() if listed.table else pa.table({})
    plain = [rows.replace_schema_metadata(None) for rows in parts]
    return pa.concat_tables(plain, promote_options="default").unify_dictionaries()


def _with_columns(rows: pa.Table, names: tuple[str, ...] | None) -> pa.Table:
    for name in names or ():
        if name not in rows.schema.names:
            with values_of_the_query():
                raise unknown_column(name, rows.schema.names)
    return rows.select(list(names)) if names else rows
