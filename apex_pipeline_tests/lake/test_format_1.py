"""Tests that a lake of format 1 is read, verified, cleaned up, and taken over without losing anything."""

from datetime import UTC, datetime, timedelta

import pytest

from apex_pipeline.catalog import Catalog
from apex_pipeline.errors import ObjectMissingError
from apex_pipeline.export.bundle import select_sessions, write_bundle
from apex_pipeline.lake.catalog_tables import session_files
from apex_pipeline.lake.history import published_history
from apex_pipeline.lake.integrity import verify_lake
from apex_pipeline.lake.publication import Change, publish
from apex_pipeline.lake.repair import repair_publication
from apex_pipeline.lake.retention import Retention, find_expired, remove_expired
from apex_pipeline.lake.rollback import plan_rollback, roll_back
from apex_pipeline.lake.snapshot import FORMAT, read_current, read_snapshot
from apex_pipeline.lake.tables import require_session, require_snapshot
from apex_pipeline.storage.layout import CURRENT_SNAPSHOT_KEY, history_key, object_key, snapshot_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.lake.derived import open_lake
from apex_pipeline_tests.lake.format_1 import laps_in, publish_format_1
from apex_pipeline_tests.lake.tables import NOON, publish_tables

_R1, _R2 = SessionKey("spa", "R1"), SessionKey("spa", "R2")
_HOUR = timedelta(hours=1)
_NOTHING_KEPT = Retention(timedelta(0), timedelta(hours=1))


@pytest.fixture
def old(store: LocalStore) -> LocalStore:
    """A lake with two states: R1 with 2 laps; then R1 with 3 laps and R2 with 5."""
    publish_format_1(store, {_R1: 2})
    publish_format_1(store, {_R1: 3, _R2: 5}, NOON + _HOUR)
    return store


def test_the_published_state_is_read(old: LocalStore) -> None:
    catalog = Catalog(old)
    assert (len(catalog.laps("spa", "R1")), len(catalog.laps("spa", "R2"))) == (3, 5)
    assert list(catalog.sessions()["session"]) == ["R1", "R2"]
    assert list(catalog.files()["path"]) == ["spa/R1_lap_start.csv", "spa/R2_lap_start.csv"]
    assert list(catalog.tracks()["sessions"]) == [2]
    snapshot = require_snapshot(old)
    assert snapshot.format == 1
    assert [file.path for file in session_files(snapshot, require_session(snapshot, _R2))] == ["spa/R2_lap_start.csv"]


def test_the_former_state_is_read_from_the_history(old: LocalStore) -> None:
    catalog = Catalog(old, "2026-11-21T12:30:00Z")
    assert len(catalog.laps("spa", "R1")) == 2
    assert list(catalog.sessions()["session"]) == ["R1"]
    assert list(catalog.files()["path"]) == ["spa/R1_lap_start.csv"]


@pytest.mark.parametrize("is_deep", [True, False])
def test_it_is_verified_without_a_problem(old: LocalStore, *, is_deep: bool) -> None:
    report = verify_lake(old, is_deep=is_deep)
    assert (report.wrong, report.notes) == ((), ())
    kinds = {finding.kind for finding in report.findings}
    assert kinds == {"snapshot", "table", "earlier table", "catalog", "raw file"}


@pytest.mark.parametrize("what", ["table", "former table", "catalog", "raw file", "copy"])
def test_damage_in_it_is_found(old: LocalStore, what: str) -> None:
    snapshot = require_snapshot(old)
    first = read_snapshot(old, snapshot_key(str(snapshot.parent)))
    keys = {
        "table": require_session(snapshot, _R1).tables["laps"].key,
        "former table": history_key(require_session(first, _R1).tables["laps"].sha256),
        "catalog": "catalog/files.parquet",
        "raw file": "data/spa/R1_lap_start.csv",
        "copy": f"catalog/snapshots/{snapshot.id}/files.parquet",
    }
    old.write_bytes(keys[what], b"x")
    assert len(verify_lake(old).wrong) == 1


def test_a_lost_table_is_a_typed_error(old: LocalStore) -> None:
    old.delete(require_session(require_snapshot(old), _R1).tables["laps"].key)
    with pytest.raises(ObjectMissingError, match="is missing or damaged"):
        Catalog(old).laps("spa", "R1")


def test_a_lost_catalog_table_is_read_from_the_copy_of_the_snapshot(old: LocalStore) -> None:
    old.write_bytes("catalog/files.parquet", b"x")
    assert len(Catalog(old).files()) == 2


