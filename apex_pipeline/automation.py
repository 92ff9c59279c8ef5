"""Jobs: the stretches of the way that are run together.

A sync runs them in this order: copy each session that changed, refresh the catalog once, derive each session whose
inputs changed, publish once. Here belongs what is run together, and nothing about how a station works.
See https://docs.dagster.io/guides/build/jobs
"""

import dagster as dg

from apex_pipeline.schemas import CATALOG_TABLES, SESSION_TABLES

COPY_JOB = "copy_session"
CATALOG_JOB = "refresh_catalog"
DERIVE_JOB = "derive_session"
PUBLISH_JOB = "publish"


def _assets(*keys: tuple[str, str]) -> dg.AssetSelection:
    return dg.AssetSelection.assets(*(dg.AssetKey(key) for key in keys))


copy_session = dg.define_asset_job(
    COPY_JOB, selection=_assets(("lake", "files")), description="Bring one session's raw files into the lake."
)
refresh_catalog = dg.define_asset_job(
    CATALOG_JOB,
    selection=_assets(("lake", "other_files"), *(table.asset_key for table in CATALOG_TABLES)),
    description="List what is in the lake: files, tracks, sessions.",
)
derive_session = dg.define_asset_job(
    DERIVE_JOB,
    selection=_assets(*(table.asset_key for table in SESSION_TABLES)),
    description="Make one session's tables from its raw files, and check them.",
)
publish = dg.define_asset_job(
    PUBLISH_JOB, selection=_assets(("catalog", "manifest")), description="Say what is published now, in one step."
)

ALL_JOBS = [copy_session, refresh_catalog, derive_session, publish]

__all__ = ["ALL_JOBS", "CATALOG_JOB", "COPY_JOB", "DERIVE_JOB", "PUBLISH_JOB"]
