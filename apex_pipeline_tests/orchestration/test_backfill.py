"""Tests that a backfill derives and publishes what it chose, whatever becomes of the other sessions.

One test derives real sessions; the others replace the runner, because each run takes a second.
"""

import shutil
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

import pytest

from apex_pipeline.errors import StoreUnavailableError
from apex_pipeline.ingest.backfill import Group, plan_backfill
from apex_pipeline.lake.records import session_record, write_record
from apex_pipeline.orchestration.backfill import BackfillOutcome, backfill
from apex_pipeline.orchestration.job_names import CATALOG_JOB, DERIVE_JOB
from apex_pipeline.orchestration.runner import RunFailure, Runner
from apex_pipeline.settings import load_settings
from apex_pipeline.sources import rules_version
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import raw_key, record_key
from apex_pipeline.storage.leases import held
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.lake.derived import open_lake
from apex_pipeline_tests.lake.tables import put_raw_file, renew_roll_ups
from apex_pipeline_tests.orchestration.lake_runs import LakeRuns

_BOTH = (SessionKey("sebring", "R1"), SessionKey("spa", "R1"))
_OPEN_RUNNER = "apex_pipeline.orchestration.backfill.open_runner"

# What a fake run of a job does.
_Run = Callable[[str, SessionKey | None], RunFailure | None]


class _FakeRunner:
    """Notes the runs in place of executing them."""

    def __init__(self) -> None:
        self.runs: list[tuple[str, str]] = []
        self.outcome: _Run = lambda _job, _key: None

    def add_sessions(self, keys: Iterable[SessionKey]) -> None:
        assert set(keys) <= set(_BOTH)

    def run(self, job: str, key: SessionKey | None = None, _tables: object = ()) -> RunFailure | None:
        self.runs.append((job, str(key or "")))
        return self.outcome(job, key)


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> _FakeRunner:
    fake = _FakeRunner()

    @contextmanager
    def opened(_: object) -> Generator[_FakeRunner]:
        yield fake

    monkeypatch.setattr(_OPEN_RUNNER, opened)
    return fake


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    """A lake with the raw files and records of two sessions, neither of them published."""
    store = open_lake(tmp_path / "lake")
    for key in _BOTH:
        write_record(store, session_record(key, [put_raw_file(store, key, str(key).encode())]))
    renew_roll_ups(store, rules_version(load_settings()))
    return store


def _run(store: ObjectStore, *groups: Group, names: tuple[str, ...] = ()) -> tuple[BackfillOutcome, list[str]]:
    lines: list[str] = []
    plan = plan_backfill(store, load_settings(), groups, names)
    return backfill(load_settings(), store, plan, lines.append), lines


@pytest.mark.slow
def test_sessions_are_derived_from_the_lake_without_a_source_folder(
    lake: LakeRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in _BOTH:
        lake.race(str(key))
    lake.sync()
    shutil.rmtree(lake.source)

    @contextmanager
    def opened(_: object) -> Generator[Runner]:
        yield Runner(lake.settings, lake.instance)

    monkeypatch.setattr(_OPEN_RUNNER, opened)
    before = {key for key in lake.objects() if key.startswith("objects/")}
    plan = plan_backfill(lake.store, lake.settings, [Group.ALL])
    outcome = backfill(lake.settings, lake.store, plan, lambda _: None)
    assert (outcome.derived, outcome.failures, outcome.exit_code) == (list(_BOTH), {}, 0)
    assert {key for key in lake.objects() if key.startswith("objects/")} == before


def test_each_session_is_a_run_and_the_roll_ups_come_once_at_the_end(store: ObjectStore, runner: _FakeRunner) -> None:
    outcome, lines = _run(store, Group.MISSING)
    assert outcome.derived == list(_BOTH)
    assert runner.runs == [*((DERIVE_JOB, str(key)) for key in _BOTH), (CATALOG_JOB, "")]
    assert lines == ["1 of 2  sebring/R1: not published yet", "2 of 2  spa/R1: not published yet"]


def test_nothing_due_starts_no_run(store: ObjectStore, runner: _FakeRunner) -> None:
    assert _run(store, Group.STALE, Group.CODE) == (BackfillOutcome(), [])
    assert runner.runs == []


def test_a_failed_session_does_not_stop_the_others(store: ObjectStore, runner: _FakeRunner) -> None:
    def fail(job: str, key: SessionKey | None) -> RunFailure | None:
        if key == _BOTH[0]:
            raise StoreUnavailableError("The store cannot be reached.", "Try again.")
        return RunFailure("id", "laps", "The table is wrong.") if key == _BOTH[1] else None

    runner.outcome = fail
    outcome, _ = _run(store, Group.MISSING)
    assert outcome.failures == {
        "sebring/R1": "The store cannot be reached. Try again.",
        "spa/R1": "The table is wrong.",
    }
    assert (outcome.derived, outcome.exit_code) == ([], 1)


def test_roll_ups_that_cannot_be_made_fail_the_backfill(store: ObjectStore, runner: _FakeRunner) -> None:
    runner.outcome = lambda job, _: RunFailure("id", "roll_ups", "No space left.") if job == CATALOG_JOB else None
    outcome, _ = _run(store, Group.MISSING)
    assert outcome.derived == list(_BOTH)
    assert (outcome.failures, outcome.exit_code) == ({"": "No space left."}, 1)


def test_a_session_whose_raw_file_is_gone_fails_the_backfill(store: ObjectStore, runner: _FakeRunner) -> None:
    store.delete(raw_key("spa/R1_lap_start.csv"))
    outcome, _ = _run(store, Group.MISSING)
    assert outcome.derived == [_BOTH[0]]
    assert "gone from the lake" in outcome.failures["spa/R1"]


def test_a_session_that_another_process_works_on_is_left_to_it(store: ObjectStore, runner: _FakeRunner) -> None:
    with held(store, "spa/R1", "deriving"):
        outcome, _ = _run(store, Group.MISSING)
    assert (outcome.derived, outcome.failures) == ([_BOTH[0]], {})
    assert outcome.notes[0].startswith("spa/R1 is being worked on")


def test_a_session_that_changed_since_the_plan_is_left_alone(store: ObjectStore, runner: _FakeRunner) -> None:
    plan = plan_backfill(store, load_settings(), [Group.ALL], ["spa"])
    key = record_key("spa/R1")
    store.write_bytes(key, store.read_bytes(key) + b"\n")
    outcome = backfill(load_settings(), store, plan, lambda _: None)
    assert outcome.notes == ["spa/R1 was changed by another process since the backfill started."]
    assert outcome.derived == []
