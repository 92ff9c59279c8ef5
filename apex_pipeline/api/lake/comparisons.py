"""Chooses the rows that meet the comparisons of a query, with the closed grammar of ``apex table --where``."""

import math
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress

import pyarrow as pa

from apex_pipeline.api.lake.errors import RequestError, values_of_the_query
from apex_pipeline.api.lake.query import Comparison
from apex_pipeline.catalog.conditions import rows_where, unknown_column
from apex_pipeline.tables.model import Table

_NULL = "null"


def rows_meeting(rows: pa.Table, comparisons: Sequence[Comparison], table: Table | None) -> pa.Table:
    """Return the rows that meet all comparisons; the values of one column compared by ``=`` are alternatives.

    Args:
        rows: The rows.
        comparisons: The comparisons.
        table: The definition of the table, for the values that a column can have.

    Raises:
        RequestError: There is no such column, or it cannot have the value or the comparison.
    """
    if not comparisons:
        return rows
    alternatives: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for number, one in enumerate(comparisons):
        group = "" if one.mark == "=" else str(number)
        alternatives[one.column, group].append(_condition(rows.schema, one))
    condition = " and ".join(f"({' or '.join(conditions)})" for conditions in alternatives.values())
    allowed = {column.name: column.allowed for column in table.columns} if table else {}
    with values_of_the_query():
        try:
            return rows_where(rows, condition, lambda name: allowed.get(name, ()))
        except pa.ArrowException as error:
            named = ", ".join(column for column, _ in alternatives)
            raise RequestError(f"A value given for {named} cannot be compared with it.", "Give one it has.") from error


def _condition(schema: pa.Schema, one: Comparison) -> str:
    """Return a comparison in the grammar of conditions; everything that was sent is quoted."""
    if one.column not in schema.names:
        with values_of_the_query():
            raise unknown_column(one.column, schema.names)
    column, value = _quoted(one.column), _quoted(one.value)
    if one.value.lower() == _NULL and one.mark in {"=", "!="}:
        return f"{column} is {'' if one.mark == '=' else 'not '}null"
    kind = schema.field(one.column).type
    if pa.types.is_list(kind) and one.mark in {"=", "!="}:
        return f"{'' if one.mark == '=' else 'not '}{column} contains {value}"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        _require_finite(one)
    return f"{column} {one.mark} {value}"


def _require_finite(one: Comparison) -> None:
    with suppress(ValueError):  # told by the grammar
        if not math.isfinite(float(one.value)):
            raise RequestError(f"{one.column} cannot be {one.value[:20]!r}.", "Give a number, or null.")


def _quoted(text: str) -> str:
    doubled = text.replace("'", "''")
    return f"'{doubled}'"
