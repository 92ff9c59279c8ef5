"""Contains the sensors of rotated events: one ships what waits in a folder, one makes the records that are out of date.

Both compare what is with what should be, so a tick that is lost or repeated changes nothing. Each bounds its work per
tick, and asks again for what an earlier run did not achieve.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import dagster as dg

from apex_pipeline.errors import ApexError
from apex_pipeline.events.days import inputs_version, stale_days
from apex_pipeline.events.delivered import open_delivered
from apex_pipeline.events.finished import may_be_finished
from apex_pipeline.events.folder import EventFile
from apex_pipeline.events.ship import pending_files
from apex_pipeline.orchestration.assets.events import BATCH, FRESHNESS_CHECK, SHIPPED_KEY, event_days
from apex_pipeline.orchestration.automation_table import RECORDS_SENSOR, SHIP_SENSOR
from apex_pipeline.orchestration.event_resource import EventsResource
from apex_pipeline.orchestration.job_names import EVENT_RECORDS_JOB, SHIP_JOB
from apex_pipeline.orchestration.resources import LakeResource
from apex_pipeline.storage.file_hashing import BLOCK_BYTES, HashingReader

# Batches per tick: 256 MB are hashed in about a second, far within the 60 s of a tick.
_BATCHES = 4
_DAYS = 10
_SHIP_EVERY_S = 30
_WORK_TAG = "apex/work"
# The longest pause between two attempts is 30 s times 2 to this power: an hour.
_MOST_RUNS = 7
# A day is made whole each time, so the present day is not made again with every file.
_RECORDS_EVERY_S = 600


@dg.sensor(
    name=SHIP_SENSOR,
    job_name=SHIP_JOB,
    minimum_interval_seconds=_SHIP_EVERY_S,
    description="Ships what waits in EVENTS_DIR in batches of at most 100 files or 64 MB, and watches for silence.",
)
def ship_sensor(context: dg.SensorEvaluationContext, events: EventsResource) -> dg.SensorResult | dg.SkipReason:
    """Ask for one run per batch of waiting files; the key of a run is the content of its batch."""
    if events.folder is None:
        return dg.SkipReason("EVENTS_DIR is not set.")
    try:
        config = events.config()
        waiting = pending_files(config)
    except ApexError as error:
        return dg.SkipReason(str(error))
    # A run for a file that is empty or still grows would do nothing, every 30 s.
    ready = [file for file in waiting if may_be_finished(file, config.settings.events_settle_s)]
    batches = islice(_batches(ready), _BATCHES)
    requests = [request for batch in batches if (request := _request(context.instance, _content_key(batch)))]
    newest_s = max((file.mtime_ns / 1e9 for file in waiting), default=0.0)
    evaluations, cursor = _freshness(context.cursor, newest_s, events.silence_min * 60, time.time())
    return dg.SensorResult(
        run_requests=requests,
        cursor=cursor,
        asset_events=evaluations,
        skip_reason=None if requests else f"{len(waiting)} files wait, and no new batch of them.",
    )


def _batches(files: Iterable[EventFile]) -> Iterator[list[EventFile]]:
    """Yield the files in batches within the limits of a run, in order."""
    batch: list[EventFile] = []
    size = 0
    for file in files:
        if batch and (len(batch) == BATCH.files or size + file.size > (BATCH.bytes or 0)):
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += file.size
    if batch:
        yield batch


def _content_key(batch: list[EventFile]) -> str:
    """Return a hash of the contents of a batch."""
    digest = hashlib.sha256()
    for file in batch:
        try:
            with HashingReader(file.path) as reader:
                while reader.read(BLOCK_BYTES):
                    pass
                digest.update(reader.sha256.encode())
        except (OSError, ApexError):
            # An unreadable file is the shipper's to report; the key only has to change when the file does.
            digest.update(f"{file.name}\n{file.size}\n{file.mtime_ns}".encode(errors="replace"))
    return digest.hexdigest()[:32]


def _request(instance: dg.DagsterInstance, work: str, partition: str | None = None) -> dg.RunRequest | None:
    """Return the request of the next run of some work; ``None`` while one is under way, or ended a moment ago.

    Dagster never starts a second run with the same key. Work that is still to be done after a run needs another key,
    and a pause that is twice as long each time, or a wrong password would start a run every 30 s for ever.
    """
    runs = instance.get_run_records(dg.RunsFilter(tags={_WORK_TAG: work}), limit=_MOST_RUNS)
    if any(not run.dagster_run.is_finished for run in runs):
        return None
    ended_s = max([0.0, *(float(run.end_time) for run in runs if run.end_time is not None)])
    if runs and time.time() - ended_s < _SHIP_EVERY_S * 2 ** len(runs):
        return None
    return dg.RunRequest(run_key=f"{work}:{len(runs)}:{ended_s:.0f}", partition_key=partition, tags={_WORK_TAG: work})


def _freshness(
    cursor: str | None, newest_s: float, silence_s: float, now_s: float
) -> tuple[list[dg.AssetCheckEvaluation], str]:
    """Return the result of the freshness check if it is another one than before, and the cursor that remembers it.

    Args:
        cursor: What the tick before remembered.
        newest_s: Time of the newest waiting file, in seconds since 1970; 0 if none waits.
        silence_s: Longest silence in seconds.
        now_s: The present time.
    """
    known: dict[str, Any] = json.loads(cursor) if cursor else {"newest_s": now_s, "is_fresh": None}
    # A file from the future must not keep the check green until then.
    newest_s = max(float(known["newest_s"]), min(newest_s, now_s))
    is_fresh = now_s - newest_s <= silence_s
    evaluation = dg.AssetCheckEvaluation(
        asset_key=SHIPPED_KEY,
        check_name=FRESHNESS_CHECK,
        passed=is_fresh,
        metadata={"minutes_of_silence": round((now_s - newest_s) / 60, 1), "limit_min": silence_s / 60},
    )
    changed = [evaluation] if is_fresh != known["is_fresh"] else []
    return changed, json.dumps({"newest_s": newest_s, "is_fresh": is_fresh})


@dg.sensor(
    name=RECORDS_SENSOR,
    job_name=EVENT_RECORDS_JOB,
    minimum_interval_seconds=_RECORDS_EVERY_S,
    description="Makes the records of every day whose delivered files, mapping or rules are not those of its records.",
)
def records_sensor(
    context: dg.SensorEvaluationContext, events: EventsResource, lake: LakeResource
) -> dg.SensorResult | dg.SkipReason:
    """Ask for one run per day that is out of date, the oldest first."""
    if events.bucket is None:
        return dg.SkipReason("BUCKET_NAME is not set.")
    try:
        mapping, source = events.mapping(), open_delivered(events.settings())
        stale = list(islice(stale_days(source.store, lake.open(), events.source, source.prefix, mapping), _DAYS))
    except ApexError as error:
        return dg.SkipReason(str(error))
    if not stale:
        return dg.SkipReason("The records of all days are those of the delivered files.")
    days = {str(key): inputs_version(files, mapping) for key, files in stale}
    requests = [_request(context.instance, f"{day}@{version}", day) for day, version in days.items()]
    return dg.SensorResult(
        run_requests=[request for request in requests if request],
        dynamic_partitions_requests=[event_days.build_add_request(list(days))],
    )


EVENT_SENSORS = (ship_sensor, records_sensor)
