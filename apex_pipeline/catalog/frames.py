"""Gives tables to the caller as he asked for them: as a pandas frame or as an Arrow table.

In a frame, a count or a flag that may be missing has pandas' nullable type, so that a lap number stays a whole number
and ``not known`` is not ``no``. The schema of the table decides, not the values: a column has the same type in every
session.
"""

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import pyarrow as pa

from apex_pipeline.errors import ConfigurationError, did_you_mean

if TYPE_CHECKING:  # takes 0.3 s, and only callers that get a frame need it
    import pandas as pd

# Below this, starting threads takes longer than converting a table.
_FEW_ROWS = 20_000

FrameKind = Literal["pandas", "arrow"]
# ``pandas.DataFrame``, or ``pyarrow.Table``, which has no types: a union of the two would fit no use of either.
Frame: TypeAlias = Any


def as_frame(table: pa.Table, kind: FrameKind) -> Frame:
    """Return a table as a pandas frame, or as it is.

    Args:
        table: The table.
        kind: ``pandas`` or ``arrow``.

    Raises:
        ConfigurationError: ``kind`` is neither.
    """
    if kind == "pandas":
        return to_pandas(table)
    if kind == "arrow":
        return table
    known = get_args(FrameKind)
    raise ConfigurationError(
        f"There is no frame {kind!r}.", f"{did_you_mean(str(kind), known)}It is one of: {', '.join(known)}."
    )


def to_pandas(table: pa.Table) -> "pd.DataFrame":
    """Return a table as a pandas frame with the types ``Int64`` and ``boolean`` where a value may be missing."""
    import pandas as pd  # noqa: PLC0415  -- as above

    nullable: dict[pa.DataType, object] = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    # Arrow knows a type for all columns of a kind, so those that are never null get theirs afterwards.
    frame = table.to_pandas(types_mapper=nullable.get, use_threads=table.num_rows > _FEW_ROWS)
    for column in table.schema:
        if not column.nullable and column.type in nullable:
            frame[column.name] = frame[column.name].to_numpy(column.type.to_pandas_dtype())
    return frame
