"""Builds Arrow arrays from lists of Python values, buffer by buffer.

``pyarrow.array`` does the same, but imports pandas, which alone takes 56 of the 150 MB that reading events may take,
and copies texts one by one: without it, records are written a third faster.
"""

from array import array
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa

from apex_pipeline.tables.model import Column, Row

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def record_batch(rows: Sequence[Row], columns: Sequence[Column], schema: pa.Schema) -> pa.RecordBatch:
    """Return rows as a batch.

    Args:
        rows: Values by column, with an entry for each; texts as ``str``, or as ``bytes`` in UTF-8.
        columns: The columns, at least two.
        schema: Their schema.
    """
    of_row = itemgetter(*(column.name for column in columns))
    by_column = zip(*map(of_row, rows), strict=True) if rows else [()] * len(columns)
    arrays = [_array(column, list(values)) for column, values in zip(columns, by_column, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _array(column: Column, values: list[Any]) -> pa.Array:
    if column.kind == "category":
        return _dictionary(values)
    if column.kind == "string_list":
        return _lists(values)
    if column.kind in {"string", "binary"}:
        return _texts(values, column.arrow_type)
    if column.kind == "boolean":
        return pa.Array.from_buffers(
            column.arrow_type, len(values), [_validity(values), _bits([bool(value) for value in values])]
        )
    if column.kind == "timestamp_utc":
        values = [None if value is None else (value - _EPOCH) // _MILLISECOND for value in values]
    code = "d" if column.kind == "float" else "q"
    numbers = array(code, [0 if value is None else value for value in values] if None in values else values)
    return pa.Array.from_buffers(column.arrow_type, len(values), [_validity(values), pa.py_buffer(numbers)])


def _texts(values: Sequence[str | bytes | None], kind: pa.DataType) -> pa.Array:
    parts = [value.encode() if isinstance(value, str) else value or b"" for value in values]
    offsets = array("i", accumulate(map(len, parts), initial=0))
    buffers = [_validity(values), pa.py_buffer(offsets), pa.py_buffer(b"".join(parts))]
    return pa.Array.from_buffers(kind, len(values), buffers)


def _dictionary(values: Sequence[str | None]) -> pa.Array:
    # Most batches are of one file, and have the same text in every row.
    if values and values[0] is not None and values.count(values[0]) == len(values):
        codes, indices = {values[0]: 0}, array("i", bytes(4 * len(values)))
    else:
        codes = dict[str, int]()
        indices = array("i", [0 if value is None else codes.setdefault(value, len(codes)) for value in values])
    positions = pa.Array.from_buffers(pa.int32(), len(values), [_validity(values), pa.py_buffer(indices)])
    return pa.DictionaryArray.from_arrays(positions, _texts(list(codes), pa.string()))


def _lists(values: Sequence[Sequence[str] | None]) -> pa.Array:
    offsets = array("i", accumulate((len(value or ()) for value in values), initial=0))
    items = _texts([item for value in values for item in value or ()], pa.string())
    kind = pa.list_(pa.string())
    return pa.Array.from_buffers(kind, len(values), [_validity(values), pa.py_buffer(offsets)], children=[items])


def _validity(values: Sequence[object]) -> pa.Buffer | None:
    """Return the bitmap of the values that are not null; ``None`` if none is null."""
    return _bits([value is not None for value in values]) if None in values else None


def _bits(flags: list[bool]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(np.array(flags, dtype=bool), bitorder="little").tobytes())
