"""Contains the asset of the session record: the session's files, and why each is used or set aside.

See ``ingest/discover.py`` for the identification of files and ``lake/records.py`` for the record.
"""

from collections import Counter
from typing import Any

import dagster as dg

from apex_pipeline.ingest.session_work import write_work_record
from apex_pipeline.lake.records import SessionRecord
from apex_pipeline.orchestration.assets._discovery import leased_work
from apex_pipeline.orchestration.attempts import remember_inputs
from apex_pipeline.orchestration.failures import RETRY_TRANSIENT, dagster_failure
from apex_pipeline.orchestration.partitions import sessions
from apex_pipeline.orchestration.resources import LakeResource, SourceResource
from apex_pipeline.sources import all_sources
from apex_pipeline.sources.base import FileStatus


def build_record_asset() -> dg.AssetsDefinition:
    """Return the asset that records the files of a session."""
    # The version of a session's files includes those of its derivations, so a new one changes the record.
    versions = " ".join(f"{source.name}-{source.derivation_version}" for source in all_sources())

    @dg.asset(
        key=["lake", "session"],
        deps=[dg.AssetKey(["lake", "files"])],
        partitions_def=sessions,
        group_name="lake",
        kinds={"json"},
        code_version=versions,
        retry_policy=RETRY_TRANSIENT,
        description="The session's record: its files with kind, evidence and digest, which all tables derive from.",
    )
    def lake_session(
        context: dg.AssetExecutionContext, lake: LakeResource, source: SourceResource
    ) -> dg.MaterializeResult[Any]:
        """Identify the session's files and record them."""
        with dagster_failure(context), leased_work(context, lake, source, "recording files") as (work, lease):
            record = write_work_record(work, lake.open(), lease.require)
            remember_inputs(context, record.inputs_version, source.settings)
            return dg.MaterializeResult(
                metadata=_facts(record) | lake.request_metadata(),
                data_version=dg.DataVersion(record.inputs_version),
            )

    return lake_session


def _facts(record: SessionRecord) -> dict[str, Any]:
    kinds = Counter(file.kind for file in record.files_in_use)
    aside = [file for file in record.files if file.status is not FileStatus.READY]
    return {
        "files": len(record.files_in_use),
        "kinds": ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())),
        "sources": ", ".join(record.sources),
        "set_aside": dg.MetadataValue.md("\n".join(f"- `{file.path}`: {file.reason}" for file in aside) or "none"),
    }
