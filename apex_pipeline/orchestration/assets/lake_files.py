"""Contains the assets of the raw files in the lake, copied by a run or already there.

See ``storage/copy.py`` for copying and verifying, and ``ingest/discover.py`` for which files belong to a session.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import dagster as dg

from apex_pipeline.errors import ApexError
from apex_pipeline.ingest.copy import recorded_version
from apex_pipeline.ingest.session_work import copy_work, handed_over_work, record_of, write_unassigned_work
from apex_pipeline.lake.records import RecordedFile
from apex_pipeline.orchestration.assets._discovery import find_unassigned, leased_work
from apex_pipeline.orchestration.failures import MOST_RETRIES, RETRY_TRANSIENT, dagster_failure
from apex_pipeline.orchestration.metadata import size_metadata
from apex_pipeline.orchestration.partitions import session_key_from, sessions
from apex_pipeline.orchestration.resources import LakeResource, SourceResource
from apex_pipeline.progress import current_progress
from apex_pipeline.storage.copy import CopyReport

# Raised when the same files would be copied to other keys.
_CODE_VERSION = "1"


@dg.asset(
    key=["lake", "files"],
    deps=[dg.AssetKey(["raw", "files"])],
    partitions_def=sessions,
    group_name="lake",
    kinds={"csv"},
    code_version=_CODE_VERSION,
    retry_policy=RETRY_TRANSIENT,
    description="The session's raw files in the lake, byte for byte, under data/ with their relative path.",
)
def lake_files(
    context: dg.AssetExecutionContext, lake: LakeResource, source: SourceResource
) -> dg.MaterializeResult[Any]:
    """Copy the session's files that are not in the lake yet."""
    with dagster_failure(context):
        if handed_over_work(session_key_from(context)) is None:
            source.require()
        with leased_work(context, lake, source, "copying") as (work, _):
            report = copy_work(work, lake.open(), lake.digest_cache, current_progress())
            return _result(record_of(work).files, report, lake)


@dg.asset(
    key=["lake", "unassigned_files"],
    check_specs=[
        dg.AssetCheckSpec(
            "all_copied", asset=["lake", "unassigned_files"], description="Every file without a session is in the lake."
        )
    ],
    group_name="lake",
    kinds={"csv"},
    code_version=_CODE_VERSION,
    retry_policy=RETRY_TRANSIENT,
    description="Files without a session: season standings and files that could not be identified.",
)
def unassigned_files(
    context: dg.AssetExecutionContext, lake: LakeResource, source: SourceResource
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
    """Copy the files without a session that are not in the lake yet, and record all of them.

    A file that cannot be copied fails the check and not the step, or it would keep the roll-ups from being refreshed.
    """
    with dagster_failure(context):
        work, store = find_unassigned(context.instance, lake, source), lake.open()
        report, problem = CopyReport((), (), (), ()), ""
        try:
            report = copy_work(work, store, lake.digest_cache, current_progress())
        except ApexError as error:
            if not error.is_permanent and context.retry_number < MOST_RETRIES:
                raise
            problem = str(error)
        record = write_unassigned_work(work, store)
        yield _result(record.files, report, lake)
        yield dg.AssetCheckResult(passed=not problem, description=problem or None)


def _result(files: Iterable[RecordedFile], report: CopyReport, lake: LakeResource) -> dg.MaterializeResult[Any]:
    stored = [file for file in files if file.tag is not None]
    return dg.MaterializeResult(
        metadata={
            "copied": len(report.copied),
            "in_lake": len(stored),
            **size_metadata(report.bytes_copied),
            "files": dg.MetadataValue.md("\n".join(f"- `{file.path}`" for file in stored) or "none"),
            **lake.request_metadata(),
        },
        data_version=dg.DataVersion(recorded_version(stored)),
    )
