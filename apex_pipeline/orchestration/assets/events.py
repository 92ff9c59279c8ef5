"""Contains the assets of rotated events: the delivered files, observed per batch, and the records of each day.

See ``events/ship.py`` for shipping, ``events/days.py`` for the records, and ``event_sensor.py`` for what starts them.
"""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from apex_pipeline.errors import SourceError
from apex_pipeline.events.agreement import compare
from apex_pipeline.events.days import DayReport, DayWriter, delivered_files
from apex_pipeline.events.delivered import Delivered, open_delivered, privacy_problem
from apex_pipeline.events.event_keys import parse_day_key
from apex_pipeline.events.failures import next_step
from apex_pipeline.events.journal import Journal, journal_path
from apex_pipeline.events.report import ShippedFile, ShipReport
from apex_pipeline.events.ship import Limits, pending_files, ship_once
from apex_pipeline.orchestration.checks import partitioned_check
from apex_pipeline.orchestration.event_resource import EventsResource
from apex_pipeline.orchestration.failures import RETRY_TRANSIENT, dagster_failure
from apex_pipeline.orchestration.job_names import EVENT_CHECK_JOB, EVENT_RECORDS_JOB, SHIP_JOB
from apex_pipeline.orchestration.resources import LakeResource
from apex_pipeline.orchestration.table_schema import table_metadata
from apex_pipeline.sources.events.mapping import SourceMapping
from apex_pipeline.sources.events.model import EXPLANATIONS, Reason
from apex_pipeline.sources.events.records import RECORDS_VERSION
from apex_pipeline.sources.events.rotation import date_of
from apex_pipeline.tables.events import RECORDS

FRESHNESS_CHECK = "files_arrive"
event_days = dg.DynamicPartitionsDefinition(name="event_days")
SHIPPED_KEY = dg.AssetKey(["events", "shipped"])
RECORDS_KEY = dg.AssetKey(RECORDS.asset_key)
# One batch: a run that takes seconds, so that a failure costs little and the page of the asset shows progress.
BATCH = Limits(files=100, bytes=64_000_000)
# As long as a batch of the largest size takes on a slow connection; runs of one folder wait for each other.
_PATIENCE_S = 600.0
_NAMED_PROBLEMS = 20
_WARN = dg.AssetCheckSeverity.WARN

shipped_files = dg.AssetSpec(
    key=SHIPPED_KEY,
    group_name="events",
    description="Rotated event files in the bucket, as delivered; one observation per batch and day.",
    partitions_def=event_days,
    kinds={"xml", "json"},
)


@dg.op(out=dg.Out(dg.Nothing), description="Ship the oldest finished files: at most 100 files or 64 MB.")
def ship_batch(context: dg.OpExecutionContext, events: EventsResource) -> Iterator[dg.AssetObservation]:
    """Ship one batch and record what was delivered, also if some files failed."""
    with dagster_failure(context):
        config = events.config()
        report = ship_once(config, limits=BATCH, patience_s=_PATIENCE_S, run_id=context.run_id)
        by_day: defaultdict[str, list[ShippedFile]] = defaultdict(list)
        for file in report.delivered:
            day = (date_of(file.name) or datetime.now(UTC).date()).isoformat()
            by_day[f"{config.settings.event_source}/{day}"].append(file)
        context.instance.add_dynamic_partitions(str(event_days.name), list(by_day))
        for day, files in by_day.items():
            yield dg.AssetObservation(SHIPPED_KEY, partition=day, metadata=_facts(files, report))
    if not report:
        step = next_step(report.stopped_by) if report.stopped_by else "The files stay; the next batch tries them again."
        raise dg.Failure(f"{report.uri}: {report.summary}. {step}", metadata=report.facts(), allow_retries=False)


@dg.job(name=SHIP_JOB, description="Ship one batch of finished event files to the bucket, in order.")
def ship_events() -> None:
    """Run the only operation of the job."""
    ship_batch()


def _facts(files: list[ShippedFile], report: ShipReport) -> dict[str, Any]:
    oldest = report.oldest_waiting
    return {
        "files": len(files),
        "bytes": sum(file.size for file in files),
        "seconds": round(report.seconds, 3),
        "oldest_waiting_s": round(oldest.age_s, 1) if oldest else 0.0,
        "oldest_waiting": oldest.name if oldest else "none",
        "uri": report.uri,
    }


