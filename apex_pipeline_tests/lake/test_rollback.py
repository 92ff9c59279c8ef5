"""Tests that an earlier state is published again, stays until files change, and can be left again."""

import threading
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from apex_pipeline.errors import ConfigurationError, ObjectMissingError, StoreLockedError
from apex_pipeline.lake.derived import add_derived, unfinished_sessions
from apex_pipeline.lake.forgotten import ForgottenFile, change_forgotten
from apex_pipeline.lake.integrity import verify_lake
from apex_pipeline.lake.publication import publish_session
from apex_pipeline.lake.retention import REMOVAL_LEASE
from apex_pipeline.lake.rollback import Rollback, plan_rollback, roll_back
from apex_pipeline.lake.session_reports import write_report
from apex_pipeline.lake.snapshot import Snapshot
from apex_pipeline.lake.tables import require_session, require_snapshot
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import object_key, report_key
from apex_pipeline.storage.leases import held
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables import CARS, RACE_TABLES, WEATHER
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.lake.tables import NOON, derive_tables, parquet_bytes, publish_tables
from apex_pipeline_tests.servers.seaweed import S3Bucket
from apex_pipeline_tests.storage.s3.harness import connect, store_of

_R1, _R2, _R3 = (SessionKey("spa", name) for name in ("R1", "R2", "R3"))
_HOUR = timedelta(hours=1)
_LATER = NOON + 9 * _HOUR


@pytest.fixture
def states(store: LocalStore) -> list[Snapshot]:
    """R1 with 2 laps; then with R2; then R1 with 3 laps; then with R3."""
    return _publish_states(store)


def _publish_states(store: ObjectStore) -> list[Snapshot]:
    return [
        publish_tables(store, _R1, "v1", laps=2),
        publish_tables(store, _R2, "v1", laps=7, now=NOON + _HOUR),
        publish_tables(store, _R1, "v2", laps=3, now=NOON + 2 * _HOUR),
        publish_tables(store, _R3, "v1", laps=5, now=NOON + 3 * _HOUR),
    ]


def _laps(store: ObjectStore) -> dict[str, int]:
    return {session.session: session.tables["laps"].rows for session in require_snapshot(store).sessions}


def _roll_back(store: ObjectStore, target: Snapshot, *keys: SessionKey) -> Rollback:
    rollback = plan_rollback(store, target, keys)
    if not rollback.is_idle:
        roll_back(store, rollback, _LATER)
    return rollback


def test_a_whole_lake_is_rolled_back(store: LocalStore, states: list[Snapshot]) -> None:
    rollback = _roll_back(store, states[0])
    assert (rollback.restored, rollback.removed, rollback.unchanged) == ((_R1,), (_R2, _R3), 0)
    assert _laps(store) == {"R1": 2}
    current = require_snapshot(store)
    assert (current.parent, current.note) == (states[3].id, f"rollback to {states[0].id}")
    assert verify_lake(store, is_deep=True).wrong == ()
    assert [item.key for item in store.list("tables/laps/")] == ["tables/laps/track=spa/session=R1/laps.parquet"]


def test_a_session_that_is_taken_out_loses_its_report_and_a_restored_one_keeps_it(
    store: LocalStore, states: list[Snapshot]
) -> None:
    for key in (_R1, _R2):
        write_report(store, key, b"<p>", lambda: None)
    _roll_back(store, states[0])
    assert [item.key for item in store.list("reports/")] == [report_key(str(_R1))]


def test_in_a_bucket_too(s3_bucket: S3Bucket) -> None:
    store = store_of(connect(s3_bucket))
    states = _publish_states(store)
    _roll_back(store, states[0])
    assert _laps(store) == {"R1": 2}
    assert verify_lake(store, is_deep=True).wrong == ()


def test_what_an_unfinished_run_derived_is_dropped(store: LocalStore, states: list[Snapshot]) -> None:
    """Or the next sync would publish what was rolled back."""
    add_derived(store, _R1, "v3", {})
    _roll_back(store, states[0], _R1)
    assert list(unfinished_sessions(item.key for item in store.list())) == []


def test_a_session_that_another_process_works_on_is_waited_for(store: LocalStore, states: list[Snapshot]) -> None:
    holder = ExitStack()
    holder.enter_context(held(store, str(_R1), "deriving"))
    timer = threading.Timer(0.5, holder.close)
    timer.start()
    _roll_back(store, states[0], _R1)
    timer.join()
    assert _laps(store)["R1"] == 2


def test_only_the_sessions_that_were_asked_for_are_rolled_back(store: LocalStore, states: list[Snapshot]) -> None:
    rollback = _roll_back(store, states[1], _R1, _R2)
    assert (rollback.restored, rollback.removed, rollback.unchanged) == ((_R1,), (), 1)
    assert _laps(store) == {"R1": 2, "R2": 7, "R3": 5}
    _roll_back(store, states[1], _R3)
    assert _laps(store) == {"R1": 2, "R2": 7}