def test_nothing_that_a_kept_state_needs_expires(old: LocalStore) -> None:
    month = Retention(timedelta(days=30), timedelta(hours=1))
    assert find_expired(old, month, datetime.now(UTC)).objects == ()
    later = datetime.now(UTC) + timedelta(days=90)
    remove_expired(old, find_expired(old, _NOTHING_KEPT, later), _NOTHING_KEPT, later)
    assert laps_in(require_snapshot(old)) == {_R1: 3, _R2: 5}
    assert verify_lake(old, is_deep=True).wrong == ()
    assert list(old.list("history/")) == []


def test_a_lost_pointer_is_written_again(old: LocalStore) -> None:
    before = require_snapshot(old)
    old.delete(CURRENT_SNAPSHOT_KEY)
    assert len(repair_publication(old)) == 1
    assert read_current(old) == before


def test_publishing_takes_it_over_and_every_state_stays_readable(old: LocalStore) -> None:
    before = require_snapshot(old)
    taken_over = publish(old, {}, NOON + 2 * _HOUR)
    assert (taken_over.format, taken_over.parent) == (FORMAT, before.id)
    assert laps_in(taken_over) == {_R1: 3, _R2: 5}
    assert require_session(taken_over, _R1).files[0].path == "spa/R1_lap_start.csv"
    # The stable names now belong to the new format: what the old one needs is in its objects.
    publish_tables(old, _R1, "later", laps=9, now=NOON + 3 * _HOUR)
    assert len(Catalog(old).laps("spa", "R1")) == 9
    for moment, laps in (("12:30", 2), ("13:30", 3), ("14:30", 3), ("15:30", 9)):
        catalog = Catalog(old, f"2026-11-21T{moment}:00Z")
        assert len(catalog.laps("spa", "R1")) == laps
        assert set(catalog.files()["path"]) >= {"spa/R1_lap_start.csv"}
    assert [one for one in verify_lake(old, is_deep=True).wrong if one.kind != "record"] == []


def test_after_the_takeover_expired_states_of_both_formats_are_removed(old: LocalStore) -> None:
    publish_tables(old, _R1, "later", laps=9, now=NOON + 3 * _HOUR)
    publish_tables(old, _R2, "later", laps=8, now=NOON + 4 * _HOUR)
    later = datetime.now(UTC) + timedelta(days=90)
    remove_expired(old, find_expired(old, _NOTHING_KEPT, later), _NOTHING_KEPT, later)
    assert laps_in(require_snapshot(old)) == {_R1: 9, _R2: 8}
    assert [item.key for item in old.list("history/")] == []
    assert verify_lake(old, is_deep=True).wrong == ()


def test_the_history_goes_back_beyond_the_takeover(old: LocalStore) -> None:
    publish(old, {}, NOON + 2 * _HOUR, "taken over from format 1")
    history = list(published_history(old, require_snapshot(old)))
    changes = [(entry.changes.added, entry.changes.changed) for entry in history if entry.changes]
    assert changes == [((), ()), ((_R2,), (_R1,)), ((_R1,), ())]


def test_a_state_of_format_1_is_published_again(old: LocalStore) -> None:
    first = str(require_snapshot(old).parent)
    publish_tables(old, _R1, "later", laps=9, now=NOON + 3 * _HOUR)
    target = read_snapshot(old, snapshot_key(first))
    rollback = plan_rollback(old, target)
    assert (rollback.restored, rollback.removed) == ((_R1,), (_R2,))
    restored = roll_back(old, rollback, NOON + 4 * _HOUR)
    assert laps_in(restored) == {_R1: 2}
    assert len(Catalog(old).laps("spa", "R1")) == 2
    assert old.head(object_key(require_session(restored, _R1).tables["laps"].sha256)) is not None


def test_a_session_is_taken_out_of_it(old: LocalStore) -> None:
    assert publish(old, {_R1: Change(None)}, NOON + 2 * _HOUR).keys == (_R2,)


def test_a_bundle_of_it_has_the_present_format(old: LocalStore, tmp_path_factory: pytest.TempPathFactory) -> None:
    snapshot, target = require_snapshot(old), tmp_path_factory.mktemp("bundles") / "part"
    selection = select_sessions(snapshot, sessions=["R2"], has_raw_files=True)
    write_bundle(old, snapshot, selection, target)
    bundle = open_lake(target)
    assert laps_in(require_snapshot(bundle)) == {_R2: 5}
    assert bundle.read_bytes("data/spa/R2_lap_start.csv") == b"v5"
