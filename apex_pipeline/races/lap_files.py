"""Writes and reads one lap's samples as a numpy file: a structured array of plain numbers, without pickle.

Every field is a 64-bit float, NaN where the value is unknown: an integer has no way to say so.
"""

import io
from typing import Final
from uuid import UUID, uuid5

import numpy as np
import pyarrow as pa

from apex_pipeline.tables.races import RACE_SAMPLES

# The seed's fourteen: everything in race_samples but the columns that identify the row.
LAP_FIELDS: Final = tuple(
    column.name
    for column in RACE_SAMPLES.columns
    if column.name not in {"race_id", "lap_index", "sample_index", "tick"}
)
_DTYPE: Final = np.dtype([(name, "<f8") for name in LAP_FIELDS])


def lap_uuid(race_id: str, lap_index: int) -> str:
    """Return the id of a lap, the same whenever the race is processed."""
    return str(uuid5(UUID(race_id), f"lap {lap_index}"))


def lap_file(samples: pa.Table) -> bytes:
    """Return the samples of one lap as a numpy file."""
    array = np.empty(samples.num_rows, _DTYPE)
    for name in LAP_FIELDS:
        array[name] = samples.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False)
    out = io.BytesIO()
    np.lib.format.write_array(out, array, allow_pickle=False)
    return out.getvalue()


def read_lap_file(content: bytes) -> pa.Table:
    """Return the samples in a numpy file as a table of nullable floats."""
    array = np.load(io.BytesIO(content), allow_pickle=False)
    return pa.table({name: pa.array(array[name], from_pandas=True) for name in LAP_FIELDS})