def test_rolling_forward_gives_the_state_before(store: LocalStore, states: list[Snapshot]) -> None:
    _roll_back(store, states[0])
    _roll_back(store, states[3])
    assert _laps(store) == {"R1": 3, "R2": 7, "R3": 5}
    assert require_snapshot(store).entries == states[3].entries
    assert verify_lake(store, is_deep=True).wrong == ()


def test_a_second_rollback_to_the_same_state_does_nothing(store: LocalStore, states: list[Snapshot]) -> None:
    _roll_back(store, states[0])
    before = {item.key: item.tag for item in store.list()}
    assert _roll_back(store, states[0]).is_idle
    assert {item.key: item.tag for item in store.list()} == before


def test_a_rolled_back_session_remembers_the_files_whose_tables_are_not_wanted(
    store: LocalStore, states: list[Snapshot]
) -> None:
    _roll_back(store, states[1], _R1)
    entry = require_snapshot(store).entry(_R1)
    assert entry is not None
    assert (entry.inputs_version, entry.rolled_back_from) == ("v1", "v2")
    publish_tables(store, _R1, "v3", laps=4, now=_LATER)
    _roll_back(store, states[2], _R1)  # from v3 to v2
    _roll_back(store, states[0], _R1)  # and on to v1: the files are still those of v3
    entry = require_snapshot(store).entry(_R1)
    assert entry is not None
    assert (entry.inputs_version, entry.rolled_back_from) == ("v1", "v3")


def test_new_files_end_a_rollback(store: LocalStore, states: list[Snapshot]) -> None:
    _roll_back(store, states[1], _R1)
    publish_session(store, derive_tables(store, _R1, "v3", laps=4), _LATER)
    entry = require_snapshot(store).entry(_R1)
    assert entry is not None
    assert (entry.inputs_version, entry.rolled_back_from) == ("v3", None)
    assert _laps(store)["R1"] == 4


def test_the_stable_name_of_a_table_that_the_earlier_state_lacks_is_removed(store: LocalStore) -> None:
    tables = {table.name for table in RACE_TABLES if table is not WEATHER}
    first = publish_session(store, derive_tables(store, _R1, "v1", only=tables), NOON)
    publish_tables(store, _R1, "v2", now=NOON + _HOUR)
    _roll_back(store, first)
    assert {item.key.split("/")[1] for item in store.list("tables/")} == tables


def test_a_session_that_is_published_neither_now_nor_then_is_refused(store: LocalStore, states: list[Snapshot]) -> None:
    with pytest.raises(ConfigurationError, match="spa/R9 is published neither now nor in"):
        plan_rollback(store, states[0], [SessionKey("spa", "R9")])


def test_a_state_whose_tables_are_gone_is_refused_before_anything_changes(
    store: LocalStore, states: list[Snapshot]
) -> None:
    laps = require_session(states[0], _R1).tables["laps"]
    store.delete(object_key(laps.sha256))
    with pytest.raises(ObjectMissingError, match="is missing or damaged"):
        _roll_back(store, states[0])
    assert require_snapshot(store) == states[3]


def test_a_state_from_a_file_that_was_taken_out_is_refused(store: LocalStore, states: list[Snapshot]) -> None:
    (file,) = require_session(states[0], _R1).files
    change_forgotten(store, [(file.path, ForgottenFile(file.sha256, NOON))])
    with pytest.raises(ConfigurationError, match=r"spa/R1 cannot be rolled back.*spa/R1_lap_start\.csv.*--undo"):
        _roll_back(store, states[0])
    assert require_snapshot(store) == states[3]
    # Of the other content of that path nothing was said.
    _roll_back(store, states[1], _R2)


def test_expired_objects_are_not_removed_meanwhile(
    store: LocalStore, states: list[Snapshot], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apex_pipeline.lake.rollback.LONGEST_WAIT_S", 0.1)
    with held(store, REMOVAL_LEASE, "removing"), pytest.raises(StoreLockedError, match="removing"):
        _roll_back(store, states[0])


def test_what_is_published_while_the_names_are_renewed_keeps_its_names(
    store: LocalStore, states: list[Snapshot], monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, cars = LocalStore.copy, parquet_bytes(CARS.empty())

    def publish_before(self: LocalStore, source: str, target: str) -> object:
        monkeypatch.setattr(LocalStore, "copy", copy)
        publish_tables(self, _R1, "v9", laps=9, contents={"cars": cars}, now=_LATER)
        return copy(self, source, target)

    monkeypatch.setattr(LocalStore, "copy", publish_before)
    _roll_back(store, states[1], _R1)
    assert _laps(store)["R1"] == 9
    # The name that was being written is mended by the next sync; no reader uses it.
    assert len(verify_lake(store).wrong) <= 1
    assert Path(store.uri).is_dir()
