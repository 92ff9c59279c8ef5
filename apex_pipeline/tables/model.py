"""Defines the classes that describe a published table: columns with type, unit and bounds, a key and a sort order.

Includes the rules that can be checked on a single table. See ``__init__.py`` for the tables themselves; this module
depends on nothing specific to Dagster, storage or racing.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import pyarrow as pa

from apex_pipeline import arrow_compute as pc

# Compression level of every published Parquet file.
ZSTD_LEVEL: Final = 3

# Up to so many rows, Python compares keys in 10 ms.
_FEW_ROWS: Final = 10_000

# A row of a table by column name.
Row = dict[str, Any]

Kind = Literal[
    "string", "category", "integer", "float", "boolean", "timestamp_utc", "time_of_day", "string_list", "binary"
]

# ``category`` is for values that repeat on many rows. It is dictionary-encoded with 32-bit indices because pandas and
# pyarrow give this type to a hive partition column: with any other type, reading a folder whose files also contain the
# column fails ("Unable to merge: Field track has incompatible types").
_ARROW_TYPES: dict[str, pa.DataType] = {
    "string": pa.string(),
    "category": pa.dictionary(pa.int32(), pa.string()),
    "integer": pa.int64(),
    "float": pa.float64(),
    "boolean": pa.bool_(),
    "timestamp_utc": pa.timestamp("ms", tz="UTC"),
    "time_of_day": pa.time32("ms"),
    "string_list": pa.list_(pa.string()),
    "binary": pa.binary(),
}


@dataclass(frozen=True)
class Column:
    """One column of a published table.

    Attributes:
        name: Column name; a quantity has its unit as a suffix (``_s``, ``_kph``, ``_utc``).
        kind: Kind of the values; determines the Arrow type.
        description: One sentence for the data dictionary.
        unit: Unit in words, if it has one.
        required: Null is not allowed.
        minimum: Smallest allowed value.
        maximum: Largest allowed value.
        allowed: The only allowed values.
        is_personal: The values identify a person: null in everything public, and elsewhere unless the user keeps them.
    """

    name: str
    kind: Kind
    description: str
    unit: str = ""
    required: bool = False
    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[str, ...] = ()
    is_personal: bool = False

    @property
    def arrow_type(self) -> pa.DataType:
        """The Arrow type of the column."""
        return _ARROW_TYPES[self.kind]

    @property
    def arrow_field(self) -> pa.Field:
        """The Arrow field, with description and unit in its metadata."""
        metadata = {"description": self.description}
        if self.unit:
            metadata["unit"] = self.unit
        if self.is_personal:
            metadata["personal"] = "true"
        return pa.field(self.name, self.arrow_type, nullable=not self.required, metadata=metadata)


@dataclass(frozen=True)
class Table:
    """One published table.

    Attributes:
        name: Table name; with ``folder``, the asset key and the path in the store.
        folder: ``tables`` for tables of one session or race, ``catalog`` for the tables that list files, tracks and
            sessions, ``events`` for tables of one source and day.
        description: One sentence for the data dictionary, defining what a row represents.
        columns: The columns in published order.
        key: Columns whose values together are unique per row.
        sort_by: Columns by which the rows are sorted.
        allows_extra_columns: Columns for unknown channels may follow the declared ones, with kind ``float``.
    """

    name: str
    folder: Literal["tables", "catalog", "events"]
    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    sort_by: tuple[str, ...] = field(default=())
    allows_extra_columns: bool = False

    @property
    def asset_key(self) -> tuple[str, str]:
        """The asset key, which is also the path in the store."""
        return (self.folder, self.name)

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of the declared columns."""
        return pa.schema([column.arrow_field for column in self.columns], metadata={"description": self.description})

    def schema_with(self, extra: Iterable[str] = ()) -> pa.Schema:
        """Return the schema with additional nullable float columns, for tables that allow extra columns."""
        schema = self.schema
        for name in extra:
            schema = schema.append(_extra_column(name).arrow_field)
        return schema

    def with_columns(self, columns: Iterable[Column]) -> "Table":
        """Return the table with more columns after its own."""
        return replace(self, columns=(*self.columns, *columns))

    def empty(self) -> pa.Table:
        """Return an empty table of this schema."""
        return self.schema.empty_table()

    def from_columns(self, values: dict[str, object]) -> pa.Table:
        """Build a table of this schema from columns by name; a missing column is null on every row."""
        length = max((len(column) for column in values.values()), default=0)  # type: ignore[arg-type]
        arrays = [
            pa.array(values[column.name], type=column.arrow_type)
            if column.name in values
            else pa.nulls(length, type=column.arrow_type)
            for column in self.columns
        ]
        return pa.Table.from_arrays(arrays, schema=self.schema)

    def from_rows(self, rows: list[dict[str, object]]) -> pa.Table:
        """Build a table of this schema from rows as dictionaries; a missing entry is null."""
        return self.from_columns({column.name: [row.get(column.name) for row in rows] for column in self.columns})

    def with_missing_columns(self, table: pa.Table) -> pa.Table:
        """Return ``table`` with missing nullable columns added as nulls; files from earlier versions may lack some."""
        for position, column in enumerate(self.columns):
            if not column.required and column.name not in table.schema.names:
                table = table.add_column(position, column.arrow_field, pa.nulls(table.num_rows, column.arrow_type))
        return table

    def violations(self, table: pa.Table) -> list[str]:
        """Return every schema violation in ``table``, one sentence each; without any, it may be published."""
        problems = self._schema_violations(table.schema)
        if problems:
            return problems
        return [*self._value_violations(table), *self._key_violations(table)]

    def _schema_violations(self, found: pa.Schema) -> list[str]:
        problems: list[str] = []
        for column in self.columns:
            index = found.get_field_index(column.name)
            if index < 0:
                problems.append(f"column {column.name} is missing")
            elif found.field(index).type != column.arrow_type:
                problems.append(f"column {column.name} is {found.field(index).type}, not {column.arrow_type}")
        if not self.allows_extra_columns:
            known = {column.name for column in self.columns}
            problems.extend(f"column {name} is not declared" for name in found.names if name not in known)
        return problems

    def _value_violations(self, table: pa.Table) -> list[str]:
        problems: list[str] = []
        for column in self.columns:
            values = table.column(column.name)
            if column.required and values.null_count:
                problems.append(f"column {column.name} is null on {values.null_count} rows")
            outside = _count_outside(column, values)
            if outside:
                problems.append(f"column {column.name} is outside its bounds on {outside} rows")
        return problems

    def _key_violations(self, table: pa.Table) -> list[str]:
        distinct = _count_distinct(table.select(list(self.key)))
        if distinct == table.num_rows:
            return []
        return [f"{table.num_rows - distinct} rows repeat the key ({', '.join(self.key)})"]


