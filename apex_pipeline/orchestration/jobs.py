"""Defines the jobs: which assets are materialized together.

A sync runs ``sync_session`` for each session that changed, and then ``refresh_catalog`` once. Two are for Dagster's
UI: ``find_sessions`` adds the sessions of the source folder and the lake as partitions, and ``derive_session`` makes
the tables of a session that is in the lake already. ``make_report`` makes the report of a published session, and
``process_race`` the tables of one AMS2 race.
See https://docs.dagster.io/guides/build/jobs
"""

from collections.abc import Iterable
from typing import Any

import dagster as dg

from apex_pipeline.errors import SourceError
from apex_pipeline.orchestration.assets._discovery import discover_sessions
from apex_pipeline.orchestration.failures import dagster_failure
from apex_pipeline.orchestration.job_names import CATALOG_JOB, DERIVE_JOB, FIND_JOB, RACE_JOB, REPORT_JOB, SESSION_JOB
from apex_pipeline.orchestration.resources import LakeResource, SourceResource
from apex_pipeline.tables import CATALOG_TABLES
from apex_pipeline.tables.model import Table


def _assets(*keys: tuple[str, str]) -> dg.AssetSelection:
    return dg.AssetSelection.assets(*(dg.AssetKey(key) for key in keys))


@dg.op(out=dg.Out(dg.Nothing), description="Add the sessions found in the source folder and the lake as partitions.")
def add_found_sessions(context: dg.OpExecutionContext, lake: LakeResource, source: SourceResource) -> None:
    """Look for sessions and add them."""
    with dagster_failure(context):
        found = discover_sessions(context.instance, lake, source)
        if not found.sessions:
            raise SourceError(
                f"No session was found, neither in the lake {found.lake} nor in {source.uri or source.folder}.",
                "Set APEX_SOURCE_DIR to the folder, or APEX_SOURCE_URI to the bucket, that contains the race files.",
            )
        context.log.info("%d sessions: %s", len(found.sessions), ", ".join(map(str, found.sessions)))


@dg.job(name=FIND_JOB, description="Find the sessions in the source folder and the lake, and add them as partitions.")
def find_sessions() -> None:
    """Run the only operation of the job."""
    add_found_sessions()


def build_jobs(session_tables: Iterable[Table]) -> list[Any]:
    """Return the jobs; Dagster does not export their type."""
    derived = [("lake", "session"), *(table.asset_key for table in session_tables), ("lake", "published")]
    return [
        find_sessions,
        dg.define_asset_job(
            SESSION_JOB,
            selection=_assets(("lake", "files"), *derived),
            description="Copy one session's raw files into the lake, derive and check its tables, and publish them.",
        ),
        dg.define_asset_job(
            DERIVE_JOB,
            selection=_assets(*derived),
            description="Derive, check and publish the tables of a session whose files are in the lake.",
        ),
        dg.define_asset_job(
            CATALOG_JOB,
            selection=_assets(
                ("lake", "unassigned_files"), *(table.asset_key for table in CATALOG_TABLES), ("catalog", "manifest")
            ),
            description="Rebuild the tables that cover all sessions: files, tracks and sessions, and the manifest.",
        ),
        dg.define_asset_job(
            REPORT_JOB,
            selection=_assets(("reports", "session")),
            description="Make the report of a published session.",
        ),
        dg.define_asset_job(
            RACE_JOB,
            selection=_assets(("races", "laps"), ("races", "timing")),
            description="Read an AMS2 race from its bytes, now or again; ids and links of its laps stay.",
        ),
    ]
