"""Dagster ships what waits in batches, records what it delivered, and makes the records of each day again if needed."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from apex_pipeline.events.folder_lock import folder_locked
from apex_pipeline.orchestration.build import build_definitions
from apex_pipeline.orchestration.event_resource import EventsResource
from apex_pipeline.orchestration.event_sensor import records_sensor, ship_sensor
from apex_pipeline.orchestration.job_names import EVENT_CHECK_JOB, EVENT_RECORDS_JOB, SHIP_JOB
from apex_pipeline.orchestration.resources import LakeResource
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline_tests.servers.s3_server import S3Bucket

_GOOD = b"<EVENTS><EVENT><N>1</N></EVENT></EVENTS>"
_DAY = "xml-stream-aggregator/2025-07-29"


class EventRuns:
    """A folder of event files, a bucket, a lake and a Dagster instance that runs the jobs and sensors of events.

    Args:
        folder: Where everything lies.
        bucket: The bucket.
        patch: Sets the credentials, which are no part of resources.
    """

    def __init__(self, folder: Path, bucket: S3Bucket, patch: pytest.MonkeyPatch) -> None:
        for name, value in bucket.environment.items():
            patch.setenv(name, value)
        patch.setenv("EVENTS_SETTLE_S", "0")
        patch.setenv("USE_S3_DATA", "false")
        self.folder = folder / "rotated"
        self.folder.mkdir()
        self.bucket = bucket
        self.settings: Settings = load_settings(
            events_dir=self.folder, event_bucket=bucket.name, lake_dir=folder / "lake", state_dir=folder / "state"
        )
        self.instance = dg.DagsterInstance.ephemeral()
        self.definitions = build_definitions(self.settings)
        self.events = EventsResource.from_settings(self.settings)
        self.lake = LakeResource.from_settings(self.settings)

    def write(self, name: str, content: bytes = _GOOD, age_s: float = 60) -> None:
        path = self.folder / name
        path.write_bytes(content)
        moment_s = time.time() - age_s
        os.utime(path, (moment_s, moment_s))

    def run(
        self, job: str, partition: str | None = None, tags: dict[str, str] | None = None
    ) -> dg.ExecuteInProcessResult:
        definition = self.definitions.resolve_job_def(job)
        return definition.execute_in_process(
            instance=self.instance, partition_key=partition, tags=tags, raise_on_error=False
        )

    def tick(self, cursor: str | None = None) -> Any:
        with dg.build_sensor_context(instance=self.instance, cursor=cursor) as context:
            return ship_sensor(context, events=self.events)

    def records_tick(self) -> Any:
        with dg.build_sensor_context(instance=self.instance) as context:
            return records_sensor(context, events=self.events, lake=self.lake)


def _observed(result: dg.ExecuteInProcessResult) -> list[dg.AssetObservation]:
    return [event.asset_observation_data.asset_observation for event in result.all_events if event.is_asset_observation]


@pytest.fixture
def runs(tmp_path: Path, s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[EventRuns]:
    found = EventRuns(tmp_path, s3_bucket, monkeypatch)
    yield found
    found.instance.dispose()


def test_a_batch_is_shipped_and_observed_per_day(runs: EventRuns) -> None:
    runs.write("20250729_161500.xml")
    runs.write("20250729_161600.xml")
    runs.write("20250730_000000.json", b'{"n":1}')
    result = runs.run(SHIP_JOB)
    assert result.success
    facts = {
        str(item.partition): {name: value.value for name, value in item.metadata.items()} for item in _observed(result)
    }
    assert (facts[_DAY]["files"], facts[_DAY]["bytes"]) == (2, 2 * len(_GOOD))
    assert facts["xml-stream-aggregator/2025-07-30"]["files"] == 1
    assert facts[_DAY]["oldest_waiting"] == "none"
    assert len(runs.bucket.object_keys()) == 3
    assert set(runs.instance.get_dynamic_partitions("event_days")) == set(facts)


def test_a_batch_with_a_file_that_fails_observes_the_others_and_fails(runs: EventRuns) -> None:
    runs.write("20250729_161500.xml")
    (runs.folder / "20250729_161600.xml").mkdir()
    result = runs.run(SHIP_JOB)
    assert not result.success
    assert len(_observed(result)) == 1


def test_the_sensor_asks_for_one_run_per_batch_and_its_key_is_the_content(runs: EventRuns) -> None:
    for second in range(101):
        runs.write(f"20250729_1615{second // 60:02}_{second:03}.xml", b"<EVENT>%d</EVENT>" % second)
    requests = runs.tick().run_requests
    assert len(requests) == 2
    again = runs.tick().run_requests
    assert [request.run_key for request in again] == [request.run_key for request in requests]
    names = sorted(path.name for path in runs.folder.iterdir())
    (runs.folder / names[0]).write_bytes(b"<EVENT>other</EVENT>")
    assert runs.tick().run_requests[0].run_key != requests[0].run_key
    assert runs.tick().run_requests[1].run_key == requests[1].run_key


def test_the_sensor_asks_for_no_run_for_files_that_are_empty_or_grow(
    runs: EventRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENTS_SETTLE_S", "5")
    runs.write("20250729_161500.xml", b"")
    runs.write("20250729_161600.xml", age_s=1)
    result = runs.tick()
    assert not result.run_requests
    assert result.skip_reason.skip_message == "2 files wait, and no new batch of them."
    assert json.loads(result.cursor)["is_fresh"]
    runs.write("20250729_161600.xml", age_s=6)
    assert len(runs.tick().run_requests) == 1


def test_the_sensor_asks_for_a_run_for_what_a_killed_run_has_claimed(runs: EventRuns) -> None:
    claimed = runs.folder / ".claimed" / "gone"
    claimed.mkdir(parents=True)
    runs.write(".claimed/gone/20250729_161500.xml")
    assert len(runs.tick().run_requests) == 1
    with folder_locked(runs.folder, runs.settings.state_dir, patience_s=0):  # a run that is under way
        assert not runs.tick().run_requests
    assert runs.run(SHIP_JOB).success
    assert len(runs.bucket.object_keys()) == 1


def test_large_files_end_a_batch(runs: EventRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "apex_pipeline.orchestration.event_sensor.BATCH", type("Few", (), {"files": 100, "bytes": 100})()
    )
    for second in range(4):
        runs.write(f"20250729_16150{second}.xml", b"<EVENT>%d</EVENT>" % second + b" " * 40)
    assert len(runs.tick().run_requests) == 4
    for second in range(4):
        runs.write(f"20250729_16150{second}.xml", b"<EVENT>%d</EVENT>" % second)
    assert len(runs.tick().run_requests) == 1


def test_work_that_is_left_after_a_run_is_asked_for_again_after_a_pause(
    runs: EventRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.write("20250729_161500.xml")
    (request,) = runs.tick().run_requests
    runs.run(EVENT_CHECK_JOB, tags=request.tags)  # a run of that work, which did not ship it
    assert runs.tick().run_requests == []
    now = time.time
    monkeypatch.setattr("apex_pipeline.orchestration.event_sensor.time.time", lambda: now() + 61)
    (again,) = runs.tick().run_requests
    assert again.run_key != request.run_key


def test_silence_is_reported_once_and_so_is_its_end(runs: EventRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    runs.write("20250729_161500.xml")
    first = runs.tick()
    assert [event.passed for event in first.asset_events] == [True]
    assert runs.tick(first.cursor).asset_events == []
    now = time.time
    monkeypatch.setattr("apex_pipeline.orchestration.event_sensor.time.time", lambda: now() + 20 * 60)
    silent = runs.tick(first.cursor)
    assert [event.passed for event in silent.asset_events] == [False]
    assert runs.tick(silent.cursor).asset_events == []
    runs.write("20250729_161600.xml", age_s=-20 * 60)
    assert [event.passed for event in runs.tick(silent.cursor).asset_events] == [True]
    runs.write("20250729_161700.xml", age_s=-(10**6))
    assert json.loads(runs.tick(silent.cursor).cursor)["newest_s"] <= now() + 20 * 60 + 5


def test_without_settings_the_sensors_say_what_is_missing(runs: EventRuns) -> None:
    def use(**changed: object) -> None:
        runs.events = EventsResource.from_settings(runs.settings.model_copy(update=changed))

    use(events_dir=None, event_bucket=None)
    assert "EVENTS_DIR" in runs.tick().skip_message
    assert "BUCKET_NAME" in runs.records_tick().skip_message
    use(events_dir=runs.folder / "missing")
    assert "missing" in runs.tick().skip_message
    use(event_bucket="no-such-bucket-of-events")
    assert "no-such-bucket-of-events" in runs.records_tick().skip_message


def test_records_are_made_for_days_that_changed_and_only_for_these(runs: EventRuns) -> None:
    runs.write("20250729_161500.xml", _GOOD + b"<EVENT>&x;</EVENT>")
    runs.run(SHIP_JOB)
    tick = runs.records_tick()
    (request,) = tick.run_requests
    assert request.partition_key == _DAY
    assert tick.dynamic_partitions_requests[0].partition_keys == [_DAY]
    result = runs.run(EVENT_RECORDS_JOB, _DAY)
    assert result.success
    (made,) = result.asset_materializations_for_node("events__records")
    assert (made.metadata["dagster/row_count"].value, made.metadata["rejected"].value) == (1, 1)
    assert "undeclared_entity: The event refers to an entity" in str(made.metadata["rejects"].value)
    checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
    assert not checks["nothing_is_rejected"].passed
    assert checks["personal_files_are_private"].passed
    assert "of all days" in runs.records_tick().skip_message


@pytest.mark.req("K-26")
def test_personal_files_in_a_public_place_fail_a_check(runs: EventRuns, tmp_path: Path) -> None:
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text("sources: {xml-stream-aggregator: {personal: [N]}}", encoding="utf-8")
    runs.settings = runs.settings.model_copy(update={"events_mapping_file": mapping})
    runs.definitions = build_definitions(runs.settings)
    runs.write("20250729_161500.xml")
    runs.run(SHIP_JOB)
    result = runs.run(EVENT_RECORDS_JOB, _DAY)
    checks = {check.check_name: check.passed for check in result.get_asset_check_evaluations()}
    assert checks["personal_files_are_private"] is False


def test_a_partition_that_is_no_day_or_has_no_files_fails(runs: EventRuns) -> None:
    runs.instance.add_dynamic_partitions("event_days", ["x", "xml-stream-aggregator/2025-07-30"])
    assert not runs.run(EVENT_RECORDS_JOB, "x").success
    assert not runs.run(EVENT_RECORDS_JOB, "xml-stream-aggregator/2025-07-30").success


def _agreement(runs: EventRuns) -> dg.AssetCheckEvaluation:
    result = runs.run(EVENT_CHECK_JOB)
    return next(
        check for check in result.get_asset_check_evaluations() if check.check_name == "journal_bucket_and_done_agree"
    )


def test_journal_bucket_and_done_agree_until_one_of_them_changes(runs: EventRuns) -> None:
    runs.write("20250729_161500.xml")
    runs.write("20250729_161600.xml", b"<EVENT>2</EVENT>")
    runs.run(SHIP_JOB)
    assert _agreement(runs).passed
    (done,) = runs.folder.glob("done/**/20250729_161500.xml")
    done.rename(done.with_name("20250729_170000.xml"))
    runs.bucket.client.delete_object(Bucket=runs.bucket.name, Key="xml-events/20250729_161600.xml")
    found = _agreement(runs)
    assert not found.passed
    named = str(found.metadata["named"].value)
    assert "which is not in the bucket" in named
    assert "is not there any more" in named
    assert "20250729_170000.xml is in done/, but not in the journal" in named
    runs.bucket.client.put_object(Bucket=runs.bucket.name, Key="xml-events/20250729_161600.xml", Body=b"x")
    assert "has 1." in str(_agreement(runs).metadata["named"].value)


def test_the_executed_freshness_check_looks_at_shipped_files_too(runs: EventRuns) -> None:
    runs.write("20250729_161500.xml")
    runs.run(SHIP_JOB)

    def is_fresh() -> bool:
        found = runs.run(EVENT_CHECK_JOB).get_asset_check_evaluations()
        return next(check.passed for check in found if check.check_name == "files_arrive")

    assert is_fresh()
    runs.definitions = build_definitions(runs.settings.model_copy(update={"state_dir": runs.folder / "other"}))
    assert not is_fresh()
