"""Computes digests of wide tables: the number of rows and, per column, the number, sum and hash of its cells.

The hash of a column is the sum of one 64-bit hash per cell, computed from car, car time, repeat, column and the bits of
the value: it does not depend on the order of the rows, and one changed, moved or missing cell changes it.
"""

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# Every engine sums in a different order. Relative to the sum of the absolute values.
_TOLERANCE = 1e-9
_UTC_MS = pa.timestamp("ms", "UTC")


@dataclass(frozen=True)
class ColumnDigest:
    """Digest of one column.

    Attributes:
        cells: Number of cells that are not null.
        total: Their sum.
        size: The sum of their absolute values.
        hash: The sum of the cells' hashes, modulo 2**64.
    """

    cells: int
    total: float
    size: float
    hash: int


@dataclass(frozen=True)
class Digest:
    """Digest of a wide table.

    Attributes:
        rows: Number of rows.
        columns: Digest of each column by name.
    """

    rows: int
    columns: dict[str, ColumnDigest]

    @property
    def cells(self) -> int:
        """Number of cells of all columns that are not null."""
        return sum(column.cells for column in self.columns.values())

    @property
    def hash(self) -> int:
        """Combined hash of the cells of all columns."""
        return sum(column.hash for column in self.columns.values()) % 2**64


def digest(table: pa.Table, columns: Iterable[str], excluded: Collection[str] = ()) -> Digest:
    """Compute the digest of the given columns of a wide table.

    Args:
        table: Has ``vehicle_id``, ``car_time`` (any unit), the columns, and ``repeat`` unless it is always 0.
        columns: Names of columns with numbers or times.
        excluded: Cars to leave out.
    """
    table = _with_plain_cars(table)
    table = table.filter(pc.invert(pc.is_in(table["vehicle_id"], pa.array(list(excluded), pa.string()))))
    rows = _row_hashes(table)
    return Digest(table.num_rows, {name: _column_digest(table[name], name, rows) for name in columns})


def reduced(table: pa.Table, columns: Collection[str]) -> pa.Table:
    """Reduce a table with repeats to one row per car and car time: the largest value of each column."""
    grouped = (
        _with_plain_cars(table).group_by(["vehicle_id", "car_time"]).aggregate([(name, "max") for name in columns])
    )
    return grouped.rename_columns({f"{name}_max": name for name in columns})


def coarse_differences(one: Digest, other: Digest) -> list[str]:
    """Return a phrase for each difference in rows, non-null counts or sums."""
    found = [] if one.rows == other.rows else [f"{one.rows:,} rows against {other.rows:,}"]
    for name, column in one.columns.items():
        other_column = other.columns[name]
        if column.cells != other_column.cells:
            found.append(f"{name}: {column.cells:,} cells against {other_column.cells:,}")
        elif abs(column.total - other_column.total) > _TOLERANCE * column.size:
            found.append(f"{name}: sum {column.total} against {other_column.total}")
    return found


def columns_with_other_cells(one: Digest, other: Digest) -> list[str]:
    """Return the names of the columns whose cells are not equal bit for bit."""
    return [name for name, column in one.columns.items() if column.hash != other.columns[name].hash]


def _with_plain_cars(table: pa.Table) -> pa.Table:
    """Return the table with cars as plain strings, whatever dictionary or large string type an engine wrote."""
    cars = table["vehicle_id"].cast(pa.string())
    return table.set_column(table.schema.get_field_index("vehicle_id"), "vehicle_id", cars)


def _column_digest(column: pa.ChunkedArray, name: str, rows: np.ndarray) -> ColumnDigest:
    numbers = column.cast(_UTC_MS).cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
    is_valid = numbers.is_valid().to_numpy()
    values = numbers.drop_null().cast(pa.float64()).to_numpy() + 0.0  # turns minus zero into zero
    hashes = _mixed(_mixed(rows[is_valid] ^ _text_hash(name)) ^ values.view(np.uint64))
    return ColumnDigest(len(values), float(values.sum()), float(np.abs(values).sum()), int(hashes.sum(dtype=np.uint64)))


def _row_hashes(table: pa.Table) -> np.ndarray:
    cars = table["vehicle_id"].combine_chunks().dictionary_encode()
    of_car = np.array([_text_hash(car) for car in cars.dictionary.to_pylist()], dtype=np.uint64)
    times = table["car_time"].cast(_UTC_MS).cast(pa.int64()).to_numpy().view(np.uint64)
    hashes = _mixed(of_car[cars.indices.to_numpy()] ^ _mixed(times))
    if "repeat" not in table.column_names:
        return hashes
    return _mixed(hashes + table["repeat"].cast(pa.int64()).to_numpy().view(np.uint64))


def _text_hash(text: str) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little"))


def _mixed(values: np.ndarray) -> np.ndarray:
    """Apply the finalizer of SplitMix64, in which each input bit changes each output bit with probability 1/2."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
