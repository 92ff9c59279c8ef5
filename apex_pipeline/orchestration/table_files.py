"""Checks a table file against its schema."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from apex_pipeline.errors import SchemaViolationError
from apex_pipeline.tables.model import Table


def check_file(path: Path, table: Table) -> int:
    """Check a Parquet file against its schema, one row group at a time, and return its number of rows.

    Rows with equal keys are always in the same row group, so checking each group separately finds repeated keys.
    Telemetry has one group per vehicle, or per time range of a vehicle, and both are part of its key; every other table
    fits into one group.

    Raises:
        SchemaViolationError: The file violates the schema; the message lists up to ten violations.
    """
    return check_groups(row_groups(path), table)


def row_groups(path: Path) -> Iterator[pa.Table]:
    """Yield the row groups of a Parquet file, one at a time; of a file without any, its columns without rows."""
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group)
        if not file.num_row_groups:
            yield file.schema_arrow.empty_table()


def check_groups(groups: Iterable[pa.Table], table: Table) -> int:
    """Check the row groups of a table against its schema, and return its number of rows; see :func:`check_file`."""
    rows, problems = 0, list[str]()
    for group in groups:
        rows += group.num_rows
        problems += table.violations(group)
    if problems:
        raise SchemaViolationError(
            f"The table {table.name} is not published: {'; '.join(problems[:10])}.",
            "This is a bug in the derivation; the previously published table stays. Please report it with the file.",
        )
    return rows
