"""Station 2: the raw bytes in the lake, copied or found there.

Here belongs asking for copies. How a copy is made and verified is ``storage/copying.py``; which files are a session's
is ``lake/plan.py``.
"""

from collections.abc import Iterable
from typing import Any

import dagster as dg

from apex_pipeline.lake.copy_source import copy_files_of
from apex_pipeline.lake.progress import current_progress
from apex_pipeline.partitions import session_of_run, sessions
from apex_pipeline.resources.failures import dagster_failure
from apex_pipeline.resources.lake_store import LakeResource, SourceResource
from apex_pipeline.session_key import SessionKey


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
        return _copy(session_of_run(context), lake, source)


@dg.asset(
    key=["lake", "other_files"],
    group_name="lake",
    kinds={"csv"},
    description="Files that belong to no session: the season's points table, and files nobody could make out.",
)
def other_stored_files(lake: LakeResource, source: SourceResource) -> dg.MaterializeResult[Any]:
    """Copy what the lake does not hold yet of the files without a session."""
    with dagster_failure():
        return _copy(None, lake, source)


def _copy(key: SessionKey | None, lake: LakeResource, source: SourceResource) -> dg.MaterializeResult[Any]:
    outcome = copy_files_of(key, lake.open(), source.look(), source.identify, lake.fingerprints, current_progress())
    outcome.raise_failures()
    return dg.MaterializeResult(
        metadata={
            "copied": outcome.copied,
            "unchanged": outcome.unchanged,
            "bytes": outcome.bytes,
            "files": dg.MetadataValue.md(_as_list(outcome.paths)),
            **lake.traffic_facts(),
        },
        data_version=dg.DataVersion(outcome.content_version),
    )


def _as_list(paths: Iterable[str]) -> str:
    return "\n".join(f"- `{path}`" for path in paths) or "none"


__all__ = ["other_stored_files", "stored_files"]
