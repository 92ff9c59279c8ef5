"""Contains the last asset of a session, which publishes its tables; see ``lake/publication.py``."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from apex_pipeline.ingest.session_work import handed_over_work
from apex_pipeline.lake.publication import publish_session
from apex_pipeline.lake.records import require_record
from apex_pipeline.lake.snapshot import FORMAT
from apex_pipeline.lake.tables import require_session
from apex_pipeline.orchestration.assets._discovery import leased
from apex_pipeline.orchestration.failures import RETRY_TRANSIENT, dagster_failure
from apex_pipeline.orchestration.metadata import size_metadata
from apex_pipeline.orchestration.partitions import session_key_from, sessions
from apex_pipeline.orchestration.resources import LakeResource
from apex_pipeline.tables.model import Table

PUBLISHED_KEY = dg.AssetKey(["lake", "published"])


def build_published_asset(session_tables: Iterable[Table]) -> dg.AssetsDefinition:
    """Return the asset that publishes a session's tables."""

    @dg.asset(
        key=PUBLISHED_KEY,
        deps=[dg.AssetKey(["lake", "session"]), *(dg.AssetKey(table.asset_key) for table in session_tables)],
        partitions_def=sessions,
        group_name="published",
        kinds={"json"},
        code_version=str(FORMAT),
        retry_policy=RETRY_TRANSIENT,
        description="The session's published tables: every table file by its digest, replaced in one step.",
    )
    def lake_published(context: dg.AssetExecutionContext, lake: LakeResource) -> dg.MaterializeResult[Any]:
        """Publish the tables that were derived from the session's present files."""
        with dagster_failure(context):
            store, key = lake.open(), session_key_from(context)
            with leased(context, store, key, "publishing") as lease:
                record = require_record(store, key)
                work = handed_over_work(key)
                intact = work.published if work else None
                snapshot = publish_session(store, record, datetime.now(UTC), lease.require, intact=intact)
            published, entry = require_session(snapshot, key), snapshot.entry(key)
            tables = published.tables.values()
            return dg.MaterializeResult(
                metadata={
                    "snapshot": snapshot.id,
                    "tables": len(tables),
                    "rows": sum(table.rows for table in tables),
                    **size_metadata(sum(table.bytes for table in tables)),
                    "inputs_version": published.inputs_version,
                    **lake.request_metadata(),
                },
                data_version=dg.DataVersion(entry.record[:16] if entry else published.inputs_version),
            )

    return lake_published
