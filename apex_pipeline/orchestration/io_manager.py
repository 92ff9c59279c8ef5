"""Stores and loads assets as Parquet, with one IO manager for local lakes and S3.

It stores pandas frames, Arrow tables, record-batch readers and files staged on disk, and loads the input's annotated
type: ``pandas.DataFrame``, ``pyarrow.Table`` or ``pyarrow.dataset.Dataset``. A table file is checked against its
declared schema before it replaces the current one, which is kept in ``history/``: a failed run leaves the published
file unchanged. See ``tables/model.py`` for schemas and ``storage/layout.py`` for keys.

Based on ``ConfigurableIOManager`` rather than ``UPathIOManager``, which creates a mistyped bucket, lets ``..`` in a
partition key leave the asset's folder, and needs a second S3 client next to ours.
See https://docs.dagster.io/guides/build/io-managers
"""

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from apex_pipeline.errors import SchemaViolationError
from apex_pipeline.orchestration.failures import dagster_failure
from apex_pipeline.orchestration.resources import LakeResource
from apex_pipeline.orchestration.table_schema import column_schema
from apex_pipeline.sources import all_tables
from apex_pipeline.storage.arrow_fs import arrow_filesystem
from apex_pipeline.storage.base import ObjectInfo, ObjectStore
from apex_pipeline.storage.file_hashing import BLOCK_BYTES, HashingReader
from apex_pipeline.storage.layout import history_key, table_key
from apex_pipeline.tables.model import ZSTD_LEVEL, Table
from apex_pipeline.tables.session_key import parse_session_key


@dataclass(frozen=True)
class StagedFile:
    """A Parquet file on the local disk, which the IO manager publishes and then deletes."""

    path: Path


Storable = pd.DataFrame | pa.Table | pa.RecordBatchReader | StagedFile


class ParquetIOManager(dg.ConfigurableIOManager):
    """Stores assets as Parquet in the lake, at ``{folder}/{table}/track=…/session=…/{table}.parquet``."""

    lake: dg.ResourceDependency[LakeResource]

    def handle_output(self, context: dg.OutputContext, obj: Storable) -> None:
        """Check the table, publish it and add its URI, schema, row count, size and hash to the materialization.

        Raises:
            dagster.Failure: The table does not match its schema, or the store refused it. The previously published
                table stays in place.
        """
        table = all_tables()[context.asset_key.path[-1]]
        with dagster_failure(), _staged(obj, table, self.lake.temp_dir) as path:
            (key,) = self._keys(context)
            rows = check_file(path, table)
            stored = publish_file(self.lake.open(), key, path)
            schema = pq.read_schema(path)
        context.add_output_metadata(
            {
                "dagster/uri": self.lake.open().uri_of(key),
                "dagster/column_schema": column_schema(schema),
                "dagster/partition_row_count" if context.has_partition_key else "dagster/row_count": rows,
                "bytes": stored.size,
                "sha256": stored.sha256 or "",
            }
        )

    def load_input(self, context: dg.InputContext) -> Any:  # noqa: ANN401  -- the type of the input's annotation
        """Return the table as the input's annotated type.

        Raises:
            dagster.Failure: The table file is not in the lake.
            TypeError: The annotated type is not supported.
        """
        wanted = context.dagster_type.typing_type
        with dagster_failure():
            filesystem = arrow_filesystem(self.lake.open())
            dataset = ds.dataset(self._keys(context), format="parquet", filesystem=filesystem)
        if wanted is ds.Dataset:
            return dataset
        if wanted is pd.DataFrame:
            return dataset.to_table().to_pandas()
        if wanted is pa.Table:
            return dataset.to_table()
        raise TypeError(
            f"The input from {context.asset_key.to_user_string()} is annotated {wanted}; use pandas.DataFrame, "
            "pyarrow.Table or pyarrow.dataset.Dataset."
        )

    @staticmethod
    def _keys(context: dg.OutputContext | dg.InputContext) -> list[str]:
        folder, name = context.asset_key.path
        if all_tables()[name].folder == "catalog":
            return [table_key(folder, name, None)]
        # Dagster does not validate dynamic partition keys: one added by hand can be any text.
        keys = [parse_session_key(partition) for partition in context.asset_partition_keys]
        return [table_key(folder, name, str(key)) for key in keys]


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


def publish_file(store: ObjectStore, key: str, path: Path) -> ObjectInfo:
    """Put a Parquet file at its stable key and keep the previous file in ``history/``; skip an unchanged file."""
    with HashingReader(path) as reader:
        while reader.read(BLOCK_BYTES):
            pass
        digest = reader.sha256
    before = store.head(key)
    if before and before.sha256 == digest:
        return before
    if before and before.sha256:
        store.copy(key, history_key(before.sha256))
    return store.write_file(key, path, sha256=digest)


@contextmanager
def _staged(obj: Storable, table: Table, temp_dir: Path) -> Generator[Path]:
    """Yield the object as a Parquet file on disk, and delete the file afterwards."""
    if isinstance(obj, StagedFile):
        try:
            yield obj.path
        finally:
            obj.path.unlink(missing_ok=True)
        return
    with tempfile.TemporaryDirectory(dir=temp_dir) as folder:
        path = Path(folder, "table.parquet")
        _write(obj, table, path)
        yield path


def _write(obj: pd.DataFrame | pa.Table | pa.RecordBatchReader, table: Table, path: Path) -> None:
    if isinstance(obj, pd.DataFrame):
        # A frame's types are not exact (text is large_string, labels are categories), so use those of the schema.
        declared = set(table.schema.names)
        schema = table.schema_with(name for name in obj.columns if name not in declared)
        obj = pa.Table.from_pandas(obj, schema=schema, preserve_index=False)
    if isinstance(obj, pa.Table):
        pq.write_table(obj, path, compression="zstd", compression_level=ZSTD_LEVEL)
        return
    if isinstance(obj, pa.RecordBatchReader):
        with pq.ParquetWriter(path, obj.schema, compression="zstd", compression_level=ZSTD_LEVEL) as writer:
            for batch in obj:
                writer.write_batch(batch)
        return
    raise TypeError(
        f"{type(obj).__name__} cannot be stored as Parquet; return a pandas or pyarrow table or a StagedFile."
    )
