"""Tests the migration of a lake between folders and buckets: complete, verified, resumed, and never over another lake.

The lake is that of a whole weekend, so it has raw files in use and set aside, and several sessions.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apex_pipeline.errors import ConfigurationError, StoreCorruptionError, StoreLockedError
from apex_pipeline.ingest.sync_plan import list_lake, plan_sync
from apex_pipeline.lake import migration
from apex_pipeline.lake.forget import plan_removal, remove
from apex_pipeline.lake.integrity import verify_lake
from apex_pipeline.lake.migration import migrate, plan_migration
from apex_pipeline.lake.publication import Change, publish
from apex_pipeline.lake.rollups import list_records
from apex_pipeline.lake.session_reports import sealed, write_report
from apex_pipeline.lake.snapshot import read_current
from apex_pipeline.settings import load_settings
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.factory import open_store_at
from apex_pipeline.storage.layout import CURRENT_SNAPSHOT_KEY, INTERNAL_PREFIX, object_key, raw_key, snapshot_key
from apex_pipeline.storage.leases import held
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.lake.derived import open_lake
from apex_pipeline_tests.lake.tables import NOON, publish_tables
from apex_pipeline_tests.servers.s3_server import S3Bucket

_SPA = SessionKey("spa", "R1")


@pytest.fixture(params=["to-s3", "to-folder"])
def places(
    request: pytest.FixtureRequest, lake: LocalStore, tmp_path: Path, s3_bucket: S3Bucket, monkeypatch: Any
) -> tuple[ObjectStore, ObjectStore]:
    """The weekend's lake and an empty target: a folder and a bucket, in both directions."""
    for name, value in s3_bucket.environment.items():
        if name != "USE_S3_DATA":
            monkeypatch.setenv(name, value)
    bucket = open_store_at(f"s3://{s3_bucket.name}/moved", load_settings(), for_writing=True)
    if request.param == "to-s3":
        return lake, bucket
    migrate(lake, bucket)
    return bucket, open_store_at(str(tmp_path / "back"), load_settings(), for_writing=True)


@pytest.fixture
def target(tmp_path: Path) -> LocalStore:
    return open_lake(tmp_path / "target")


def _contents(store: ObjectStore) -> dict[str, bytes]:
    keys = [item.key for item in store.list() if not item.key.startswith(INTERNAL_PREFIX)]
    return {key: store.read_bytes(key) for key in keys if not key.startswith("catalog/records/")}


def _is_made_from_records(key: str) -> bool:
    return key in {"catalog/files.parquet", "catalog/sessions.parquet", "catalog/tracks.parquet"}


@pytest.mark.slow
def test_a_migrated_lake_is_verified_and_has_nothing_left_for_a_sync(places: tuple[ObjectStore, ObjectStore]) -> None:
    source, target = places
    report = migrate(source, target)
    assert (report.failures, report.present) == ((), 0)
    verified = verify_lake(target, is_deep=True)
    assert verified.wrong == ()
    assert verified.snapshot is not None
    assert report.snapshot == verified.snapshot.id
    plan = plan_sync(target, load_settings(), None, DigestCache(), list_lake(target))
    assert plan.is_idle, (plan.due, plan.records, plan.damage)
    before, after = _contents(source), _contents(target)
    differing = {key for key in before | after if before.get(key) != after.get(key)}
    assert all(map(_is_made_from_records, differing)), differing


