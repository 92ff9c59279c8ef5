"""Stores and finds the tables of other code locations, below ``assets/`` in the lake.

They are the user's own: no snapshot names them and ``apex gc`` leaves them alone. An asset may declare its columns in
Dagster's metadata ``dagster/column_schema``; then a file that has others does not replace the present one.
"""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq

from apex_pipeline.errors import ConfigurationError, ObjectMissingError, SchemaViolationError
from apex_pipeline.orchestration.partitions import sessions
from apex_pipeline.orchestration.table_schema import column_schema
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import own_table_key
from apex_pipeline.tables.session_key import parse_session_key

# First segments of the keys of our own assets.
_RESERVED = frozenset({"raw", "lake", "tables", "catalog", "events", "races"})
_COLUMNS = "dagster/column_schema"
# Partitions named in a message; the others are counted.
_NAMED_PARTITIONS = 10


def is_own(key: dg.AssetKey) -> bool:
    """Return whether an asset belongs to another code location."""
    return key.path[0] not in _RESERVED


def output_key(context: dg.OutputContext) -> str:
    """Return the key of the file that an asset's output is stored as.

    Raises:
        ConfigurationError: The run has several partitions, or the partition is not a session.
    """
    partitions = context.asset_partition_keys if context.has_asset_partitions else [None]
    if len(partitions) != 1:
        raise ConfigurationError(
            f"The run makes {len(partitions)} partitions of {context.asset_key.to_user_string()} at once.",
            "Launch one run per partition: the asset must not have a BackfillPolicy for single runs.",
        )
    is_session = context.has_asset_partitions and context.asset_partitions_def == sessions
    return _key(context.asset_key, partitions[0], is_session=is_session)


def input_keys(context: dg.InputContext, store: ObjectStore, *, allow_missing: bool) -> list[str]:
    """Return the keys of the files that an input is loaded from.

    Raises:
        ObjectMissingError: A partition has no file and ``allow_missing`` is not set.
    """
    asset = context.asset_key
    # Dagster gives the keys of a range in any order, and the rows would come in another one in each process.
    partitions = sorted(context.asset_partition_keys) if context.has_asset_partitions else [None]
    is_session = context.has_asset_partitions and context.asset_partitions_def == sessions
    keys = {partition: _key(asset, partition, is_session=is_session) for partition in partitions}
    found = {partition: key for partition, key in keys.items() if store.head(key)}
    missing = [str(partition or "its only file") for partition in keys if partition not in found]
    if missing and not allow_missing:
        rest = len(missing) - _NAMED_PARTITIONS
        named = ", ".join(missing[:_NAMED_PARTITIONS]) + (f" and {rest} more" if rest > 0 else "")
        raise ObjectMissingError(
            f"{asset.to_user_string()} has no file for {len(missing)} of {len(keys)} partitions: {named}.",
            "Materialize them, or set allow_missing_partitions in the metadata of the input.",
        )
    return list(found.values())


def plain_types(table: pa.Table) -> pa.Table:
    """Return a table with text as ``string``: pandas makes ``large_string``, which would be another column type."""
    fields = [field.with_type(pa.string()) if pa.types.is_large_string(field.type) else field for field in table.schema]
    return table.cast(pa.schema(fields, table.schema.metadata))


def check_declared(path: Path, context: dg.OutputContext) -> None:
    """Compare a file with the columns that its asset declares, if it does.

    Raises:
        SchemaViolationError: A column is missing, is too much, has another type, or is null where it must not be.
    """
    declared = declared_columns(context.definition_metadata or {})
    if declared is None:
        return
    with pq.ParquetFile(path) as file:
        present = {column.name: column for column in column_schema(file.schema_arrow).columns}
        required = [column.name for column in declared.columns if not column.constraints.nullable]
        problems = _differences({column.name: column for column in declared.columns}, present)
        problems += [f"{name} is null in {count} rows" for name, count in _nulls(file, required).items()]
    if problems:
        raise SchemaViolationError(
            f"{context.asset_key.to_user_string()} is not stored: {'; '.join(problems[:10])}.",
            f"Correct the asset, or its declaration in the metadata {_COLUMNS}; the former file stays.",
        )


def declared_columns(metadata: Any) -> dg.TableSchema | None:  # noqa: ANN401  -- metadata of any asset
    """Return the columns that an asset declares in its metadata."""
    value = metadata.get(_COLUMNS)
    return getattr(value, "schema", value) if value is not None else None


def _differences(declared: dict[str, dg.TableColumn], present: dict[str, dg.TableColumn]) -> list[str]:
    problems = [f"{name} is missing" for name in declared if name not in present]
    problems += [f"{name} is not declared" for name in present if name not in declared]
    both = declared.keys() & present.keys()
    return problems + [
        f"{name} is {present[name].type}, not {declared[name].type}"
        for name in sorted(both)
        if present[name].type != declared[name].type
    ]


def _nulls(file: pq.ParquetFile, names: list[str]) -> dict[str, int]:
    """Return the number of nulls of each of these columns that has any, reading one row group at a time."""
    counts = dict.fromkeys((name for name in names if name in file.schema_arrow.names), 0)
    for group in range(file.num_row_groups if counts else 0):
        table = file.read_row_group(group, columns=list(counts))
        for name in counts:
            counts[name] += table[name].null_count
    return {name: count for name, count in counts.items() if count}


def _key(asset: dg.AssetKey, partition: str | None, *, is_session: bool) -> str:
    if partition is None:
        return own_table_key(asset.path)
    if is_session:
        key = parse_session_key(partition)
        return own_table_key(asset.path, f"track={key.track}/session={key.session}")
    return own_table_key(asset.path, f"partition={quote(partition, safe='')}")
