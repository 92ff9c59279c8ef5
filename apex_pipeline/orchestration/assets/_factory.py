"""Contains the helpers that give the assets of all tables their key, description, column schema and IO manager."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from apex_pipeline.orchestration.table_schema import table_metadata
from apex_pipeline.tables.model import Table


def table_output(table: Table, *, is_required: bool = True) -> dg.AssetOut:
    """Return the output of a multi-asset for ``table``; an output that is not required may be skipped."""
    return dg.AssetOut(
        is_required=is_required,
        key=table.asset_key,
        description=table.description,
        metadata=table_metadata(table),
        kinds={"parquet"},
        io_manager_key="parquet_io",
    )


def materialize_table(
    table: Table, value: object, version: str, facts: Mapping[str, Any] | None = None
) -> dg.MaterializeResult[Any]:
    """Return the materialization of ``table``: its value, the version of its inputs, and metadata."""
    return dg.MaterializeResult(
        asset_key=dg.AssetKey(table.asset_key),
        value=value,
        metadata=dict(facts or {}),
        data_version=dg.DataVersion(version),
    )
