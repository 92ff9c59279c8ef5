"""What an automation asks for after a look: what is there now decides, within a budget, and nothing twice."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from apex_pipeline.errors import StoreCorruptionError
from apex_pipeline.ingest.attempts import Attempt, Outcome
from apex_pipeline.ingest.automation import (
    RUNNING,
    WRITING,
    Decision,
    Request,
    Surroundings,
    Task,
    code_version,
    decide,
    unreadable,
)
from apex_pipeline.ingest.sync_plan import SyncPlan, list_lake, plan_sync
from apex_pipeline.ingest.tick_state import TickState, parse_tick_state
from apex_pipeline.lake.snapshot import read_current
from apex_pipeline.storage.layout import object_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.ingest.lake_in_step import LakeInStep, lap_csv
from apex_pipeline_tests.lake.tables import finish_session

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_KEYS = [SessionKey("spa", f"R{number}") for number in range(1, 7)]
_IDLE: Mapping[str, Sequence[Attempt]] = {}


class _Looks:
    """A lake, and one look after the other at it."""

    def __init__(self, lake: LakeInStep) -> None:
        self.lake = lake
        self.around = Surroundings(frozenset(), frozenset(), lambda _: _IDLE, None, _NOW, budget=25)
        self.before = TickState()

    def plan(self) -> SyncPlan:
        lake = self.lake
        return plan_sync(lake.store, lake.settings, lake.folder, lake.digest_cache, list_lake(lake.store))

    def look(self, **around: object) -> Decision:
        self.around = replace(self.around, **around)  # type: ignore[arg-type]
        decision = decide(self.plan(), self.lake.settings, self.around, self.before)
        self.before = parse_tick_state(decision.tick_state.to_text())
        return decision


@pytest.fixture
def looks(tmp_path: Path, store: LocalStore) -> _Looks:
    lake = LakeInStep(tmp_path / "source", store)
    for lap, key in enumerate(_KEYS, 1):
        lake.write(f"spa/{key.session}/{key.session}_lap_start.csv", lap_csv(key.session, lap))
    return _Looks(lake)


@pytest.fixture
def synced(looks: _Looks) -> _Looks:
    looks.lake.sync()
    for key in _KEYS:
        finish_session(looks.lake.store, key)
    snapshot = read_current(looks.lake.store)
    assert snapshot is not None
    looks.around = replace(looks.around, partitions=frozenset(map(str, _KEYS)), manifest_version=snapshot.id)
    return looks


def _sessions(decision: Decision) -> list[SessionKey]:
    return [request.key for request in decision.requests if request.key]


def test_an_up_to_date_lake_asks_for_nothing(synced: _Looks) -> None:
    decision = synced.look()
    assert decision.is_idle
    assert (decision.added, decision.removed, decision.unconfirmed) == ([], [], [])


def test_files_are_seen_twice_before_they_are_asked_for(looks: _Looks) -> None:
    first = looks.look()
    assert (_sessions(first), set(first.waiting.values())) == ([], {WRITING})
    assert first.added == list(map(str, _KEYS))
    assert _sessions(looks.look()) == _KEYS


def test_a_budget_goes_round_all_sessions_however_long_they_stay_due(looks: _Looks) -> None:
    looks.look(budget=4)
    rounds = [_sessions(looks.look()) for _ in range(4)]
    assert rounds[0] == _KEYS[:4]
    assert [key for keys in rounds for key in keys] == [*_KEYS, *_KEYS, *_KEYS][:16]


def test_only_a_bounded_number_of_sessions_is_watched_and_all_get_their_turn(
    looks: _Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apex_pipeline.ingest.automation._WATCHED_LOOKS", 2)
    seen: set[SessionKey] = set()
    for _ in range(8):
        decision = looks.look(budget=1)
        assert len(decision.tick_state.watched) <= 3  # two sessions, and the files without one
        seen |= {*_sessions(decision)}
    assert seen == set(_KEYS)


def test_what_is_running_is_not_asked_for_again(looks: _Looks) -> None:
    looks.look()
    decision = looks.look(running=frozenset({"spa/R2"}))
    assert SessionKey("spa", "R2") not in _sessions(decision)
    assert decision.waiting["spa/R2"] == RUNNING
    assert _sessions(looks.look(running=frozenset({Task.SESSION}))) == []


def test_a_failed_version_waits_and_another_one_does_not(looks: _Looks) -> None:
    looks.look()
    failed = {request.version: [Attempt(Outcome.FAILED, _NOW)] for request in looks.look().requests}

    def attempts(versions: Collection[str]) -> Mapping[str, Sequence[Attempt]]:
        return {version: failed[version] for version in versions if version in failed}

    assert _sessions(looks.look(attempts_at=attempts)) == []
    looks.lake.write("spa/R1/R1_lap_start.csv", lap_csv("R1", 9))
    looks.look()
    assert _sessions(looks.look()) == [_KEYS[0]]


@pytest.mark.parametrize(("gone", "removed"), [(1, 1), (2, 0)])
def test_a_fifth_of_the_partitions_is_removed_and_no_more(synced: _Looks, gone: int, removed: int) -> None:
    lost = [f"nowhere/R{number}" for number in range(gone)]
    decision = synced.look(partitions=frozenset([*map(str, _KEYS), *lost]))
    assert (decision.removed, decision.unconfirmed) == ((lost, []) if removed else ([], lost))
    assert synced.look(has_source=False).removed == []


def test_a_partition_that_is_worked_on_is_not_removed(synced: _Looks) -> None:
    known = frozenset([*map(str, _KEYS), "nowhere/R9"])
    assert synced.look(partitions=known, running=frozenset({"nowhere/R9"})).removed == []


class TestCatalog:
    """The tables of all sessions are renewed once all is done, or at an interval while it is not."""

    def test_an_outdated_manifest_is_renewed(self, synced: _Looks) -> None:
        (request,) = synced.look(manifest_version="an earlier one").requests
        assert (request.task, request.reason) == (Task.REFRESH, "roll-ups are outdated")

    def test_it_is_not_renewed_before_anything_is_published(self, looks: _Looks) -> None:
        looks.lake.sync()
        assert {request.task for request in looks.look().requests} == {Task.SESSION}

    def test_it_waits_while_it_is_renewed(self, synced: _Looks) -> None:
        decision = synced.look(manifest_version=None, running=frozenset({Task.REFRESH}))
        assert (decision.requests, decision.waiting) == ([], {Task.REFRESH: RUNNING})

    def test_while_sessions_are_worked_on_it_is_renewed_at_an_interval(self, synced: _Looks) -> None:
        busy = frozenset({"spa/R1"})
        assert synced.look(manifest_version=None, running=busy).requests == []
        assert synced.look(now=_NOW + timedelta(minutes=14)).requests == []
        assert len(synced.look(now=_NOW + timedelta(minutes=15)).requests) == 1
        assert synced.look(now=_NOW + timedelta(minutes=29)).requests == []

    def test_a_file_without_a_session_is_seen_twice(self, synced: _Looks) -> None:
        synced.lake.write("notes.csv", "a,b\n1,2\n")
        decision = synced.look()
        assert (decision.requests, decision.waiting) in (([], {Task.REFRESH: WRITING}), ([], {}))
        if decision.waiting:
            assert [request.task for request in synced.look().requests] == [Task.REFRESH]


class TestPreparation:
    """What is damaged is mended before sessions are worked on."""

    def test_damage_is_mended_first(self, synced: _Looks) -> None:
        snapshot = read_current(synced.lake.store)
        session = snapshot.session(_KEYS[0]) if snapshot else None
        assert session is not None
        table = next(iter(session.tables.values()))
        synced.lake.drop(object_key(table.sha256))
        assert [request.task for request in synced.look().requests] == [Task.PREPARE]
        assert synced.look(running=frozenset({Task.PREPARE})).waiting == {Task.PREPARE: RUNNING}

    def test_what_cannot_be_mended_does_not_hold_up_the_sessions(self, synced: _Looks) -> None:
        snapshot = read_current(synced.lake.store)
        session = snapshot.session(_KEYS[0]) if snapshot else None
        assert session is not None
        synced.lake.drop(object_key(next(iter(session.tables.values())).sha256))
        (request,) = synced.look().requests
        done = {request.version: [Attempt(Outcome.DONE, _NOW)]}
        assert Task.PREPARE not in {found.task for found in synced.look(attempts_at=lambda _: done).requests}

    def test_a_damaged_pointer_is_mended_once(self, looks: _Looks) -> None:
        error, code = StoreCorruptionError("damaged", "mend it"), code_version(looks.lake.settings)
        (request,) = unreadable(error, code, looks.around, TickState()).requests
        assert request == Request(Task.PREPARE, request.version, "what is published is damaged")
        failed = replace(looks.around, attempts_at=lambda _: {request.version: [Attempt(Outcome.FAILED, _NOW)]})
        assert unreadable(error, code, failed, TickState()).requests == []
        running = replace(looks.around, running=frozenset({Task.PREPARE}))
        assert unreadable(error, code, running, TickState()).waiting == {Task.PREPARE: RUNNING}
