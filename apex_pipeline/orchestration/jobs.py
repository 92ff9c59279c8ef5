"""Defines the jobs: which assets are materialized together.

A sync runs them in this order: copy each session that changed, refresh the catalog once, derive each session whose
inputs changed, publish once.
See https://docs.dagster.io/guides/build/jobs
"""

from collections.abc import Iterable
from typing import Any

import dagster as dg

from apex_pipeline.orchestration.job_names import CATALOG_JOB, COPY_JOB, DERIVE_JOB, PUBLISH_JOB
from apex_pipeline.tables import CATALOG_TABLES
from apex_pipeline.tables.model import Table


def _assets(*keys: tuple[str, str]) -> dg.AssetSelection:
    return dg.AssetSelection.assets(*(dg.AssetKey(key) for key in keys))


def build_jobs(session_tables: Iterable[Table]) -> list[Any]:
    """Return the jobs in the order in which a sync runs them; Dagster does not export their type."""
    return [
        dg.define_asset_job(
            COPY_JOB, selection=_assets(("lake", "files")), description="Copy one session's raw files into the lake."
        ),
        dg.define_asset_job(
            CATALOG_JOB,
            selection=_assets(("lake", "unassigned_files"), *(table.asset_key for table in CATALOG_TABLES)),
            description="Rebuild the catalog of the lake: files, tracks and sessions.",
        ),
        dg.define_asset_job(
            DERIVE_JOB,
            selection=_assets(*(table.asset_key for table in session_tables)),
            description="Derive one session's tables from its raw files, and check them.",
        ),
        dg.define_asset_job(
            PUBLISH_JOB,
            selection=_assets(("catalog", "manifest")),
            description="Publish a snapshot of all tables in one step.",
        ),
    ]
