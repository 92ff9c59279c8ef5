"""Stores tables as Parquet and loads published ones, with one IO manager for local lakes and S3.

It stores pandas frames, Arrow tables, record-batch readers and files staged on disk, and loads the input's annotated
type: ``pandas.DataFrame``, ``pyarrow.Table`` or ``pyarrow.dataset.Dataset``. A file is checked against its declared
schema before it replaces the current one. See ``tables/model.py`` for schemas and ``storage/layout.py`` for keys.

Assets of other code locations use it to load our tables: those of a session from the published snapshot, never one
that is still being derived, so they should depend on ``lake/published`` too; ``interface.py`` has what they import.
Their own tables are stored below ``assets/``, see ``own_assets.py``. Steps of our own read what was derived
from the session's present files instead, see ``assets/_derivation.py``, which also writes these tables.

Based on ``ConfigurableIOManager`` rather than ``UPathIOManager``, which creates a mistyped bucket, lets ``..`` in a
partition key leave the asset's folder, and needs a second S3 client next to ours.
See https://docs.dagster.io/guides/build/io-managers
"""

import tempfile
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from apex_pipeline.errors import ConfigurationError, ObjectMissingError
from apex_pipeline.lake.objects import table_file_key
from apex_pipeline.lake.published_session import TableRecord
from apex_pipeline.lake.tables import require_snapshot
from apex_pipeline.orchestration.failures import dagster_failure
from apex_pipeline.orchestration.metadata import size_metadata
from apex_pipeline.orchestration.own_assets import check_declared, input_keys, is_own, output_key, plain_types
from apex_pipeline.orchestration.resources import LakeResource
from apex_pipeline.orchestration.table_files import check_file
from apex_pipeline.orchestration.table_schema import column_schema
from apex_pipeline.sources import all_tables
from apex_pipeline.storage.arrow_fs import arrow_filesystem
from apex_pipeline.storage.base import ObjectInfo, ObjectStore
from apex_pipeline.storage.file_hashing import BLOCK_BYTES, HashingReader
from apex_pipeline.storage.layout import table_key
from apex_pipeline.storage.limits import PARALLEL_LOOKUPS
from apex_pipeline.tables.model import ZSTD_LEVEL, Table
from apex_pipeline.tables.session_key import SessionKey, parse_session_key

# Sessions named in a message; the others are counted.
_NAMED_SESSIONS = 10


@dataclass(frozen=True)
class StagedFile:
    """A Parquet file on the local disk, which the IO manager stores and then deletes.

    Attributes:
        path: The file.
        is_checked: Whether it has been checked against its schema already.
    """

    path: Path
    is_checked: bool = False


Storable = pd.DataFrame | pa.Table | pa.RecordBatchReader | StagedFile


class ParquetIOManager(dg.ConfigurableIOManager):
    """Stores roll-ups at ``catalog/{table}.parquet`` and tables of other code locations; loads any published table."""

    lake: dg.ResourceDependency[LakeResource]

    def handle_output(self, context: dg.OutputContext, obj: Storable) -> None:
        """Check the table, store it and add its URI, row count, size and hash to the materialization.

        Raises:
            dagster.Failure: The asset is a session's table, the table does not match its schema, or the store refused
                it. The previous table stays in place.
        """
        with dagster_failure():
            facts = self._store_own(context, obj) if is_own(context.asset_key) else self._store_roll_up(context, obj)
        context.add_output_metadata(facts)

    def _store_roll_up(self, context: dg.OutputContext, obj: Storable) -> dict[str, Any]:
        table = _roll_up_of(context.asset_key)
        with _staged(obj, table, self.lake.temp_dir) as path:
            is_checked = isinstance(obj, StagedFile) and obj.is_checked
            rows = pq.read_metadata(path).num_rows if is_checked else check_file(path, table)
            facts = self._store_file(table_key(table.folder, table.name), path)
        return {"dagster/row_count": rows, **facts}

    def _store_own(self, context: dg.OutputContext, obj: Storable) -> dict[str, Any]:
        key = output_key(context)
        with _staged(obj, None, self.lake.temp_dir) as path:
            check_declared(path, context)
            footer = pq.read_metadata(path)
            facts = self._store_file(key, path)
        # Of a partitioned asset, the page of the asset would show the rows of the last partition as the total.
        count = "dagster/partition_row_count" if context.has_asset_partitions else "dagster/row_count"
        columns = {"dagster/column_schema": column_schema(footer.schema.to_arrow_schema())}
        return {count: footer.num_rows, **columns, **facts}

    def _store_file(self, key: str, path: Path) -> dict[str, Any]:
        store = self.lake.open()
        stored = _store(store, key, path)
        return {"dagster/uri": store.uri_of(key), **size_metadata(stored.size), "sha256": stored.sha256 or ""}

    def load_input(self, context: dg.InputContext) -> Any:  # noqa: ANN401  -- the type of the input's annotation
        """Return the table as the input's annotated type; of several sessions, all rows.

        A session without the table fails the input, unless its metadata has ``allow_missing_partitions``.

        Raises:
            dagster.Failure: The asset is not a table of the lake, or a table is not published.
            TypeError: The annotated type is not supported.
        """
        wanted = context.dagster_type.typing_type
        if wanted not in {ds.Dataset, pd.DataFrame, pa.Table}:
            raise TypeError(
                f"The input from {context.asset_key.to_user_string()} is annotated {wanted}; use pandas.DataFrame, "
                "pyarrow.Table or pyarrow.dataset.Dataset."
            )
        with dagster_failure():
            store = self.lake.open()
            keys, empty = _files_of(context, store)
            schema = None if keys else empty
            dataset = ds.dataset(keys, schema=schema, format="parquet", filesystem=arrow_filesystem(store))
            if wanted is ds.Dataset:
                return dataset
            loaded = dataset.to_table()
        return loaded if wanted is pa.Table else loaded.to_pandas()