@dg.asset(
    key=RECORDS_KEY,
    deps=[SHIPPED_KEY],
    partitions_def=event_days,
    group_name="events",
    kinds={"parquet"},
    code_version=RECORDS_VERSION,
    retry_policy=RETRY_TRANSIENT,
    description=RECORDS.description,
    metadata=table_metadata(RECORDS),
    check_specs=[
        partitioned_check("nothing_is_rejected", RECORDS_KEY, "Every event of the files is a record.", event_days),
        partitioned_check("personal_files_are_private", RECORDS_KEY, "Files about persons are private.", event_days),
    ],
)
def event_records(
    context: dg.AssetExecutionContext, lake: LakeResource, events: EventsResource
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
    """Make the records of one source and day from the delivered files, whole."""
    with dagster_failure(context):
        key, mapping = parse_day_key(context.partition_key), events.mapping()
        source = open_delivered(events.settings())
        days = {day.isoformat(): files for day, files in delivered_files(source.store, source.prefix).items()}
        report = DayWriter(source.store, lake.open(), mapping, lake.temp_dir).write(key, days.get(key.day, []))
        yield dg.MaterializeResult(metadata=_metadata(report), data_version=dg.DataVersion(report.inputs_version))
        yield _rejected_check(report)
        yield _private_check(source, mapping)


def _metadata(report: DayReport) -> dict[str, Any]:
    remedies = [f"- {count:,} {reason}: {EXPLANATIONS[Reason(reason)]}" for reason, count in report.reasons.items()]
    return {
        "dagster/uri": report.uri,
        "dagster/row_count": report.records,
        "files": report.files,
        "bytes": report.bytes,
        "events": report.events,
        "rejected": report.rejected,
        "rejects": dg.MetadataValue.md("\n".join(remedies) or "none"),
        "flags": dg.MetadataValue.json(report.flags),
    }


def _rejected_check(report: DayReport) -> dg.AssetCheckResult:
    sentences = " ".join(f"{count:,} {reason}." for reason, count in report.reasons.items())
    remedy = f"{sentences} The rejects of the day, under quarantine/events/, name file, byte and line of each."
    return dg.AssetCheckResult(
        passed=not report.rejected,
        severity=_WARN,
        asset_key=RECORDS_KEY,
        check_name="nothing_is_rejected",
        description=remedy if report.rejected else None,
        metadata={"events": report.events, "rejected": report.rejected},
    )


def _private_check(source: Delivered, mapping: SourceMapping) -> dg.AssetCheckResult:
    problem = privacy_problem(source, mapping)
    return dg.AssetCheckResult(
        passed=problem is None,
        asset_key=RECORDS_KEY,
        check_name="personal_files_are_private",
        description=problem,
        metadata={"personal_fields": len(mapping.personal_paths)},
    )


@dg.asset_check(
    asset=SHIPPED_KEY,
    name="journal_bucket_and_done_agree",
    description="Every delivery in the journal is in the bucket with its size, and in done/ if it was moved there.",
)
def agreement_check(events: EventsResource) -> dg.AssetCheckResult:
    """Compare the journal, the bucket and the shipped files."""
    with dagster_failure():
        config = events.config()
        with closing(Journal(journal_path(config.settings.state_dir), config.folder)) as journal:
            found = compare(config, journal.entries(), open_delivered(config.settings).store)
        if not (found.delivered or found.objects or found.moved):
            raise SourceError("Nothing was shipped yet, so nothing can be compared.", "Ship the folder first.")
    named = "\n".join(f"- {problem}" for problem in found.problems[:_NAMED_PROBLEMS])
    counts = {"delivered": found.delivered, "objects": found.objects, "moved": found.moved}
    return dg.AssetCheckResult(
        passed=not found.problems,
        metadata={**counts, "problems": len(found.problems), "named": dg.MetadataValue.md(named or "none")},
    )


@dg.asset_check(
    asset=SHIPPED_KEY,
    name=FRESHNESS_CHECK,
    description="A new event file has arrived within EVENTS_SILENCE_MIN minutes. The sensor repeats this check.",
)
def freshness_check(events: EventsResource) -> dg.AssetCheckResult:
    """Compare the newest file, waiting or shipped, with the present time."""
    with dagster_failure():
        config = events.config()
        with closing(Journal(journal_path(config.settings.state_dir), config.folder)) as journal:
            shipped = [entry.mtime_ns for entry in journal.entries()]
        newest_ns = max([*shipped, *(file.mtime_ns for file in pending_files(config))], default=0)
    silence_min = (time.time() - newest_ns / 1e9) / 60
    return dg.AssetCheckResult(
        passed=silence_min <= events.silence_min,
        metadata={"minutes_of_silence": round(silence_min, 1), "limit_min": float(events.silence_min)},
    )


EVENT_CHECKS = (agreement_check, freshness_check)
EVENT_JOBS = (
    ship_events,
    dg.define_asset_job(
        EVENT_RECORDS_JOB,
        selection=dg.AssetSelection.assets(RECORDS_KEY),
        description="Make the records of the event files that one source delivered on one day.",
    ),
    dg.define_asset_job(
        EVENT_CHECK_JOB,
        selection=dg.AssetSelection.checks(*EVENT_CHECKS),
        description="Compare journal, bucket and shipped files, and check that new files arrive.",
    ),
)
