"""Checks a table file against its schema."""

from pathlib import Path

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
    with pq.ParquetFile(path) as file:
        groups = range(file.num_row_groups)
        problems = [line for group in groups for line in table.violations(file.read_row_group(group))]
        if not groups:
            problems = table.violations(file.schema_arrow.empty_table())
        rows = file.metadata.num_rows
    if problems:
        raise SchemaViolationError(
            f"The table {table.name} is not published: {'; '.join(problems[:10])}.",
            "This is a bug in the derivation; the previously published table stays. Please report it with the file.",
        )
    return int(rows)
