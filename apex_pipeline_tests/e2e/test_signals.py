"""SIGTERM, Ctrl+C and SIGKILL during a sync: it ends in time, leaves nothing half done, and the next one continues."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from apex_pipeline.demo import GroundTruth
from apex_pipeline.lake.snapshot import read_current
from apex_pipeline.settings import Settings
from apex_pipeline.storage.factory import open_store
from apex_pipeline_tests.cli.conftest import CommandResult
from apex_pipeline_tests.e2e.conftest import Apex, settings_in
from apex_pipeline_tests.servers.fault_proxy import FOREVER, Exchange, FaultProxy
from apex_pipeline_tests.servers.s3_server import S3Bucket

_RACE = "Mesa Verde Raceway/Race 1"
_LIMIT_S = 10


class _Sync:
    """A sync of one race in a process of its own, held before the first write of an object with a prefix."""

    def __init__(self, settings: Settings, folder: Path, prefix: str, mode: str = "asleep") -> None:
        self.gate = folder / "gate"
        self._errors = folder / "errors"
        held = [sys.executable, "-m", "apex_pipeline_tests.e2e.held_apex", prefix, str(self.gate), mode]
        self._start(settings, [*held, "sync"])

    def _start(self, settings: Settings, command: list[str]) -> None:
        environment = {**os.environ, **_variables(settings)}
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=errors)

    def wait_until_held(self) -> None:
        while not self.gate.exists():
            assert self.process.poll() is None, self.errors
            time.sleep(0.05)

    def send(self, number: int) -> float:
        """Send a signal and return how many seconds the process takes to end."""
        started_s = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(60)
        return time.monotonic() - started_s

    @property
    def errors(self) -> str:
        return self._errors.read_text(encoding="utf-8")


@pytest.fixture
def settings(tmp_path: Path, weekend: tuple[Path, GroundTruth]) -> Settings:
    source = tmp_path / "source"
    shutil.copytree(weekend[0] / _RACE, source / _RACE)
    return settings_in(tmp_path, source)


def _sync_again(settings: Settings, apex: Apex, monkeypatch: pytest.MonkeyPatch) -> CommandResult:
    """Run the next sync in this process, which is another one than that which was ended."""
    for name, value in _variables(settings).items():
        monkeypatch.setenv(name, value)
    return apex("sync")


def _variables(settings: Settings) -> dict[str, str]:
    folders = {"APEX_SOURCE_DIR": settings.source_dir, "APEX_LAKE_DIR": settings.lake_dir}
    folders |= {"APEX_STATE_DIR": settings.state_dir, "DAGSTER_HOME": settings.dagster_home}
    return {name: str(value) for name, value in folders.items()}


def _runs(settings: Settings) -> list[dg.DagsterRun]:
    with dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance:
        return list(instance.get_runs())


def _left_behind(settings: Settings) -> list[Path]:
    folders = (settings.lake_dir / ".incoming", settings.state_dir / "scratch")
    # The lock of the lake is a file that stays; the kernel releases it when its process ends.
    return [path for folder in folders for path in folder.glob("*") if path.name != "lake.lock"]


@pytest.mark.parametrize(
    ("prefix", "number", "code"),
    [
        pytest.param("data/", signal.SIGINT, 130, marks=pytest.mark.soak),
        pytest.param("catalog/", signal.SIGTERM, 143, marks=pytest.mark.soak),
        ("objects/", signal.SIGTERM, 143),
        pytest.param("catalog/current.json", signal.SIGINT, 130, marks=pytest.mark.soak),
    ],
)
def test_a_signal_ends_a_sync_at_any_stage(
    settings: Settings,
    tmp_path: Path,
    apex: Apex,
    monkeypatch: pytest.MonkeyPatch,
    prefix: str,
    number: signal.Signals,
    code: int,
) -> None:
    sync = _Sync(settings, tmp_path, prefix)
    sync.wait_until_held()
    assert sync.send(number) < _LIMIT_S
    assert sync.process.returncode == code
    assert "Traceback" not in sync.errors
    assert sync.errors.splitlines()[-1].startswith("Stopped by ")
    assert all(run.is_finished for run in _runs(settings))
    assert _left_behind(settings) == []
    assert read_current(open_store(settings, for_writing=False)) is None
    again = _sync_again(settings, apex, monkeypatch)
    assert again.code == 0, again.error
    assert "Closed" not in again.error
    assert read_current(open_store(settings, for_writing=False)) is not None


@pytest.mark.soak
def test_a_sync_in_native_code_is_ended_and_its_run_closed(settings: Settings, tmp_path: Path) -> None:
    sync = _Sync(settings, tmp_path, "objects/", mode="busy")
    sync.wait_until_held()
    assert sync.send(signal.SIGTERM) < _LIMIT_S
    assert sync.process.returncode == 143
    assert "did not end within 1 s" in sync.errors
    assert all(run.is_finished for run in _runs(settings))


@pytest.mark.soak
def test_a_second_ctrl_c_ends_a_sync_at_once(settings: Settings, tmp_path: Path) -> None:
    sync = _Sync(settings, tmp_path, "objects/", mode="busy")
    sync.wait_until_held()
    sync.process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    assert sync.send(signal.SIGINT) < 1
    assert sync.process.returncode == 130


def test_the_runs_of_a_killed_sync_are_closed_by_the_next_one(
    settings: Settings, tmp_path: Path, apex: Apex, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = _Sync(settings, tmp_path, "catalog/")
    sync.wait_until_held()
    sync.send(signal.SIGKILL)
    assert [run.status for run in _runs(settings) if not run.is_finished] == [dg.DagsterRunStatus.STARTED]
    again = _sync_again(settings, apex, monkeypatch)
    assert again.code == 0, again.error
    assert "Closed 1 Dagster run" in again.error
    assert all(run.is_finished for run in _runs(settings))


@pytest.fixture
def stalled_bucket(s3_bucket: S3Bucket, fault_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The lake is a bucket that does not answer when something is written to it."""

    def stall(exchange: Exchange) -> None:
        exchange.wait(600)
        exchange.hang_up()

    fault_proxy.inject(stall, method="PUT", times=FOREVER)
    for name, value in {**s3_bucket.environment, "S3_ENDPOINT_URL": fault_proxy.endpoint}.items():
        monkeypatch.setenv(name, value)
    yield
    fault_proxy.heal()


@pytest.mark.soak
def test_a_store_that_does_not_answer_does_not_delay_the_end(
    settings: Settings, stalled_bucket: None, fault_proxy: FaultProxy, tmp_path: Path
) -> None:
    sync = _Sync(settings, tmp_path, "never")
    while not fault_proxy.count("PUT"):
        assert sync.process.poll() is None, sync.errors
        time.sleep(0.05)
    assert sync.send(signal.SIGTERM) < _LIMIT_S
    assert sync.process.returncode == 143
    assert "Traceback" not in sync.errors
    assert all(run.is_finished for run in _runs(settings))
