"""Tests that a damaged published state is made readable again, with everything that is still there."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from apex_pipeline.errors import StoreCorruptionError
from apex_pipeline.lake.forgotten import ForgottenFile, change_forgotten
from apex_pipeline.lake.integrity import verify_lake
from apex_pipeline.lake.publication import Change, publish, write_snapshot
from apex_pipeline.lake.repair import repair_publication
from apex_pipeline.lake.snapshot import LaterFormatError, Snapshot, read_current
from apex_pipeline.lake.tables import require_session, require_snapshot
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import CURRENT_SNAPSHOT_KEY, shard_key, snapshot_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.lake.tables import NOON, publish_tables, put_record
from apex_pipeline_tests.storage.s3.harness import connect, store_of

_R1, _R2, _R3 = (SessionKey("spa", name) for name in ("R1", "R2", "R3"))
_HOUR = timedelta(hours=1)
_GARBAGE = (b"", b"{}", b"{", b"\xff\xfe", b"[" * 100_000)


# What a damaged object contains is read in the same way from every store: all of it in a folder, one in a bucket.
_EVERY_DAMAGE = pytest.mark.parametrize(
    ("any_store", "content"),
    [*(("local", content) for content in (None, *_GARBAGE)), ("s3", None), ("s3", _GARBAGE[2])],
    indirect=["any_store"],
)


@pytest.fixture(params=["local", "s3"])
def any_store(request: pytest.FixtureRequest) -> ObjectStore:
    if request.param == "local":
        return request.getfixturevalue("store")
    return store_of(connect(request.getfixturevalue("s3_bucket")))


def _publish_two(store: ObjectStore) -> tuple[Snapshot, Snapshot]:
    return publish_tables(store, _R1, laps=2), publish_tables(store, _R2, laps=3, now=NOON + _HOUR)


def _laps(store: ObjectStore, key: SessionKey) -> int:
    return require_session(require_snapshot(store), key).tables["laps"].rows


def test_an_intact_lake_is_left_alone(any_store: ObjectStore) -> None:
    _publish_two(any_store)
    before = {item.key: item.tag for item in any_store.list()}
    assert repair_publication(any_store) == []
    assert {item.key: item.tag for item in any_store.list()} == before


def test_a_lake_in_which_nothing_is_published_is_left_alone(any_store: ObjectStore) -> None:
    assert repair_publication(any_store) == []
    assert read_current(any_store) is None


@_EVERY_DAMAGE
def test_a_missing_or_damaged_pointer_is_written_again(any_store: ObjectStore, content: bytes | None) -> None:
    _, newest = _publish_two(any_store)
    if content is None:
        any_store.delete(CURRENT_SNAPSHOT_KEY)
    else:
        any_store.write_bytes(CURRENT_SNAPSHOT_KEY, content)
    (sentence,) = repair_publication(any_store)
    assert f"the newest snapshot, {newest.id}, is published again" in sentence
    assert read_current(any_store) == newest
    assert repair_publication(any_store) == []
    assert verify_lake(any_store).wrong == ()


def test_a_damaged_pointer_of_a_lake_without_snapshots_is_removed(any_store: ObjectStore) -> None:
    any_store.write_bytes(CURRENT_SNAPSHOT_KEY, b"{}")
    assert repair_publication(any_store) == []
    assert read_current(any_store) is None


@_EVERY_DAMAGE
def test_instead_of_a_damaged_snapshot_the_newest_readable_one_is_published(
    any_store: ObjectStore, content: bytes | None
) -> None:
    first, second = _publish_two(any_store)
    if content is None:
        any_store.delete(snapshot_key(second.id))
    else:
        any_store.write_bytes(snapshot_key(second.id), content)
    (sentence,) = repair_publication(any_store)
    assert sentence == (
        f"The published snapshot {second.id} was missing or damaged; the state of {first.id} is published again."
    )
    current = require_snapshot(any_store)
    assert current.entries == first.entries
    # What was published in between is not known any more, so the history must not say that it was the first one.
    assert (current.parent, current.note) == (second.id, "repair")
    assert repair_publication(any_store) == []


def test_without_any_readable_snapshot_the_lake_starts_empty(store: LocalStore) -> None:
    for snapshot in _publish_two(store):
        store.write_bytes(snapshot_key(snapshot.id), b"{}")
    (sentence,) = repair_publication(store)
    assert sentence.endswith("no earlier one is readable, and all sessions must be derived again.")
    assert require_snapshot(store).keys == ()


def test_pointer_and_snapshot_and_shard_are_repaired_in_one_go(store: LocalStore) -> None:
    first, second = _publish_two(store)
    store.write_bytes(CURRENT_SNAPSHOT_KEY, b"{}")
    store.delete(snapshot_key(second.id))
    store.delete(shard_key(first.shards[0]))
    sentences = repair_publication(store)
    assert len(sentences) == 1
    assert repair_publication(store) == []
    assert require_snapshot(store).keys == ()


# Shards


def _publish_many(store: ObjectStore) -> Snapshot:
    """Publish 80 sessions, which take eight shards, and one of them again."""
    session = require_session(publish_tables(store, _R1, laps=2), _R1)
    others = [replace(session, session=f"P{number}") for number in range(80)]
    for other in others:
        put_record(store, other.key, other.inputs_version, session.files)
    publish(store, {other.key: Change(other) for other in others}, NOON + _HOUR)
    return publish_tables(store, _R1, "v2", laps=5, now=NOON + 2 * _HOUR)


def test_the_sessions_of_a_damaged_shard_are_taken_from_earlier_snapshots(any_store: ObjectStore) -> None:
    current = _publish_many(any_store)
    before = current.entries
    number = next(n for n, shard in enumerate(current.shards) if _R1 in current.entries_in([shard]))
    any_store.write_bytes(shard_key(current.shards[number]), b"{}")
    (sentence,) = repair_publication(any_store)
    repaired = require_snapshot(any_store)
    lost = before.keys() - repaired.entries.keys()
    # The earlier shard has other tables of the one session that was published since; that one is derived again.
    assert lost == {_R1}
    assert repaired.entries == {key: entry for key, entry in before.items() if key != _R1}
    assert sentence.endswith("restored from earlier snapshots, 1 must be derived again: spa/R1.")
    assert repair_publication(any_store) == []


def test_a_missing_shard_without_an_earlier_one_leaves_the_other_sessions(store: LocalStore) -> None:
    current = _publish_many(store)
    number = next(n for n, shard in enumerate(current.shards) if _R1 not in current.entries_in([shard]))
    hit = set(current.entries_in([current.shards[number]]))
    store.delete(shard_key(current.shards[number]))  # the snapshot before it shares it
    (sentence,) = repair_publication(store)
    assert require_snapshot(store).keys == tuple(sorted(set(current.keys) - hit))
    assert f"{len(hit)} must be derived again: " in sentence


def test_a_damaged_shard_that_is_needed_again_is_written_again(store: LocalStore) -> None:
    published = publish_tables(store, _R1)
    session = require_session(published, _R1)
    store.write_bytes(shard_key(published.shards[0]), b"{}")
    repair_publication(store)
    assert require_snapshot(store).keys == ()
    again = publish(store, {_R1: Change(session)}, NOON + _HOUR)
    assert again.shards == published.shards
    assert require_snapshot(store).keys == (_R1,)


# What must not come back


def test_a_session_from_which_a_file_was_taken_out_does_not_come_back(store: LocalStore) -> None:
    publish_tables(store, _R1)
    publish_tables(store, _R2, now=NOON + _HOUR)
    change_forgotten(store, [("spa/R1_lap_start.csv", ForgottenFile(None, datetime.now(UTC)))])
    current = publish(store, {_R1: Change(None)}, NOON + 2 * _HOUR)
    store.write_bytes(snapshot_key(current.id), b"{}")
    repair_publication(store)
    assert require_snapshot(store).keys == (_R2,)


def test_with_a_damaged_list_of_files_taken_out_nothing_is_published_again(store: LocalStore) -> None:
    _, second = _publish_two(store)
    store.write_bytes("catalog/forgotten.json", b"{")
    store.write_bytes(snapshot_key(second.id), b"{}")
    with pytest.raises(StoreCorruptionError, match=r"forgotten\.json is damaged"):
        repair_publication(store)


@pytest.mark.parametrize("is_current", [True, False])
def test_a_snapshot_of_a_later_version_is_never_replaced(store: LocalStore, *, is_current: bool) -> None:
    published = publish_tables(store, _R1)
    if is_current:
        store.write_bytes(snapshot_key(published.id), b'{"format": 3}')
    else:
        store.write_bytes(snapshot_key("20990101T000000Z-00000000"), b'{"format": 3}')
        store.delete(CURRENT_SNAPSHOT_KEY)
    before = {item.key: item.tag for item in store.list()}
    with pytest.raises(LaterFormatError, match="Update apex_pipeline"):
        repair_publication(store)
    assert {item.key: item.tag for item in store.list()} == before


# Next to others


@pytest.mark.parametrize("damage", ["pointer", "snapshot"])
def test_what_another_sync_publishes_during_a_repair_is_kept(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    _, second = _publish_two(store)
    store.write_bytes(CURRENT_SNAPSHOT_KEY if damage == "pointer" else snapshot_key(second.id), b"{}")
    write_if = LocalStore.write_if

    def repair_and_publish_before(self: LocalStore, key: str, content: bytes, expected_tag: str | None) -> object:
        monkeypatch.setattr(LocalStore, "write_if", write_if)
        repair_publication(self)
        publish_tables(self, _R3, laps=7, now=NOON + 3 * _HOUR)
        return write_if(self, key, content, expected_tag)

    monkeypatch.setattr(LocalStore, "write_if", repair_and_publish_before)
    assert repair_publication(store) == []  # the other one did it
    assert _laps(store, _R3) == 7
    assert _R1 in require_snapshot(store).keys


def test_a_snapshot_that_was_written_and_not_published_completes_the_publication(store: LocalStore) -> None:
    first = publish_tables(store, _R1, laps=2)
    entries = publish_tables(store, _R2, now=NOON + _HOUR).entries
    killed = write_snapshot(store, entries, first.id, NOON + 2 * _HOUR)
    Path(store.uri_of(CURRENT_SNAPSHOT_KEY)).unlink()
    repair_publication(store)
    assert read_current(store) == killed
    assert require_snapshot(store).keys == (_R1, _R2)


@pytest.mark.parametrize("damage", ["pointer", "snapshot", "shard"])
def test_after_a_repair_publishing_the_lost_sessions_gives_the_lake_as_before(
    any_store: ObjectStore, damage: str
) -> None:
    _, second = _publish_two(any_store)
    before, sessions = second.entries, second.sessions
    keys: dict[str, Callable[[], str]] = {
        "pointer": lambda: CURRENT_SNAPSHOT_KEY,
        "snapshot": lambda: snapshot_key(second.id),
        "shard": lambda: shard_key(second.shards[0]),
    }
    any_store.delete(keys[damage]())
    repair_publication(any_store)
    lost = [session for session in sessions if session.key not in require_snapshot(any_store).keys]
    publish(any_store, {session.key: Change(session) for session in lost}, NOON + 2 * _HOUR)
    assert require_snapshot(any_store).entries == before
    assert [_laps(any_store, key) for key in (_R1, _R2)] == [2, 3]
    assert verify_lake(any_store, is_deep=True).wrong == ()
