"""The sensor ``alert_failed_runs``: each failed run is reported once, in one message per tick."""

from datetime import timedelta
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterRunStatus

from apex_pipeline.alerts import Alert
from apex_pipeline.errors import StoreUnavailableError
from apex_pipeline.orchestration import alerts
from apex_pipeline.orchestration.job_names import SESSION_JOB
from apex_pipeline.settings import load_settings
from apex_pipeline_tests.orchestration.lake_runs import LakeRuns


class _Sensor:
    def __init__(self, lake: LakeRuns, monkeypatch: pytest.MonkeyPatch) -> None:
        self._lake = lake
        self.sent: list[Alert] = []
        self.other: list[Alert] = []
        monkeypatch.setattr(alerts, "receivers_of", lambda _: {"one": self._send, "other": self.other.append})
        (self._sensor,) = alerts.build_alert_sensors(load_settings())
        self.is_down = False
        self.cursor: str | None = None
        self.tick()

    def _send(self, alert: Alert) -> None:
        if self.is_down:
            raise StoreUnavailableError("down", "wait")
        self.sent.append(alert)

    def tick(self) -> None:
        sensor: Any = self._sensor
        result = sensor(dg.build_sensor_context(instance=self._lake.instance, cursor=self.cursor))
        self.cursor, self.said = result.cursor, str(result.skip_reason)

    def fail(self, **tags: str) -> None:
        run = self._lake.instance.create_run_for_job(
            self._lake.definitions.resolve_job_def(SESSION_JOB), tags=tags, status=DagsterRunStatus.STARTED
        )
        self._lake.instance.report_run_failed(run, "AKIASECRET was refused")


@pytest.fixture
def sensor(lake: LakeRuns, monkeypatch: pytest.MonkeyPatch) -> _Sensor:
    return _Sensor(lake, monkeypatch)


def test_earlier_failures_are_not_reported(lake: LakeRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    _Sensor(lake, monkeypatch).fail()
    sensor = _Sensor(lake, monkeypatch)
    sensor.tick()
    assert sensor.sent == []


def test_each_failed_run_is_reported_once(sensor: _Sensor) -> None:
    for _ in range(3):
        sensor.fail()
        sensor.tick()
        sensor.tick()
    assert [alert.title for alert in sensor.sent] == ["Dagster: 1 run failed"] * 3


def test_many_failed_runs_are_one_message(sensor: _Sensor) -> None:
    for _ in range(12):
        sensor.fail()
    sensor.tick()
    (alert,) = sensor.sent
    assert (alert.title, len(alert.lines), alert.lines[-1]) == ("Dagster: 12 runs failed", 11, "… and 2 more")


def test_a_run_that_dagster_starts_again_is_not_reported(sensor: _Sensor) -> None:
    sensor.fail(**{"dagster/will_retry": "true"})
    sensor.tick()
    assert sensor.sent == []


def test_a_receiver_that_is_down_gets_what_it_missed_later_and_the_others_nothing_twice(sensor: _Sensor) -> None:
    sensor.fail()
    sensor.is_down = True
    for _ in range(3):
        sensor.tick()
    assert "1 failed runs not delivered. down" in sensor.said
    sensor.is_down = False
    sensor.tick()
    assert (len(sensor.sent), len(sensor.other)) == (1, 1)


def test_an_old_failure_that_gets_a_tag_is_not_reported_again(lake: LakeRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "_OVERLAP", timedelta(0))
    sensor = _Sensor(lake, monkeypatch)
    for _ in range(2):
        sensor.fail()
        sensor.tick()
    oldest = lake.instance.get_run_records(ascending=True)[0].dagster_run.run_id
    lake.instance.add_run_tags(oldest, {"apex/outcome": "failed"})
    sensor.tick()
    assert [alert.title for alert in sensor.sent] == ["Dagster: 1 run failed"] * 2


def test_a_cursor_of_another_version_starts_from_now(sensor: _Sensor) -> None:
    sensor.fail()
    for cursor in ('{"since_s": 3}', "[]", "nonsense"):
        sensor.cursor = cursor
        sensor.tick()
    assert sensor.sent == []


def test_only_typed_failures_are_quoted(sensor: _Sensor, lake: LakeRuns) -> None:
    sensor.fail()
    assert not lake.run_session("nowhere/R9")
    sensor.tick()
    (alert,) = sensor.sent
    untyped, typed = sorted(alert.lines)
    assert "AKIASECRET" not in untyped
    assert untyped.endswith("See its page in Dagster.")
    assert "nowhere/R9" in typed
    assert "APEX_SOURCE_DIR" in typed


def test_the_text_of_an_unexpected_error_is_not_quoted(sensor: _Sensor, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = {"error": "ValueError", "problem": "ValueError: AKIASECRET", "remedy": "This is a bug."}
    monkeypatch.setattr(alerts, "step_failures", lambda *_: [facts])
    sensor.fail()
    sensor.tick()
    assert "AKIASECRET" not in str(sensor.sent)
