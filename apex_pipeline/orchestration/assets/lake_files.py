"""Station 2: the raw bytes in the lake, copied or found there.

Here belongs asking for copies. How a copy is made and verified is ``storage/copy.py``; which files are a session's
is ``ingest/plan.py``.
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
def stored_files(
    context: dg.AssetExecutionContext, lake: LakeResource, source: SourceResource
) -> dg.MaterializeResult[Any]:
    """Copy what the lake does not hold yet of the session's files."""
    with dagster_failure():
        return _copy(session_key_from(context), lake, source)


@dg.asset(
    key=["lake", "unassigned_files"],
    group_name="lake",
    kinds={"csv"},
    description="Files that belong to no session: the season's points table, and files nobody could make out.",
)
def other_stored_files(lake: LakeResource, source: SourceResource) -> dg.MaterializeResult[Any]:
    """Copy what the lake does not hold yet of the files without a session."""
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
            **lake.traffic_facts(),
        },
        data_version=dg.DataVersion(copied_version(report)),
    )


def _as_list(paths: Iterable[str]) -> str:
    return "\n".join(f"- `{path}`" for path in paths) or "none"
