"""Tests that verification finds missing, swapped and damaged objects, in a folder and in a bucket."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from apex_pipeline.demo import GroundTruth
from apex_pipeline.errors import ObjectMissingError, StoreUnavailableError
from apex_pipeline.ingest.catalog import build_files_table, build_sessions_table
from apex_pipeline.lake.integrity import LakeReport, verify_lake
from apex_pipeline.lake.snapshot import SessionRecord, Snapshot, publish, write_snapshot
from apex_pipeline.lake.tables import require_session, require_snapshot
from apex_pipeline.settings import load_settings
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import (
    CURRENT_SNAPSHOT_KEY,
    history_key,
    raw_key,
    snapshot_key,
    snapshot_table_key,
    table_key,
)
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.lake.derived import open_lake, publish_folder
from apex_pipeline_tests.lake.tables import parquet_bytes, put_catalog, put_session, sessions_table
from apex_pipeline_tests.servers.seaweed import S3Bucket
from apex_pipeline_tests.storage.s3.harness import connect, store_of

pytestmark = pytest.mark.req("A-117")

_TRACK = "harbor_street_circuit"
_R1 = SessionKey(_TRACK, "R1")
_LAP_FILE = raw_key(f"{_TRACK}/R1_harbor_lap_end.csv")
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def _table(name: str) -> str:
    return table_key("tables", name, str(_R1))


def _problems(report: LakeReport) -> dict[str, str]:
    return {finding.key: str(finding.problem) for finding in report.wrong}


def _flip_a_byte(path: Path) -> None:
    """Corrupt a file like a bad disk would, without changing its size or modification time."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _publish_intact_session(store: ObjectStore) -> Snapshot:
    """Publish one session of small tables."""
    put_session(store, _R1, "v1", laps=3)
    sessions = sessions_table({_R1: "v1"})
    put_catalog(store, sessions)
    return publish(store, sessions, NOON)


@pytest.mark.parametrize("is_deep", [False, True])
def test_every_object_of_an_intact_lake_is_checked_without_a_problem(lake: LocalStore, *, is_deep: bool) -> None:
    report = verify_lake(lake, is_deep=is_deep)
    assert {finding.key for finding in report.findings} == {item.key for item in lake.list()}
    assert len(report.findings) == len({finding.key for finding in report.findings})
    assert (report.wrong, report.notes) == ((), ())
    assert report.snapshot == require_snapshot(lake)
    kinds = [finding.kind for finding in report.findings if finding.session == str(_R1)]
    assert (kinds.count("raw file"), kinds.count("table")) == (11, 11)


def test_a_missing_raw_file_is_found(lake: LocalStore) -> None:
    lake.delete(_LAP_FILE)
    assert _problems(verify_lake(lake)) == {_LAP_FILE: "is gone from the lake"}


def test_a_raw_file_with_the_wrong_size_is_reported(lake: LocalStore) -> None:
    content = lake.read_bytes(_LAP_FILE)
    lake.write_bytes(_LAP_FILE, content + b"\n")
    expected = f"has {len(content) + 1:,} bytes, the catalog says {len(content):,}"
    assert _problems(verify_lake(lake)) == {_LAP_FILE: expected}


def test_a_raw_file_with_different_content_of_the_same_size_is_reported(lake: LocalStore) -> None:
    lake.write_bytes(_LAP_FILE, lake.read_bytes(_LAP_FILE).replace(b"R1", b"R2", 1))
    assert "the catalog says" in _problems(verify_lake(lake))[_LAP_FILE]
    assert "has SHA-256" in _problems(verify_lake(lake))[_LAP_FILE]


@pytest.mark.parametrize("key", [_LAP_FILE, _table("laps"), _table("telemetry"), "catalog/sessions.parquet"])
def test_a_damaged_byte_with_unchanged_times_is_found_by_deep_verification(lake: LocalStore, key: str) -> None:
    assert verify_lake(lake).wrong == ()  # every digest is now cached
    _flip_a_byte(Path(lake.uri, key))
    assert key in _problems(verify_lake(lake, is_deep=True))
    assert "SHA-256" in _problems(verify_lake(lake, is_deep=True))[key]


@pytest.mark.parametrize("table", ["laps", "quality", "telemetry"])
def test_a_missing_table_is_found(lake: LocalStore, table: str) -> None:
    lake.delete(_table(table))
    assert _problems(verify_lake(lake)) == {_table(table): "is gone from the lake, and from its history"}


