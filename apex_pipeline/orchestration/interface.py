"""What other code locations import: the tables of the lake as external assets, their partitions and the IO manager.

Nothing else of this package is meant for them; docs/dagster.md has an example. Their definitions contain our assets as
specs, which Dagster's UI draws as one graph with ours if both locations are loaded.
"""

from collections.abc import Iterable

import dagster as dg

from apex_pipeline.orchestration.io_manager import ParquetIOManager, StagedFile
from apex_pipeline.orchestration.partitions import sessions
from apex_pipeline.orchestration.resources import LakeResource
from apex_pipeline.orchestration.table_schema import table_metadata
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline.sources import session_tables
from apex_pipeline.tables import CATALOG_TABLES

__all__ = ["PUBLISHED", "LakeResource", "ParquetIOManager", "StagedFile", "lake_resources", "lake_specs", "sessions"]

# What an asset depends on to be made after a session was published.
PUBLISHED = dg.AssetKey(["lake", "published"])


def lake_specs(tables: Iterable[str] | None = None, *, io_manager_key: str = "parquet_io") -> list[dg.AssetSpec]:
    """Return the tables of the lake as external assets with their columns, to be loaded by the IO manager.

    Args:
        tables: Their names, such as ``laps``; by default all of them.
        io_manager_key: Under which the definitions have the :class:`ParquetIOManager`.

    Raises:
        KeyError: There is no table of one of the names; the message lists them all.
    """
    known = {table.name: table for table in (*session_tables(), *CATALOG_TABLES)}
    names = list(known) if tables is None else list(tables)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise KeyError(f"{', '.join(unknown)}: no such table; there are {', '.join(sorted(known))}")
    return [
        dg.AssetSpec(
            known[name].asset_key,
            partitions_def=sessions if known[name].folder == "tables" else None,
            description=known[name].description,
            metadata=table_metadata(known[name]),
        ).with_io_manager_key(io_manager_key)
        for name in names
    ]


def lake_resources(settings: Settings | None = None, *, io_manager_key: str = "parquet_io") -> dict[str, object]:
    """Return the resources with which assets load and store tables, for the lake in the settings.

    Args:
        settings: The configuration; by default read from the environment and ``.env``.
        io_manager_key: As for :func:`lake_specs`.
    """
    lake = LakeResource.from_settings(settings or load_settings())
    return {"lake": lake, io_manager_key: ParquetIOManager(lake=lake)}
