"""The map: every asset, check, job and resource, put together by one function.

The entry point calls :func:`build_definitions` bare; tests and commands pass their own settings or resources. Nothing
is assembled anywhere else, and loading this module contacts nothing.
"""

from collections.abc import Mapping

import dagster as dg

from apex_pipeline.assets.catalog import catalog_files, catalog_manifest, catalog_sessions, catalog_tracks
from apex_pipeline.assets.laps import laps
from apex_pipeline.assets.official_timing import official_timing
from apex_pipeline.assets.quality import quality
from apex_pipeline.assets.raw_files import raw_files
from apex_pipeline.assets.stored_files import other_stored_files, stored_files
from apex_pipeline.assets.telemetry import telemetry
from apex_pipeline.automation import ALL_JOBS
from apex_pipeline.checks import ALL_CHECKS
from apex_pipeline.resources.lake_store import LakeResource, SourceResource
from apex_pipeline.resources.parquet_io import ParquetIOManager
from apex_pipeline.settings import Settings, load_settings

# In the order of the way.
ALL_ASSETS = [
    raw_files,
    stored_files,
    other_stored_files,
    catalog_files,
    catalog_tracks,
    catalog_sessions,
    official_timing,
    laps,
    telemetry,
    quality,
    catalog_manifest,
]


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
    return dg.Definitions(
        assets=ALL_ASSETS,
        asset_checks=ALL_CHECKS,
        jobs=ALL_JOBS,
        resources={**made, **(resources or {})},
        # One session is one run; a process per step would cost four CPU seconds each and gain nothing.
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """The code location ``apex_pipeline``."""
    return build_definitions()


__all__ = ["build_definitions", "defs"]