def test_a_table_replaced_by_another_is_found(lake: LocalStore) -> None:
    other = table_key("tables", "laps", f"{_TRACK}/R2")
    lake.write_bytes(_table("laps"), lake.read_bytes(other))
    problem = _problems(verify_lake(lake))[_table("laps")]
    assert problem.startswith("differs from the published file (SHA-256 ")
    assert problem.endswith("which is not in the history")


def test_a_newer_table_is_not_a_problem_while_the_published_one_is_in_the_history(lake: LocalStore) -> None:
    published = require_session(require_snapshot(lake), _R1).tables["laps"]
    lake.copy(published.key, history_key(published.sha256))
    lake.write_bytes(published.key, lake.read_bytes(table_key("tables", "laps", f"{_TRACK}/R2")))
    assert verify_lake(lake, is_deep=True).wrong == ()
    _flip_a_byte(Path(lake.uri, history_key(published.sha256)))
    assert "is damaged" in _problems(verify_lake(lake, is_deep=True))[published.key]


def _publish_changed(store: LocalStore, change: Callable[[SessionRecord], SessionRecord]) -> None:
    """Republish the lake's snapshot with a modified session record."""
    snapshot = require_snapshot(store)
    session = require_session(snapshot, _R1)
    others = tuple(record for record in snapshot.sessions if record.key != _R1)
    write_snapshot(store, replace(snapshot, sessions=(change(session), *others)))


def test_a_session_published_without_a_table_that_others_have_is_found(lake: LocalStore) -> None:
    _publish_changed(
        lake, lambda old: replace(old, tables={name: table for name, table in old.tables.items() if name != "cars"})
    )
    assert _problems(verify_lake(lake)) == {_table("cars"): "is missing from the published snapshot"}


def test_a_table_that_violates_its_schema_is_found(lake: LocalStore) -> None:
    _publish_changed(lake, lambda old: replace(old, tables={**old.tables, "laps": old.tables["weather"]}))
    problem = _problems(verify_lake(lake))[_table("laps")]
    assert "column vehicle_id is missing" in problem
    assert "column observed_utc is not declared" in problem


def test_a_table_with_the_wrong_row_count_is_reported(lake: LocalStore) -> None:
    _publish_changed(
        lake, lambda old: replace(old, tables={**old.tables, "laps": replace(old.tables["laps"], rows=1_000)})
    )
    assert _problems(verify_lake(lake)) == {_table("laps"): "has 48 rows, the snapshot says 1,000"}


def test_a_table_with_the_wrong_size_is_reported(lake: LocalStore) -> None:
    _publish_changed(
        lake, lambda old: replace(old, tables={**old.tables, "laps": replace(old.tables["laps"], bytes=7)})
    )
    assert _problems(verify_lake(lake))[_table("laps")].endswith("bytes, the snapshot says 7")


def test_a_table_that_is_not_parquet_is_found(lake: LocalStore) -> None:
    facts = lake.write_bytes(_table("laps"), b"not a file")
    _publish_changed(
        lake,
        lambda old: replace(
            old, tables={**old.tables, "laps": replace(old.tables["laps"], sha256=str(facts.sha256), bytes=10)}
        ),
    )
    assert _problems(verify_lake(lake))[_table("laps")].startswith("cannot be read: ")


def test_a_missing_pointer_is_found(lake: LocalStore) -> None:
    lake.delete(CURRENT_SNAPSHOT_KEY)
    report = verify_lake(lake)
    assert report.snapshot is None
    assert "is missing although there are snapshots" in _problems(report)[CURRENT_SNAPSHOT_KEY]


def test_a_missing_snapshot_is_found(lake: LocalStore) -> None:
    lake.delete(snapshot_key(require_snapshot(lake).id))
    report = verify_lake(lake)
    assert report.snapshot is None
    assert "does not name a readable snapshot" in _problems(report)[CURRENT_SNAPSHOT_KEY]


def test_a_damaged_snapshot_is_found(lake: LocalStore) -> None:
    key = snapshot_key(require_snapshot(lake).id)
    lake.write_bytes(key, b"{")
    assert set(_problems(verify_lake(lake))) == {CURRENT_SNAPSHOT_KEY, key}
    assert "is not a readable snapshot" in _problems(verify_lake(lake))[key]


def test_a_lake_without_a_published_snapshot_raises(store: LocalStore) -> None:
    with pytest.raises(ObjectMissingError, match="Nothing is published"):
        verify_lake(store)


def test_a_missing_catalog_table_is_found_and_its_copy_is_intact(lake: LocalStore) -> None:
    lake.delete("catalog/files.parquet")
    assert _problems(verify_lake(lake)) == {"catalog/files.parquet": "is gone from the lake, and from its history"}


