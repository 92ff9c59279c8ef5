"""Makes Arrow arrays from numpy arrays and texts, and back, without pandas.

``pa.array``, ``to_numpy`` and a scalar of Python make pyarrow import pandas to see whether they were given a part of
it: 0.25 s of processor time and 30 MB of every process that converts, which does nothing else with pandas.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_TYPES = {np.dtype(np.int32): pa.int32(), np.dtype(np.int64): pa.int64(), np.dtype(np.float64): pa.float64()}


def numbers(values: npt.NDArray[Any], is_null: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """Return numbers of 32 or 64 bits as an Arrow array without copying them. Shapes (n,)."""
    valid = None if is_null is None else pa.py_buffer(np.packbits(~is_null, bitorder="little"))
    data = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(_TYPES[values.dtype], len(values), [valid, data])


def texts(values: Sequence[str]) -> pa.Array:
    """Return texts as an Arrow array."""
    encoded = [text.encode() for text in values]
    offsets = np.array([0, *accumulate(map(len, encoded))], np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(encoded), buffers)


def repeated(text: str, rows: int) -> pa.DictionaryArray:
    """Return an array with one text in every row."""
    return pa.DictionaryArray.from_arrays(numbers(np.zeros(rows, np.int32)), texts([text]))


def values_of(column: pa.Array | pa.ChunkedArray, kind: type[np.int64 | np.float64] = np.int64) -> npt.NDArray[Any]:
    """Return the numbers of a column without nulls. Shape (rows,).

    Args:
        column: Numbers of 64 bits, or times.
        kind: Type of the numbers.
    """
    item = np.dtype(kind).itemsize
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    parts = [np.frombuffer(chunk.buffers()[1], kind, len(chunk), chunk.offset * item) for chunk in chunks if len(chunk)]
    return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, kind), *parts])
