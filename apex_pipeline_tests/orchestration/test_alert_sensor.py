"""The sensor ``tell_failed_runs``: each failed run is told once, in one message per look."""

from typing import Any

import dagster as dg
import pytest
from dagster import DagsterRunStatus

from apex_pipeline.alerts import Alert
from apex_pipeline.errors import StoreUnavailableError
from apex_pipeline.orchestration import alerts
from apex_pipeline.orchestration.job_names import SESSION_JOB
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline_tests.orchestration.lake_runs import LakeRuns


class _Sensor:
    def __init__(self, lake: LakeRuns, monkeypatch: pytest.MonkeyPatch) -> None:
        self._lake = lake
        (self._sensor,) = alerts.build_alert_sensors(load_settings(alert_webhook_url="http://127.0.0.1:1"))
        self.sent: list[Alert] = []
        self.is_down = False
        monkeypatch.setattr(alerts, "send_alert", self._send)
        self._cursor: str | None = None
        self.look()

    def _send(self, alert: Alert, _: Settings) -> None:
        if self.is_down:
            raise StoreUnavailableError("down", "wait")
        self.sent.append(alert)

    def look(self) -> None:
        sensor: Any = self._sensor
        result = sensor(dg.build_sensor_context(instance=self._lake.instance, cursor=self._cursor))
        self._cursor = result.cursor

    def fail(self, **tags: str) -> None:
        run = self._lake.instance.create_run_for_job(
            self._lake.definitions.resolve_job_def(SESSION_JOB), tags=tags, status=DagsterRunStatus.STARTED
        )
        self._lake.instance.report_run_failed(run, "AKIASECRET was refused")


@pytest.fixture
def sensor(lake: LakeRuns, monkeypatch: pytest.MonkeyPatch) -> _Sensor:
    return _Sensor(lake, monkeypatch)


def test_runs_that_failed_before_it_was_started_are_not_told(lake: LakeRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    _Sensor(lake, monkeypatch).fail()
    sensor = _Sensor(lake, monkeypatch)
    sensor.look()
    assert sensor.sent == []


def test_each_failed_run_is_told_once(sensor: _Sensor) -> None:
    for _ in range(3):
        sensor.fail()
        sensor.look()
        sensor.look()
    assert [alert.title for alert in sensor.sent] == ["Dagster: 1 run failed"] * 3


def test_many_failed_runs_are_one_message(sensor: _Sensor) -> None:
    for _ in range(12):
        sensor.fail()
    sensor.look()
    (alert,) = sensor.sent
    assert (alert.title, len(alert.lines), alert.lines[-1]) == ("Dagster: 12 runs failed", 11, "… and 2 more")


def test_a_run_that_dagster_starts_again_is_not_told(sensor: _Sensor) -> None:
    sensor.fail(**{"dagster/will_retry": "true"})
    sensor.look()
    assert sensor.sent == []


def test_a_message_that_was_not_delivered_is_sent_with_the_next_look(sensor: _Sensor) -> None:
    sensor.fail()
    sensor.is_down = True
    with pytest.raises(StoreUnavailableError):
        sensor.look()
    sensor.is_down = False
    sensor.look()
    assert len(sensor.sent) == 1


def test_only_typed_failures_are_quoted(sensor: _Sensor, lake: LakeRuns) -> None:
    sensor.fail()
    assert not lake.run_session("nowhere/R9")
    sensor.look()
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
    sensor.look()
    assert "AKIASECRET" not in str(sensor.sent)
