"""The map: every asset, check, job and resource, put together by one function.

The entry point calls :func:`build_definitions` bare; tests and commands pass their own settings or resources. Nothing
is assembled anywhere else, and loading this module contacts nothing.
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
from apex_pipeline.orchestration.assets.lake_files import other_stored_files, stored_files
from apex_pipeline.orchestration.assets.raw_files import raw_files
from apex_pipeline.orchestration.checks import build_schema_checks
from apex_pipeline.orchestration.io_manager import ParquetIOManager
from apex_pipeline.orchestration.jobs import build_jobs
from apex_pipeline.orchestration.resources import LakeResource, SourceResource
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline.sources import all_sources, session_tables

# The assets before and after those of the sources, in the order of the data flow.
_BEFORE_DERIVATION = [raw_files, stored_files, other_stored_files, catalog_files, catalog_tracks, catalog_sessions]


def build_definitions(
    settings: Settings | None = None, resources: Mapping[str, object] | None = None
) -> dg.Definitions:
    """Put the pipeline together.

    Args:
        settings: The configuration; read from the environment and ``.env`` when not given.
        resources: Resources that replace the ones made from the settings, by name.

    Raises:
        ConfigurationError: The environment cannot be read as settings.
    """
    settings = settings or load_settings()
    lake = LakeResource.from_settings(settings)
    made: dict[str, object] = {
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
        resources={**made, **(resources or {})},
        # One session is one run; a process per step would cost four CPU seconds each and gain nothing.
        executor=dg.in_process_executor,
    )