def _extra_column(name: str) -> Column:
    description = (
        "A channel this version has no description for, under the name the car gave it; as unnamed_ and a code made "
        "from the name if that may be a person's."
    )
    return Column(name, "float", description)


def _count_outside(column: Column, values: pa.ChunkedArray) -> int:
    """Return how many values are outside the column's bounds.

    They are counted only if there are any: to compare with a value of Python, pyarrow imports pandas, which takes half
    of an unchanged sync.
    """
    outside = 0
    lowest, highest = _range_of(values) if {column.minimum, column.maximum} != {None} else (None, None)
    if column.minimum is not None and lowest is not None and lowest < column.minimum:
        outside += pc.sum(pc.less(values, column.minimum)).as_py() or 0
    if column.maximum is not None and highest is not None and highest > column.maximum:
        outside += pc.sum(pc.greater(values, column.maximum)).as_py() or 0
    if column.allowed and not _distinct(values) <= {*column.allowed, None}:
        plain = values.cast(pa.string())
        outside += pc.sum(pc.invert(pc.is_in(plain, value_set=pa.array([*column.allowed, None])))).as_py() or 0
    return int(outside)


def _count_distinct(keys: pa.Table) -> int:
    """Return the number of different rows; without Arrow where there are few, because ``group_by`` imports pandas."""
    if keys.num_columns == 1:
        return len(_distinct(keys.column(0)))
    if keys.num_rows <= _FEW_ROWS:
        return len(set(zip(*(column.to_pylist() for column in keys.columns), strict=True)))
    return keys.group_by(keys.schema.names).aggregate([]).num_rows


def _range_of(values: pa.ChunkedArray) -> tuple[float | None, float | None]:
    """Return the smallest and the largest number of a column; ``None`` if it has none."""
    if len(values) <= _FEW_ROWS:
        numbers = [value for value in values.to_pylist() if value is not None and not math.isnan(value)]
        return min(numbers, default=None), max(numbers, default=None)
    found = pc.min_max(values).as_py()
    return found["min"], found["max"]


def _distinct(values: pa.ChunkedArray) -> set[Any]:
    return set(values.to_pylist() if len(values) <= _FEW_ROWS else values.unique().to_pylist())
