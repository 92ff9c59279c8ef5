"""What every asset of a published table has in common: key, description, column schema, IO manager."""

import dagster as dg

from apex_pipeline.resources.dagster_schema import table_metadata
from apex_pipeline.table_model import Table


def table_out(table: Table) -> dg.AssetOut:
    """Return the output of a multi-asset that publishes ``table``."""
    return dg.AssetOut(
        key=table.asset_key,
        description=table.meaning,
        metadata=table_metadata(table),
        kinds={"parquet"},
        io_manager_key="parquet_io",
    )


__all__ = ["table_out"]