def _files_of(context: dg.InputContext, store: ObjectStore) -> tuple[list[str], pa.Schema]:
    """Return the keys of the files of an input, and the schema that it has without any."""
    is_lenient = bool((context.definition_metadata or {}).get("allow_missing_partitions"))
    if is_own(context.asset_key):
        return input_keys(context, store, allow_missing=is_lenient), pa.schema([])
    table = _table_of(context.asset_key)
    if table.folder != "tables":
        return [table_key(table.folder, table.name)], table.schema
    # Dagster does not validate dynamic partition keys: one added by hand can be any text.
    sessions = sorted(parse_session_key(partition) for partition in context.asset_partition_keys)
    return _published_keys(store, table, sessions, allow_missing=is_lenient), table.schema


def _table_of(key: dg.AssetKey) -> Table:
    """Return the table of an asset.

    Raises:
        ConfigurationError: It is not one of this lake.
    """
    table = all_tables().get(key.path[-1])
    if table is None or tuple(key.path) != table.asset_key:
        raise ConfigurationError(
            f"The asset {key.to_user_string()} is not a table of this lake.",
            "Give an asset of your own a key that does not start with raw, lake, tables, catalog, events or races, or "
            "set another io_manager_key for it.",
        )
    return table


def _roll_up_of(key: dg.AssetKey) -> Table:
    """Return the roll-up of an asset.

    Raises:
        ConfigurationError: It is not a roll-up.
    """
    table = _table_of(key)
    if table.folder != "catalog":
        raise ConfigurationError(
            f"The asset {key.to_user_string()} is a session's table, which only its own step writes.",
            "Materialize that asset instead, and take it as an input.",
        )
    return table


def _published_keys(store: ObjectStore, table: Table, sessions: list[SessionKey], *, allow_missing: bool) -> list[str]:
    """Return the keys of the objects with a table of these sessions.

    Raises:
        ObjectMissingError: Some of them have no such table published.
    """
    snapshot = require_snapshot(store)
    with ThreadPoolExecutor(PARALLEL_LOOKUPS) as pool:
        published = list(pool.map(snapshot.session, sessions))
    records: dict[SessionKey, TableRecord | None] = {
        key: session.tables.get(table.name) if session else None
        for key, session in zip(sessions, published, strict=True)
    }
    missing = [str(key) for key, record in records.items() if record is None]
    if missing and not allow_missing:
        rest = len(missing) - _NAMED_SESSIONS
        named = ", ".join(missing[:_NAMED_SESSIONS]) + (f" and {rest} more" if rest > 0 else "")
        raise ObjectMissingError(
            f"The table {table.name} is not published for {len(missing)} of {len(records)} sessions: {named}.",
            f"Materialize {'/'.join(table.asset_key)} and lake/published of these partitions, or set "
            "allow_missing_partitions in the metadata of the input.",
        )
    found = [record for record in records.values() if record is not None]
    with ThreadPoolExecutor(PARALLEL_LOOKUPS) as pool:
        return list(pool.map(lambda record: table_file_key(store, record), found))


def _store(store: ObjectStore, key: str, path: Path) -> ObjectInfo:
    """Put a file at its key, unless the same content is there."""
    with HashingReader(path) as reader:
        while reader.read(BLOCK_BYTES):
            pass
        digest = reader.sha256
    before = store.head(key)
    return before if before and before.sha256 == digest else store.write_file(key, path, sha256=digest)


@contextmanager
def _staged(obj: Storable, table: Table | None, temp_dir: Path) -> Generator[Path]:
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


def _write(obj: pd.DataFrame | pa.Table | pa.RecordBatchReader, table: Table | None, path: Path) -> None:
    if isinstance(obj, pd.DataFrame) and table is None:
        obj = plain_types(pa.Table.from_pandas(obj, preserve_index=False))
    elif isinstance(obj, pd.DataFrame) and table is not None:
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
