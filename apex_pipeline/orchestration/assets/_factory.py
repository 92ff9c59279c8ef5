"""What every asset of a published table has in common: key, description, column schema, IO manager."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from apex_pipeline.orchestration.table_schema import table_metadata
from apex_pipeline.tables.model import Table


def table_output(table: Table, *, is_required: bool = True) -> dg.AssetOut:
    """Return the output of a multi-asset that publishes ``table``; one that is not required may be left out."""
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
    """Return the materialization of ``table``: value, version of the inputs it was made from, facts about it."""
    return dg.MaterializeResult(
        asset_key=dg.AssetKey(table.asset_key),
        value=value,
        metadata=dict(facts or {}),
        data_version=dg.DataVersion(version),
    )
