"""Tests that earlier states are found by time and by name, and that the history says what changed."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apex_pipeline.errors import ConfigurationError, ObjectMissingError, StoreCorruptionError
from apex_pipeline.lake.history import SessionChanges, changes_between, published_history, snapshot_as_of
from apex_pipeline.lake.publication import Change, publish, write_snapshot
from apex_pipeline.lake.published_session import PublishedSession
from apex_pipeline.lake.snapshot import Snapshot
from apex_pipeline.lake.tables import require_snapshot
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import shard_key, snapshot_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.lake.conftest import open_lake
from apex_pipeline_tests.lake.tables import NOON, publish_tables

_R1, _R2, _R3 = (SessionKey("spa", name) for name in ("R1", "R2", "R3"))
_HOUR = timedelta(hours=1)


@pytest.fixture
def three(store: LocalStore) -> list[Snapshot]:
    """Three states: R1 at 12:00, R2 at 13:00, another R1 at 14:00."""
    return [
        publish_tables(store, _R1, laps=2),
        publish_tables(store, _R2, now=NOON + _HOUR),
        publish_tables(store, _R1, "v2", laps=3, now=NOON + 2 * _HOUR),
    ]


def _as_of(store: ObjectStore, as_of: datetime | str) -> Snapshot:
    return snapshot_as_of(store, as_of, require_snapshot(store))


@pytest.mark.parametrize(("minutes", "number"), [(0, 0), (59, 0), (60, 1), (119, 1), (120, 2), (60 * 24 * 365, 2)])
def test_a_time_gives_the_state_published_then(
    store: LocalStore, three: list[Snapshot], minutes: int, number: int
) -> None:
    moment = NOON + timedelta(minutes=minutes)
    assert _as_of(store, moment) == three[number]
    assert _as_of(store, moment.isoformat()) == three[number]
    assert _as_of(store, moment.astimezone(timezone(timedelta(hours=-5)))) == three[number]


def test_a_snapshot_is_found_by_its_id_and_by_the_start_of_it(store: LocalStore, three: list[Snapshot]) -> None:
    for snapshot in three:
        assert _as_of(store, snapshot.id) == snapshot
        assert _as_of(store, snapshot.id[:11]) == snapshot


def test_before_the_first_publication_there_is_nothing(store: LocalStore, three: list[Snapshot]) -> None:
    with pytest.raises(ObjectMissingError, match=rf"nothing was published yet.*nearest snapshots are {three[0].id}"):
        _as_of(store, NOON - _HOUR)


@pytest.mark.parametrize("moment", ["2026-11-21T12:00:00", "2026-11-21T12", datetime(2026, 11, 21, 12)])  # noqa: DTZ001
def test_a_time_without_a_zone_is_refused(store: LocalStore, three: list[Snapshot], moment: datetime | str) -> None:
    assert three
    with pytest.raises(ConfigurationError, match="has no time zone"):
        _as_of(store, moment)


@pytest.mark.parametrize("text", ["", "yesterday", "20251121T120000Z-00000000", "../current"])
def test_a_name_that_is_nothing_is_refused_with_the_nearest_snapshots(
    store: LocalStore, three: list[Snapshot], text: str
) -> None:
    with pytest.raises(ConfigurationError, match=rf"is neither a time nor a snapshot.*{three[0].id}|{three[2].id}"):
        _as_of(store, text)


def test_a_name_that_may_be_several_snapshots_is_refused(store: LocalStore, three: list[Snapshot]) -> None:
    with pytest.raises(ConfigurationError, match=rf"3 snapshots start with '20261121'.*{three[0].id}, {three[1].id}"):
        _as_of(store, "20261121")


def test_a_snapshot_that_was_written_and_never_published_is_not_shown(store: LocalStore, three: list[Snapshot]) -> None:
    """A slower sync wrote it and published another one, or was killed."""
    write_snapshot(store, {}, three[0].id, NOON + timedelta(minutes=30))
    write_snapshot(store, {}, three[1].id, NOON + timedelta(minutes=90))
    assert _as_of(store, NOON + timedelta(minutes=45)) == three[0]
    assert _as_of(store, NOON + timedelta(minutes=100)) == three[1]
    assert [entry.snapshot for entry in published_history(store, three[2])] == three[::-1]


def test_of_two_snapshots_of_one_second_the_later_one_counts(store: LocalStore) -> None:
    states = [publish_tables(store, _R1, f"v{number}", laps=number) for number in range(1, 6)]
    publish_tables(store, _R2, now=NOON + _HOUR)
    assert _as_of(store, NOON) == states[-1]
    assert [entry.snapshot for entry in published_history(store, require_snapshot(store))][1:] == states[::-1]


def test_the_clocks_of_two_machines_may_differ(store: LocalStore) -> None:
    """The second sync publishes on a machine whose clock is ten minutes slow."""
    first = publish_tables(store, _R1, now=NOON)
    second = publish_tables(store, _R2, now=NOON - timedelta(minutes=10))
    third = publish_tables(store, _R3, now=NOON + _HOUR)
    assert _as_of(store, NOON + timedelta(minutes=1)) == second
    assert [entry.snapshot for entry in published_history(store, third)] == [third, second, first]


@pytest.mark.parametrize("damage", ["missing", "garbage"])
def test_a_state_that_is_gone_is_an_error_and_never_the_one_before_it(
    store: LocalStore, three: list[Snapshot], damage: str
) -> None:
    key = snapshot_key(three[1].id)
    if damage == "missing":
        store.delete(key)
    else:
        store.write_bytes(key, b"{}")
    with pytest.raises(ObjectMissingError, match="or it has been removed"):
        _as_of(store, NOON + timedelta(minutes=90))
    with pytest.raises((StoreCorruptionError, ConfigurationError)):
        _as_of(store, three[1].id)
    assert _as_of(store, NOON + 3 * _HOUR) == three[2]
    (newest,) = published_history(store, three[2])
    assert (newest.snapshot, newest.changes) == (three[2], None)


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=40),
    st.lists(st.tuples(st.integers(0, 39), st.integers(1, 100)), max_size=20),
)
@settings(max_examples=12)
def test_every_moment_has_the_state_published_last_before_it(pauses: list[int], orphans: list[tuple[int, int]]) -> None:
    """Publish states with pauses of some seconds, and write documents in between that are never published."""
    with TemporaryDirectory() as folder:
        store = open_lake(Path(folder))
        moment, published = NOON, list[tuple[datetime, Snapshot]]()
        for number, pause in enumerate(pauses):
            moment += timedelta(seconds=pause)
            parent = published[-1][1].id if published else None
            for place, seconds in orphans:
                if place == number:
                    write_snapshot(store, {}, parent, moment + timedelta(seconds=seconds))
            session = PublishedSession("spa", f"R{number}", "v1", ("gr_cup",), {})
            published.append((moment, publish(store, {session.key: Change(session)}, moment)))
        for when in {moment for moment, _ in published}:
            expected = [snapshot for time, snapshot in published if time <= when][-1]
            assert _as_of(store, when + timedelta(milliseconds=500)) == expected


def test_the_history_says_what_each_snapshot_changed(store: LocalStore, three: list[Snapshot]) -> None:
    publish(store, {_R2: Change(None)}, NOON + 3 * _HOUR, "a note")
    history = list(published_history(store, require_snapshot(store)))
    assert [entry.changes for entry in history] == [
        SessionChanges(removed=(_R2,)),
        SessionChanges(changed=(_R1,)),
        SessionChanges(added=(_R2,)),
        SessionChanges(added=(_R1,)),
    ]
    assert [entry.snapshot.note for entry in history] == ["a note", "", "", ""]
    assert [_R1 in entry.changes for entry in history if entry.changes] == [False, True, False, True]
    assert three[0].id == history[-1].snapshot.id


def test_a_damaged_shard_hides_only_the_changes_of_its_snapshots(store: LocalStore, three: list[Snapshot]) -> None:
    store.write_bytes(shard_key(three[1].shards[0]), b"{}")
    history = list(published_history(store, require_snapshot(store)))
    assert [entry.changes is None for entry in history] == [True, True, False]


def test_only_the_shards_that_differ_are_read(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    session = publish_tables(store, _R1).session(_R1)
    assert session is not None
    others = [replace(session, session=f"P{number}") for number in range(80)]
    before = publish(store, {other.key: Change(other) for other in others}, NOON + _HOUR)
    after = publish_tables(store, _R1, "v2", laps=9, now=NOON + 2 * _HOUR)
    first, second = _as_of(store, before.id), _as_of(store, after.id)
    read: list[str] = []
    read_with_tag = LocalStore.read_with_tag

    def record(self: LocalStore, key: str, limit: int | None = None) -> tuple[bytes, str] | None:
        read.append(key)
        return read_with_tag(self, key, limit)

    monkeypatch.setattr(LocalStore, "read_with_tag", record)
    assert changes_between(first, second) == SessionChanges(changed=(_R1,))
    assert len(read) == 2
