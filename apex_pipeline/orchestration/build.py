"""Builds the Dagster definitions: every asset, check, job and resource.

The entry point calls :func:`build_definitions` without arguments; tests and commands pass their own settings or
resources. This is the only place that assembles definitions, and importing it opens no connection.
"""

from collections.abc import Mapping

import dagster as dg

from apex_pipeline.orchestration.assets import assets_of, checks_of
from apex_pipeline.orchestration.assets.catalog import (
    build_manifest_asset,
    catalog_files,
    catalog_sessions,
    catalog_tracks,
)
from apex_pipeline.orchestration.assets.lake_files import lake_files, unassigned_files
from apex_pipeline.orchestration.assets.raw_files import raw_files
from apex_pipeline.orchestration.checks import build_schema_checks
from apex_pipeline.orchestration.io_manager import ParquetIOManager
from apex_pipeline.orchestration.jobs import build_jobs
from apex_pipeline.orchestration.resources import LakeResource, SourceResource
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline.sources import all_sources, session_tables

# The assets upstream of the source-specific ones, in data-flow order.
_BEFORE_DERIVATION = [raw_files, lake_files, unassigned_files, catalog_files, catalog_tracks, catalog_sessions]


def build_definitions(
    settings: Settings | None = None, resources: Mapping[str, object] | None = None
) -> dg.Definitions:
    """Return the pipeline's definitions.

    Args:
        settings: The configuration; by default read from the environment and ``.env``.
        resources: Resources by name that replace those created from the settings.

    Raises:
        ConfigurationError: A variable in the environment or ``.env`` is invalid.
    """
    settings = settings or load_settings()
    lake = LakeResource.from_settings(settings)
    default_resources: dict[str, object] = {
        "lake": lake,
        "source": SourceResource.from_settings(settings),
        "parquet_io": ParquetIOManager(lake=lake),
    }
    tables = session_tables()
    derivations = [asset for source in all_sources() for asset in assets_of(source)]
    return dg.Definitions(
        assets=[*_BEFORE_DERIVATION, *derivations, build_manifest_asset(tables)],
        asset_checks=[
            *build_schema_checks(tables),
            *(check for source in all_sources() for check in checks_of(source)),
        ],
        jobs=build_jobs(tables),
        resources={**default_resources, **(resources or {})},
        # Each session is one run; one process per step would cost four CPU seconds per step for no benefit.
        executor=dg.in_process_executor,
    )