def test_a_snapshot_without_the_files_table_is_found(lake: LocalStore) -> None:
    snapshot = require_snapshot(lake)
    write_snapshot(lake, replace(snapshot, catalog={"tracks": snapshot.catalog["tracks"]}))
    assert set(_problems(verify_lake(lake))) == {"catalog/files.parquet", "catalog/sessions.parquet"}


@pytest.mark.parametrize("damage", ["gone", "swapped"])
def test_a_snapshots_copy_of_a_catalog_table_is_checked(lake: LocalStore, damage: str) -> None:
    copy_key = snapshot_table_key(require_snapshot(lake).id, "tracks")
    if damage == "gone":
        lake.delete(copy_key)
    else:
        lake.write_bytes(copy_key, b"another")
    expected = {"gone": "is gone from the lake", "swapped": "the snapshot says"}[damage]
    assert list(_problems(verify_lake(lake))) == [copy_key]
    assert expected in _problems(verify_lake(lake))[copy_key]


def test_tables_referenced_only_by_an_older_snapshot_are_checked(store: LocalStore) -> None:
    first = _publish_intact_session(store)
    laps = require_session(first, _R1).tables["laps"]
    for record in require_session(first, _R1).tables.values():
        store.copy(record.key, history_key(record.sha256))
    store.copy(first.catalog["sessions"].key, history_key(first.catalog["sessions"].sha256))
    put_session(store, _R1, "v2", laps=5)
    sessions = sessions_table({_R1: "v2"})
    put_catalog(store, sessions)
    publish(store, sessions, NOON + timedelta(hours=1))
    assert verify_lake(store, is_deep=True).wrong == ()
    store.delete(history_key(laps.sha256))
    (wrong,) = verify_lake(store).wrong
    assert (wrong.key, wrong.kind, wrong.session) == (laps.key, "earlier table", None)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("data/barber/new.csv", "is not in the catalog: the next sync adds it"),
        ("tables/laps/track=spa/session=R1/laps.parquet", "does not belong to a published session"),
        (history_key("0" * 64), "is not referenced by any snapshot"),
        ("catalog/snapshots/20200101T000000Z-00000000/files.parquet", "does not belong to a snapshot"),
        ("catalog/else.parquet", "is not part of the catalog"),
        ("quarantine/else.reason.json", "is the quarantine reason of a file that is not quarantined"),
    ],
)
def test_an_orphan_is_reported_as_a_note_and_not_as_a_problem(lake: LocalStore, key: str, expected: str) -> None:
    lake.write_bytes(key, b"x")
    report = verify_lake(lake)
    assert report.wrong == ()
    ((note_key, note),) = [(item.key, item.note) for item in report.notes]
    assert note_key == key
    assert expected in note


def test_objects_of_other_programs_are_ignored(lake: LocalStore) -> None:
    lake.write_bytes("xml-events/2026/event.xml", b"<x/>")
    assert verify_lake(lake).notes == ()


def test_an_unavailable_store_raises_instead_of_producing_findings(
    lake: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: LocalStore, key: str) -> None:
        raise StoreUnavailableError(f"{self.uri} is away: {key}.", "Try again.")

    monkeypatch.setattr(LocalStore, "head", fail)
    with pytest.raises(StoreUnavailableError, match="is away"):
        verify_lake(lake)


def test_an_object_that_cannot_be_read_is_a_finding(lake: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: LocalStore, key: str) -> None:
        raise ObjectMissingError(f"{key} went away.", "Try again.")

    monkeypatch.setattr(LocalStore, "open_stream", fail)
    assert _problems(verify_lake(lake, is_deep=True))[_LAP_FILE] == f"{_LAP_FILE} went away."


# In a bucket