@pytest.mark.slow
def test_a_killed_migration_is_continued_and_sends_nothing_twice(
    places: tuple[ObjectStore, ObjectStore], tmp_path: Path
) -> None:
    source, target = places
    command = [sys.executable, "-m", "apex_pipeline_tests.lake.migrating_process", source.uri, target.uri, "12"]
    environment = {**os.environ, "APEX_STATE_DIR": str(tmp_path / "killed"), "PYTHONPATH": os.pathsep.join(sys.path)}
    killed = subprocess.run(command, env=environment, check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert read_current(target) is None
    arrived = sum(not item.key.startswith(INTERNAL_PREFIX) for item in target.list())
    assert arrived >= 12
    report = migrate(source, target)
    assert (report.present, report.failures) == (arrived, ())
    assert verify_lake(target, is_deep=True).wrong == ()
    again = migrate(source, target)
    assert (again.copied, again.snapshot) == (0, report.snapshot)


def test_the_pointer_arrives_last(store: LocalStore, target: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_tables(store, _SPA)
    written: list[str] = []
    for name in ("write_file", "write_bytes", "write_if"):
        monkeypatch.setattr(target, name, _recording(getattr(target, name), written))
    migrate(store, target)
    data = [key for key in written if not key.startswith(INTERNAL_PREFIX)]
    assert data[-1] == CURRENT_SNAPSHOT_KEY
    assert data.count(CURRENT_SNAPSHOT_KEY) == 1
    assert {item.key for item in target.list()} >= {item.key for item in store.list()}


def _recording(write: Callable[..., Any], written: list[str]) -> Callable[..., Any]:
    def record(key: str, *arguments: Any, **named: Any) -> Any:
        written.append(key)
        return write(key, *arguments, **named)

    return record


def test_what_was_published_since_the_last_migration_is_brought_along(store: LocalStore, target: LocalStore) -> None:
    publish_tables(store, _SPA, "v1")
    migrate(store, target)
    snapshot = publish_tables(store, SessionKey("spa", "R2"), "v2")
    report = migrate(store, target)
    assert report.snapshot == snapshot.id
    assert verify_lake(target).wrong == ()


def test_a_lake_that_changes_during_a_pass_is_looked_at_again(
    store: LocalStore, target: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_tables(store, _SPA, "v1")
    write_file, left = target.write_file, [SessionKey("spa", "R2")]

    def publish_once(*arguments: Any, **named: Any) -> Any:
        if left:
            publish_tables(store, left.pop(), "v2")
        return write_file(*arguments, **named)

    monkeypatch.setattr(target, "write_file", publish_once)
    migrate(store, target)
    snapshot = read_current(target)
    assert snapshot is not None
    assert len(snapshot.keys) == 2


@pytest.mark.parametrize("name", ["list", "write_roll_ups", "swap_pointer"])
def test_a_lake_that_changes_between_two_steps_is_published_as_it_was_copied(
    store: LocalStore, target: LocalStore, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    publish_tables(store, _SPA, "v1")
    left = [SessionKey("spa", "R2")]
    changed: Any = store if name == "list" else migration
    step = getattr(changed, name)

    def publish_after(*arguments: Any, **named: Any) -> Any:
        done = list(step(*arguments, **named)) if name == "list" else step(*arguments, **named)
        if left:
            publish_tables(store, left.pop(), "v2")
        return done

    monkeypatch.setattr(changed, name, publish_after)
    report = migrate(store, target)
    assert not left
    published = read_current(target)
    assert published is not None
    assert (report.snapshot, verify_lake(target, is_deep=True).wrong) == (published.id, ())
    again, latest = migrate(store, target), read_current(store)
    assert latest is not None
    assert (again.failures, again.snapshot) == ((), latest.id)


def test_a_record_that_is_removed_before_it_is_read_is_not_missed(
    store: LocalStore, target: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_tables(store, _SPA)
    removed = store.write_bytes("catalog/records/by_hand.txt", b"note").key
    for name in ("read_bytes", "read_with_tag"):
        monkeypatch.setattr(store, name, _removing(store, getattr(store, name), removed))
    report = migrate(store, target)
    assert report.failures == ()
    assert report.snapshot is not None
    assert target.head(removed) is None


def _removing(store: ObjectStore, read: Callable[..., Any], removed: str) -> Callable[..., Any]:
    def remove_and_read(key: str, *arguments: Any) -> Any:
        if key == removed:
            store.delete(key)
        return read(key, *arguments)

    return remove_and_read


@pytest.mark.parametrize("content", [None, b"{"], ids=["missing", "damaged"])
def test_a_pointer_whose_snapshot_has_not_arrived_does_not_stand_in_the_way(
    store: LocalStore, target: LocalStore, content: bytes | None
) -> None:
    snapshot = publish_tables(store, _SPA)
    target.write_bytes(CURRENT_SNAPSHOT_KEY, store.read_bytes(CURRENT_SNAPSHOT_KEY))
    if content is not None:
        target.write_bytes(snapshot_key(snapshot.id), content)
    report = migrate(store, target)
    assert (report.failures, report.snapshot) == ((), snapshot.id)
    assert verify_lake(target, is_deep=True).wrong == ()


def test_what_is_published_in_the_target_while_it_is_looked_at_is_not_overwritten(
    store: LocalStore, target: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_tables(store, _SPA, "v1")
    migrate(store, target)
    publish_tables(store, SessionKey("spa", "R2"), "v2")
    read, left = target.read_with_tag, [{_SPA: Change(None)}]

    def publish_after(key: str, *arguments: Any) -> Any:
        found = read(key, *arguments)
        if key == CURRENT_SNAPSHOT_KEY and left:
            publish(target, left.pop(), NOON, "taken out there")
        return found

    monkeypatch.setattr(target, "read_with_tag", publish_after)
    with pytest.raises(StoreLockedError, match="Another process has published"):
        migrate(store, target)
    published = read_current(target)
    assert published is not None
    assert published.note == "taken out there"


def test_a_damaged_snapshot_is_not_published_elsewhere(store: LocalStore, target: LocalStore) -> None:
    snapshot = publish_tables(store, _SPA)
    store.delete(snapshot_key(snapshot.id))
    with pytest.raises(StoreCorruptionError, match="is missing, although it is named as a snapshot"):
        migrate(store, target)
    assert read_current(target) is None


def test_a_lake_that_never_stands_still_is_given_up_with_the_remedy(
    store: LocalStore, target: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_tables(store, _SPA)
    listing, number = store.list, [0]

    def changing(prefix: str = "") -> Any:
        number[0] += 1
        if not prefix:
            store.write_bytes("data/new.csv", str(number[0]).encode() * 9)
        return listing(prefix)

    monkeypatch.setattr(store, "list", changing)
    with pytest.raises(StoreLockedError, match=r"changed during each of 5 passes.*Stop the syncs"):
        migrate(store, target)
    assert read_current(target) is None


def test_a_damaged_object_is_named_and_nothing_is_published(store: LocalStore, target: LocalStore) -> None:
    publish_tables(store, _SPA)
    (damaged,) = [item.key for item in store.list("objects/")][:1]
    path = Path(store.uri, damaged)
    path.write_bytes(b"x" * path.stat().st_size)
    report = migrate(store, target)
    ((key, problem),) = report.failures
    assert key == damaged
    assert "is not what the lake has recorded" in problem
    assert "apex verify --deep" in problem
    assert (report.snapshot, read_current(target)) == (None, None)


@pytest.mark.parametrize("prefix", ["objects/", "catalog/snapshots/shards/", "catalog/snapshots/sessions/"])
def test_a_part_that_the_lake_has_lost_is_named_and_nothing_is_published(
    store: LocalStore, target: LocalStore, prefix: str
) -> None:
    publish_tables(store, _SPA)
    lost = next(store.list(prefix)).key
    store.delete(lost)
    report = migrate(store, target)
    ((key, problem),) = report.failures
    assert lost in f"{key} {problem}"
    assert "apex sync" in problem
    assert (report.snapshot, read_current(target)) == (None, None)


def test_a_damaged_record_is_named(store: LocalStore, target: LocalStore) -> None:
    publish_tables(store, _SPA)
    Path(store.uri, "catalog/records/spa/R1.json").write_text("{", encoding="utf-8")
    ((key, _),) = migrate(store, target).failures
    assert key == "catalog/records/spa/R1.json"


def test_an_object_of_the_target_with_another_content_is_replaced(store: LocalStore, target: LocalStore) -> None:
    publish_tables(store, _SPA)
    raw = raw_key("spa/R1_lap_start.csv")
    target.write_bytes(raw, b"v9")
    migrate(store, target)
    assert target.read_bytes(raw) == b"v1"


def test_another_lake_is_never_migrated_over(store: LocalStore, target: LocalStore) -> None:
    publish_tables(store, _SPA)
    publish_tables(target, SessionKey("sebring", "R1"))
    before = _contents(target)
    with pytest.raises(ConfigurationError, match=r"holds something other than .*data/sebring/R1_lap_start\.csv"):
        migrate(store, target)
    assert _contents(target) == before


def test_a_target_that_has_gone_on_since_is_left_alone(store: LocalStore, target: LocalStore) -> None:
    publish_tables(store, _SPA)
    migrate(store, target)
    publish(target, {_SPA: Change(None)}, NOON, "taken out there")
    with pytest.raises(ConfigurationError, match=r"catalog/snapshots/2026"):
        migrate(store, target)


def test_what_was_forgotten_since_the_last_migration_is_forgotten_in_the_target(
    store: LocalStore, target: LocalStore
) -> None:
    for key in (_SPA, SessionKey("sebring", "R1")):
        publish_tables(store, key)
        write_report(store, key, sealed("<p>").encode(), lambda: None)
    migrate(store, target)
    assert len(list(target.list("reports/"))) == 2
    _forget(store, "spa/R1")
    for item in list(store.list("data/spa/")):  # as `apex gc` does after the retention
        store.delete(item.key)
    assert migrate(store, target).failures == ()
    published = read_current(target)
    assert published is not None
    assert list(published.keys) == [SessionKey("sebring", "R1")]
    assert list(list_records(target)) == ["catalog/records/sebring/R1.json"]
    assert [item.key for item in target.list("tables/") if "/spa/" in item.key] == []
    assert [item.key for item in target.list("reports/")] == ["reports/track=sebring/session=R1/report.html"]
    assert verify_lake(target, is_deep=True).wrong == ()
    assert _contents(target).keys() - _contents(store).keys() == {"data/spa/R1_lap_start.csv"}
    assert migrate(store, target).copied == 0


def test_forgetting_one_session_does_not_make_another_lake_a_copy(store: LocalStore, target: LocalStore) -> None:
    for key in (_SPA, SessionKey("sebring", "R1")):
        publish_tables(store, key)
    publish_tables(target, SessionKey("sonoma", "R1"))
    _forget(store, "spa/R1")
    with pytest.raises(ConfigurationError, match=r"sonoma/R1"):
        migrate(store, target)


def _forget(store: LocalStore, name: str) -> None:
    remove(store, plan_removal(store, name, load_settings()), NOON, lambda _: None)


def test_a_damaged_pointer_in_the_target_is_not_overwritten(store: LocalStore, target: LocalStore) -> None:
    publish_tables(store, _SPA)
    target.write_bytes(CURRENT_SNAPSHOT_KEY, b"{")
    with pytest.raises(ConfigurationError, match=CURRENT_SNAPSHOT_KEY):
        plan_migration(store, target)


def test_two_migrations_to_one_place_do_not_run_at_once(store: LocalStore, target: LocalStore) -> None:
    publish_tables(store, _SPA)
    with held(target, "migration", "migrating"), pytest.raises(StoreLockedError):
        migrate(store, target)


def test_an_empty_lake_and_a_lake_onto_itself_are_refused(store: LocalStore, target: LocalStore) -> None:
    with pytest.raises(ConfigurationError, match="is empty"):
        migrate(store, target)
    publish_tables(store, _SPA)
    with pytest.raises(ConfigurationError, match="both source and target"):
        plan_migration(store, store)


def test_tables_that_nothing_names_do_not_stand_in_the_way(store: LocalStore, target: LocalStore) -> None:
    publish_tables(store, _SPA)
    target.write_bytes(object_key("0" * 64), b"left by a migration before a clean-up")
    assert migrate(store, target).failures == ()


def test_raw_files_without_anything_published_migrate_too(store: LocalStore, target: LocalStore) -> None:
    store.write_bytes(raw_key("spa/laps.csv"), b"lap")
    report = migrate(store, target)
    assert (report.copied, report.snapshot) == (1, None)
    assert target.read_bytes(raw_key("spa/laps.csv")) == b"lap"
