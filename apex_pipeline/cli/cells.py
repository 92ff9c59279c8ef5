"""Turns the values of Arrow columns into the text of table cells; see layout.py for where on the screen they go."""

from datetime import time
from typing import Any

import pyarrow as pa

from apex_pipeline.terminal import printable

# Shown for a missing value: an empty cell could be read as an empty text, and shifts columns for programs like awk.
NULL = "-"
# An empty text.
EMPTY = '""'
# Digits after the decimal point: microseconds, 0.1 m of latitude. More are noise of binary fractions, as in
# 145.43699999999998; CSV and JSON have them.
_DECIMALS = 6


def is_number(kind: pa.DataType) -> bool:
    """Return whether a column's cells are numbers, which are aligned to the right."""
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def decimals_of(column: pa.ChunkedArray) -> int:
    """Return how many digits after the decimal point a column needs so that all its numbers have the same."""
    if not pa.types.is_floating(column.type):
        return 0
    return max(
        (len(_shortest(value).partition(".")[2]) for value in column.to_pylist() if value is not None), default=0
    )


def cell_texts(column: pa.ChunkedArray, decimals: int) -> list[str]:
    """Return the text of each value of a column.

    Args:
        column: The values.
        decimals: Digits after the decimal point of its numbers, from :func:`decimals_of`.
    """
    kind, values = column.type, column.to_pylist()
    if pa.types.is_floating(kind):
        return [NULL if value is None else f"{value:.{decimals}f}" for value in values]
    if pa.types.is_timestamp(kind):
        return [NULL if value is None else moment_text(value) for value in values]
    return [cell_text(value) for value in values]


def cell_text(value: object) -> str:
    """Return the text of one value that is neither a fraction nor a time."""
    if value is None:
        return NULL
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(cell_text, value)) or NULL
    if isinstance(value, time):
        return value.isoformat(timespec="milliseconds")
    return printable(str(value)) or EMPTY


def moment_text(value: Any) -> str:  # noqa: ANN401  -- a datetime, or pandas' own where pandas is imported
    """Return a time as it can be given to --start, --as-of and --where, to the millisecond."""
    return value.isoformat(timespec="milliseconds").replace("+00:00", "Z").replace(".000Z", "Z")


def _shortest(value: float) -> str:
    """Return a number without the zeros at its end."""
    return f"{value:.{_DECIMALS}f}".rstrip("0").rstrip(".")