@pytest.fixture(scope="module")
def one_session(weekend: tuple[Path, GroundTruth], tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    """A lake with one session of the weekend; read-only."""
    base = tmp_path_factory.mktemp("one-session")
    (base / "files" / _TRACK).mkdir(parents=True)
    for path in (weekend[0] / "files" / _TRACK).glob("*R1*"):
        (base / "files" / _TRACK / path.name).write_bytes(path.read_bytes())
    store = open_lake(base / "lake")
    publish_folder(store, base / "files", base / "scratch")
    return store


@pytest.fixture
def bucket_lake(s3_bucket: S3Bucket, one_session: LocalStore) -> ObjectStore:
    """A bucket with one session of the weekend."""
    store = store_of(connect(s3_bucket))
    for item in one_session.list():
        store.write_bytes(item.key, one_session.read_bytes(item.key))
    return store


def _damage_in_bucket(bucket: S3Bucket, key: str) -> None:
    """Flip a bit and keep the metadata of the object."""
    stored = bucket.client.get_object(Bucket=bucket.name, Key=key)
    content = bytearray(stored["Body"].read())
    content[len(content) // 2] ^= 1
    bucket.client.put_object(Bucket=bucket.name, Key=key, Body=bytes(content), Metadata=stored["Metadata"])


@pytest.mark.parametrize("is_deep", [False, True])
def test_an_intact_bucket_has_no_problems(bucket_lake: ObjectStore, *, is_deep: bool) -> None:
    report = verify_lake(bucket_lake, is_deep=is_deep)
    assert (report.wrong, report.notes) == ((), ())
    assert {finding.key for finding in report.findings} == {item.key for item in bucket_lake.list()}


@pytest.mark.parametrize("key", [_LAP_FILE, _table("telemetry")])
def test_a_damaged_byte_in_a_bucket_is_found_by_deep_verification(
    bucket_lake: ObjectStore, s3_bucket: S3Bucket, key: str
) -> None:
    _damage_in_bucket(s3_bucket, key)
    assert verify_lake(bucket_lake).wrong == ()  # size and metadata are unchanged
    (wrong,) = verify_lake(bucket_lake, is_deep=True).wrong
    assert wrong.key == key
    assert "is damaged" in str(wrong.problem)


def test_wrong_metadata_of_an_object_is_found_with_the_digest_in_the_catalog(
    bucket_lake: ObjectStore, s3_bucket: S3Bucket
) -> None:
    content = bucket_lake.read_bytes(_LAP_FILE).replace(b"R1", b"R2", 1)
    metadata = s3_bucket.client.head_object(Bucket=s3_bucket.name, Key=_LAP_FILE)["Metadata"]
    bucket_lake.write_bytes(_LAP_FILE, content)
    assert "the catalog says" in _problems(verify_lake(bucket_lake))[_LAP_FILE]
    s3_bucket.client.put_object(Bucket=s3_bucket.name, Key=_LAP_FILE, Body=content, Metadata=metadata)
    assert list(_problems(verify_lake(bucket_lake, is_deep=True))) == [_LAP_FILE]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (_LAP_FILE, "is gone from the lake"),
        (_table("laps"), "is gone from the lake, and from its history"),
        (CURRENT_SNAPSHOT_KEY, "is missing although there are snapshots"),
    ],
)
def test_an_object_missing_in_a_bucket_is_found(bucket_lake: ObjectStore, key: str, expected: str) -> None:
    bucket_lake.delete(key)
    assert expected in _problems(verify_lake(bucket_lake))[key]


def test_a_table_replaced_in_a_bucket_by_another_program_is_found(
    bucket_lake: ObjectStore, s3_bucket: S3Bucket
) -> None:
    s3_bucket.client.put_object(Bucket=s3_bucket.name, Key=_table("laps"), Body=b"PAR1")
    assert "differs from the published file (no SHA-256" in _problems(verify_lake(bucket_lake))[_table("laps")]


def test_a_changed_file_without_a_digest_is_detected_by_its_version_tag(
    bucket_lake: ObjectStore, s3_bucket: S3Bucket
) -> None:
    content = bucket_lake.read_bytes(_LAP_FILE)
    s3_bucket.client.put_object(Bucket=s3_bucket.name, Key=_LAP_FILE, Body=content)
    files = build_files_table(bucket_lake, load_settings(), None)
    bucket_lake.write_bytes("catalog/files.parquet", parquet_bytes(files))
    publish(bucket_lake, build_sessions_table(files), NOON + timedelta(hours=1))
    report = verify_lake(bucket_lake, is_deep=True)
    assert _LAP_FILE not in _problems(report)
    assert [note.key for note in report.notes if "without a SHA-256" in note.note] == [_LAP_FILE]
    s3_bucket.client.put_object(Bucket=s3_bucket.name, Key=_LAP_FILE, Body=content.replace(b"R1", b"R2", 1))
    assert "was rewritten after the catalog was built" in _problems(verify_lake(bucket_lake))[_LAP_FILE]


def test_a_snapshot_in_a_newer_format_is_a_finding_with_a_hint(lake: LocalStore) -> None:
    key = snapshot_key("20990101T000000Z-00000000")
    lake.write_bytes(key, json.dumps({"format": 99}).encode())
    assert "update apex_pipeline" in _problems(verify_lake(lake))[key]
