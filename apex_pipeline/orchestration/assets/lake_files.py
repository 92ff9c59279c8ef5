"""Contains the assets of the raw files in the lake, copied by a run or already there.

See ``storage/copy.py`` for copying and verifying, and ``ingest/plan.py`` for which files belong to a session.
"""

from collections.abc import Iterable
from typing import Any

import dagster as dg

from apex_pipeline.ingest.copy import copied_version, copy_session
from apex_pipeline.orchestration.failures import dagster_failure
from apex_pipeline.orchestration.partitions import session_key_from, sessions
from apex_pipeline.orchestration.resources import LakeResource, SourceResource
from apex_pipeline.progress import current_progress
from apex_pipeline.storage.layout import raw_path
from apex_pipeline.tables.session_key import SessionKey


@dg.asset(
    key=["lake", "files"],
    deps=[dg.AssetKey(["raw", "files"])],
    partitions_def=sessions,
    group_name="lake",
    kinds={"csv"},
    description="The session's raw files in the lake, byte for byte, under data/ with their relative path.",
)
def lake_files(
    context: dg.AssetExecutionContext, lake: LakeResource, source: SourceResource
) -> dg.MaterializeResult[Any]:
    """Copy the session's files that are not in the lake yet."""
    with dagster_failure():
        return _copy(session_key_from(context), lake, source)


@dg.asset(
    key=["lake", "unassigned_files"],
    group_name="lake",
    kinds={"csv"},
    description="Files without a session: season standings and files that could not be identified.",
)
def unassigned_files(lake: LakeResource, source: SourceResource) -> dg.MaterializeResult[Any]:
    """Copy the files without a session that are not in the lake yet."""
    with dagster_failure():
        return _copy(None, lake, source)


def _copy(key: SessionKey | None, lake: LakeResource, source: SourceResource) -> dg.MaterializeResult[Any]:
    report = copy_session(key, lake.open(), source.scan(), source.identify, lake.digest_cache, current_progress())
    paths = sorted(raw_path(file.item.key) for file in report.copied + report.unchanged)
    return dg.MaterializeResult(
        metadata={
            "copied": len(report.copied),
            "unchanged": len(report.unchanged),
            "bytes": report.bytes_copied,
            "files": dg.MetadataValue.md(_as_list(paths)),
            **lake.request_metadata(),
        },
        data_version=dg.DataVersion(copied_version(report)),
    )


def _as_list(paths: Iterable[str]) -> str:
    return "\n".join(f"- `{path}`" for path in paths) or "none"
