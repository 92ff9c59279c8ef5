"""Contains the report of a session: one HTML file in the lake, made from its published tables.

No sync makes it: most reports are never opened, ``apex report`` and ``apex serve`` make one in a second when they are
asked for it, and a first sync of nine races would take a tenth more processor time (docs/report.md has the figures).
Who wants one materializes its partition; who wants all of them kept up to date starts the sensor ``make_reports``. See
``reports/stored_report.py`` for what is done.
"""

from typing import Any

import dagster as dg

from apex_pipeline.orchestration.assets._discovery import leased
from apex_pipeline.orchestration.assets.published import PUBLISHED_KEY
from apex_pipeline.orchestration.failures import RETRY_TRANSIENT, dagster_failure
from apex_pipeline.orchestration.metadata import size_metadata
from apex_pipeline.orchestration.partitions import session_key_from, sessions
from apex_pipeline.orchestration.resources import LakeResource, SourceResource

REPORT_KEY = dg.AssetKey(["reports", "session"])
# Raised when the same tables would give another report.
_CODE_VERSION = "1"
# Published since the last request, and by no run of it any more. `eager()` forgets what was published between a request
# and the end of its run.
_PUBLISHED = dg.AutomationCondition.any_deps_updated()
_WHEN_PUBLISHED = (
    _PUBLISHED.since(dg.AutomationCondition.newly_requested() & ~_PUBLISHED)
    & ~dg.AutomationCondition.in_progress()
    & ~dg.AutomationCondition.any_deps_in_progress()
)


@dg.asset(
    key=REPORT_KEY,
    deps=[PUBLISHED_KEY],
    partitions_def=sessions,
    group_name="reports",
    kinds={"html"},
    code_version=_CODE_VERSION,
    automation_condition=_WHEN_PUBLISHED,
    retry_policy=RETRY_TRANSIENT,
    description="The session's report: one HTML file that needs no network, as `apex report` writes it.",
)
def session_report(
    context: dg.AssetExecutionContext, lake: LakeResource, source: SourceResource
) -> dg.MaterializeResult[Any]:
    """Make the report from what is published now; a failure leaves the former one."""
    from apex_pipeline.reports.stored_report import store_report  # noqa: PLC0415  -- 30 ms of every sync

    with dagster_failure(context):
        store, key = lake.open(), session_key_from(context)
        with leased(context, store, key, "writing its report") as lease:
            report = store_report(store, key, lake.settings_with(source), lease.require)
        return dg.MaterializeResult(
            metadata={
                "dagster/uri": report.uri,
                "preview": report.preview,
                "snapshot": report.snapshot,
                "cars": report.cars,
                "laps": report.laps,
                "parts_lacking_data": len(report.lacking),
                "lacking_data": ", ".join(report.lacking) or "none",
                **size_metadata(report.bytes),
                "sha256": report.sha256,
                **lake.request_metadata(),
            },
            data_version=dg.DataVersion(report.sha256[:16]),
        )
