"""Contains the assets that cover all sessions: the tables ``files``, ``tracks`` and ``sessions``, and the manifest.

They are made from the session records and come last; nothing is derived from them. See ``lake/rollups.py``.
"""

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import dagster as dg

from apex_pipeline.errors import SchemaViolationError
from apex_pipeline.ingest.quarantine import sync_quarantine
from apex_pipeline.ingest.session_work import are_recorded, handed_over_unassigned_work
from apex_pipeline.lake.rollups import (
    ROLL_UPS_LEASE,
    RollUps,
    list_records,
    load_roll_ups,
    roll_up_tables,
    write_roll_up,
)
from apex_pipeline.lake.snapshot import FORMAT
from apex_pipeline.lake.tables import require_snapshot
from apex_pipeline.orchestration.assets._discovery import discover_sessions
from apex_pipeline.orchestration.assets.published import PUBLISHED_KEY
from apex_pipeline.orchestration.checks import schema_sentence
from apex_pipeline.orchestration.failures import RETRY_TRANSIENT, dagster_failure
from apex_pipeline.orchestration.metadata import size_metadata
from apex_pipeline.orchestration.partitions import add_sessions
from apex_pipeline.orchestration.resources import LakeResource, SourceResource
from apex_pipeline.orchestration.table_schema import table_metadata
from apex_pipeline.storage.base import ObjectInfo
from apex_pipeline.storage.leases import Holder, Lease, held
from apex_pipeline.tables import CATALOG_TABLES, FILES, SESSIONS
from apex_pipeline.tables.model import Table
from apex_pipeline.tables.session_key import SessionKey

StepEvents = Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]

# The roll-ups written, and the one that violates its schema, if any.
_Refreshed = tuple[list[tuple[Table, ObjectInfo, dict[str, Any]]], tuple[Table, str] | None]

# A refresh of 10,000 sessions takes less than a minute.
_LONGEST_WAIT_S = 300.0

# Raised when the same records would give other roll-ups.
_CODE_VERSION = "1"


def _spec(table: Table) -> dg.AssetSpec:
    deps = [dg.AssetKey(["lake", "session"])]
    if table is FILES:
        deps.append(dg.AssetKey(["lake", "unassigned_files"]))
    return dg.AssetSpec(
        table.asset_key,
        deps=deps,
        group_name="catalog",
        kinds={"parquet"},
        code_version=_CODE_VERSION,
        description=table.description,
        metadata=table_metadata(table),
    ).with_io_manager_key("parquet_io")


def _check_spec(table: Table) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(
        "matches_schema", asset=dg.AssetKey(table.asset_key), description=schema_sentence(table), blocking=True
    )


@dg.multi_asset(
    name="roll_ups",
    specs=[_spec(table) for table in CATALOG_TABLES],
    check_specs=[_check_spec(table) for table in CATALOG_TABLES],
    retry_policy=RETRY_TRANSIENT,
)
def roll_ups(context: dg.AssetExecutionContext, lake: LakeResource, source: SourceResource) -> StepEvents:
    """Put the records that changed into the roll-ups, and write the reasons for quarantined files.

    The three cannot be made one by one: they say which version of each record is in them. The results
    are yielded after the lease is released: a step that fails may keep its generator, and with it the lease.
    """
    with dagster_failure(context):
        written, problem = _refresh(context, lake, source)
        for table, stored, facts in written:
            yield _materialization(lake, table, stored, facts)
            yield _check_result(table, None, facts["dagster/row_count"])
        if problem is not None:
            yield _check_result(problem[0], problem[1], 0)
            raise SchemaViolationError(problem[1], "This is a bug in the roll-ups; the former table stays.")


def _refresh(context: dg.AssetExecutionContext, lake: LakeResource, source: SourceResource) -> _Refreshed:
    """Write the roll-ups, up to one that violates its schema; return those written, and that one with its problem."""
    store, written = lake.open(), list[tuple[Table, ObjectInfo, dict[str, Any]]]()
    with _lease(context, lake) as lease:
        records = list_records(store)
        found = load_roll_ups(store, records)
        version = _rules_version(context.instance, found, lake, source)
        rows = found.sessions.select(["track", "session"]).to_pylist()
        add_sessions(context.instance, [SessionKey(row["track"], row["session"]) for row in rows])
        more = {FILES.name: {"quarantined": sync_quarantine(store, found.files)}}
        for table, content in roll_up_tables(found, version, records):
            problems = table.violations(content)
            if problems:
                return written, (table, "; ".join(problems[:10]))
            lease.require()
            facts = {"dagster/row_count": content.num_rows, **more.get(table.name, {})}
            # A record that changed shows in the marks of the records in these two, if nowhere else.
            is_new = found.is_stale and table in (FILES, SESSIONS)
            written.append((table, write_roll_up(store, table, content, is_new=is_new), facts))
    return written, None


@contextmanager
def _lease(context: dg.AssetExecutionContext, lake: LakeResource) -> Generator[Lease]:
    """Hold the lease of the roll-ups: two syncs that write them at once would leave some files of each."""

    def report(holder: Holder) -> None:
        context.log.info("The roll-ups are being refreshed by %s; waiting for it.", holder)

    with held(lake.open(), ROLL_UPS_LEASE, "refreshing the roll-ups", report, _LONGEST_WAIT_S) as lease:
        yield lease


def _rules_version(instance: dg.DagsterInstance, roll_ups: RollUps, lake: LakeResource, source: SourceResource) -> str:
    """Return the version of the rules by which all recorded files were identified.

    It stays the former one until every record agrees with the present rules; the next sync then identifies again.
    """
    if roll_ups.rules_version == source.rules_version:
        return roll_ups.rules_version
    work = handed_over_unassigned_work()
    found = (work and work.found) or discover_sessions(instance, lake, source)
    return found.rules if are_recorded(found, roll_ups.files) else roll_ups.rules_version


def _materialization(
    lake: LakeResource, table: Table, stored: ObjectInfo, facts: Mapping[str, Any]
) -> dg.MaterializeResult[Any]:
    return dg.MaterializeResult(
        asset_key=dg.AssetKey(table.asset_key),
        metadata={
            "dagster/uri": lake.open().uri_of(stored.key),
            **size_metadata(stored.size),
            "sha256": stored.sha256 or "",
            **facts,
        },
        data_version=dg.DataVersion((stored.sha256 or "")[:16]),
    )


def _check_result(table: Table, problem: str | None, rows: int) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=problem is None,
        asset_key=dg.AssetKey(table.asset_key),
        check_name="matches_schema",
        metadata={"rows": rows} if problem is None else {"problem": problem},
    )


# A sync or a look of the sensor that finds nothing to do reports it again at least every 12 hours.
_FRESH = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=36), warn_window=timedelta(hours=24))


@dg.asset(
    key=["catalog", "manifest"],
    freshness_policy=_FRESH,
    deps=[PUBLISHED_KEY],
    group_name="catalog",
    kinds={"json"},
    code_version=str(FORMAT),
    description="What is published: the snapshot, with the number of its sessions and rows.",
    retry_policy=RETRY_TRANSIENT,
)
def manifest(context: dg.AssetExecutionContext, lake: LakeResource) -> dg.MaterializeResult[Any]:
    """Describe the published snapshot."""
    with dagster_failure(context):
        snapshot = require_snapshot(lake.open())
        entries = snapshot.entries
        return dg.MaterializeResult(
            metadata={
                "snapshot": snapshot.id,
                "sessions": len(entries),
                "rows": sum(entry.rows for entry in entries.values()),
                **lake.request_metadata(),
            },
            data_version=dg.DataVersion(snapshot.id),
        )
