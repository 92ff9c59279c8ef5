"""Writes rows to a Parquet file as they come, with a bounded number of them in memory."""

from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow.parquet as pq

from apex_pipeline.events.arrow_columns import record_batch
from apex_pipeline.tables.model import Row, Table

# Rows and bytes of text that are collected for a row group. Larger groups take more memory: 8 MB took 70 MB more.
_GROUP_ROWS = 20_000
_GROUP_BYTES = 1_000_000
# Level 3 of the other tables took 15 % more CPU for whole days, for files that were not smaller.
_ZSTD_LEVEL = 1


class RowFile:
    """A Parquet file that is being written.

    Args:
        path: The file.
        table: The schema of the rows.

    Attributes:
        path: The file; complete after the block.
        rows: Number of rows added.
    """

    def __init__(self, path: Path, table: Table) -> None:
        self.path = path
        self.rows = 0
        self._table = table
        self._collected: list[Row] = []
        self._bytes = 0
        # A dictionary of texts of which no two are equal would only cost memory.
        repeated = [column.name for column in table.columns if column.kind in {"category", "string_list"}]
        # Nobody looks for payloads by range, and their statistics would repeat two of them per row group.
        compared = [column.name for column in table.columns if column.kind not in {"binary", "string_list"}]
        compared = [name for name in compared if name != "payload"]
        self._writer = pq.ParquetWriter(
            path,
            table.schema,
            compression="zstd",
            compression_level=_ZSTD_LEVEL,
            use_dictionary=repeated,
            write_statistics=compared,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._flush()
        finally:
            self._writer.close()

    def add(self, row: Row, size: int) -> None:
        """Add a row.

        Args:
            row: Values by column.
            size: Bytes of its largest value.
        """
        self._collected.append(row)
        self.rows += 1
        self._bytes += size
        if self._bytes >= _GROUP_BYTES or len(self._collected) >= _GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._collected:
            self._writer.write_batch(record_batch(self._collected, self._table.columns, self._table.schema))
        self._collected, self._bytes = [], 0
