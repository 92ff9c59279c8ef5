"""Contains the standing check of the manifest: no session failed, none is stale, none is doubtful.

It is evaluated with every refresh of the catalog, and by the sensor whenever its result changes, so that a session that
fails shows there although nothing is published. See ``ingest/health.py`` for what is found in the lake.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import dagster as dg
from dagster import AssetPartitionStatus, DagsterRunStatus, RunsFilter

from apex_pipeline.ingest.health import Finding, lake_findings
from apex_pipeline.ingest.sync_plan import SyncPlan
from apex_pipeline.lake.rollups import list_records, load_roll_ups
from apex_pipeline.lake.snapshot import read_current
from apex_pipeline.orchestration.assets.published import PUBLISHED_KEY
from apex_pipeline.orchestration.attempts import PARTITION_TAG, step_failures
from apex_pipeline.orchestration.failures import dagster_failure
from apex_pipeline.orchestration.partitions import sessions
from apex_pipeline.orchestration.resources import LakeResource

MANIFEST_KEY = dg.AssetKey(["catalog", "manifest"])
HEALTH_CHECK = "sessions_are_healthy"

# Findings in the table of the check, which is kept in the event log; the rest are only counted.
_SHOWN = 50
# Failed sessions whose run is read for problem and remedy: one query each.
_READ_RUNS = 20


@dg.asset_check(
    name=HEALTH_CHECK,
    asset=MANIFEST_KEY,
    additional_deps=[dg.AssetKey(["catalog", "sessions"]), dg.AssetKey(["catalog", "files"])],
    description="No session failed, is stale or has files that were set aside; each that is comes with its remedy.",
)
def sessions_are_healthy(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
    """Look for failed, stale and doubtful sessions."""
    with dagster_failure():
        store = lake.open()
        snapshot = read_current(store)
        found = lake_findings(load_roll_ups(store, list_records(store)), snapshot.entries if snapshot else {})
    findings = [*_failed_sessions(context.instance), *found]
    return dg.AssetCheckResult(**_result(findings))


def health_events(
    instance: dg.DagsterInstance, plan: SyncPlan, manifest: dg.EventLogEntry | None, reported: str
) -> tuple[list[dg.AssetCheckEvaluation], str]:
    """Return the evaluation of the check if its result changed, and the state to compare the next one with.

    Args:
        instance: The Dagster instance.
        plan: What a sync would do.
        manifest: The last materialization of the manifest, with which the check was evaluated, too.
        reported: The state that was last reported.
    """
    if manifest is None:
        return [], reported
    blocked = [
        Finding(str(key), "doubtful", problem, "Until then, what is published stays.")
        for key, problem in plan.blocked.items()
    ]
    entries = plan.snapshot.entries if plan.snapshot else {}
    findings = [*_failed_sessions(instance), *blocked, *lake_findings(plan.found.roll_ups, entries)]
    state = hashlib.sha256(repr((findings, manifest.timestamp)).encode()).hexdigest()[:16]
    if state == reported:
        return [], reported
    return [dg.AssetCheckEvaluation(MANIFEST_KEY, HEALTH_CHECK, **_result(findings))], state


def _failed_sessions(instance: dg.DagsterInstance) -> list[Finding]:
    """Return the sessions whose last run failed."""
    keys = instance.get_dynamic_partitions("sessions")
    statuses = instance.get_status_by_partition(PUBLISHED_KEY, keys, sessions) or {}
    failed = sorted(key for key, status in statuses.items() if status is AssetPartitionStatus.FAILED)
    return [_failed(instance, key, is_read=number < _READ_RUNS) for number, key in enumerate(failed)]


def _failed(instance: dg.DagsterInstance, key: str, *, is_read: bool) -> Finding:
    problem, remedy = "Its last run failed.", f"Look at the last run of the partition {key}."
    ended = [DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]
    runs = instance.get_runs(RunsFilter(statuses=ended, tags={PARTITION_TAG: key}), limit=1) if is_read else []
    facts = step_failures(instance, runs[0].run_id) if runs else []
    if facts:
        problem, remedy = facts[0].get("problem", problem), facts[0].get("remedy", remedy)
    elif runs:
        problem = "Its last run was stopped, or its process died."
    return Finding(key, "failed", problem, remedy)


def _result(findings: Sequence[Finding]) -> dict[str, Any]:
    counts = Counter(finding.state for finding in findings)
    severity = dg.AssetCheckSeverity.ERROR if counts["failed"] else dg.AssetCheckSeverity.WARN
    facts = {state: counts[state] for state in ("failed", "stale", "doubtful")}
    said = ", ".join(f"{count} {state}" for state, count in facts.items() if count)
    return {
        "passed": not findings,
        "severity": severity,
        "description": f"Sessions: {said}." if said else "Every session is published from its present files.",
        "metadata": {**facts, "sessions": dg.MetadataValue.md(_table(findings))},
    }


def _table(findings: Sequence[Finding]) -> str:
    if not findings:
        return "none"
    lines = ["| session | state | problem | remedy |", "| --- | --- | --- | --- |"]
    for finding in findings[:_SHOWN]:
        cells = (finding.session, finding.state, finding.problem, finding.remedy)
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    rest = len(findings) - _SHOWN
    return "\n".join(lines) + (f"\n\n… and {rest} more" if rest > 0 else "")


def _cell(text: str) -> str:
    """Return text that stays in its cell of a Markdown table."""
    return re.sub(r"\s+", " ", text).replace("|", "\\|")
