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
from apex_pipeline.lake.forgotten import ForgottenFile, change_forgotten
from apex_pipeline.lake.integrity import LakeReport, verify_lake
from apex_pipeline.lake.publication import Change, publish
from apex_pipeline.lake.published_session import PublishedSession
from apex_pipeline.lake.session_reports import sealed, write_report
from apex_pipeline.lake.snapshot import Snapshot
from apex_pipeline.lake.tables import require_session, require_snapshot
from apex_pipeline.storage.base import ObjectInfo, ObjectStore
from apex_pipeline.storage.layout import (
    CURRENT_SNAPSHOT_KEY,
    history_key,
    object_key,
    published_session_key,
    raw_key,
    record_key,
    report_key,
    shard_key,
    snapshot_key,
    table_key,
)
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.lake.derived import open_lake, publish_folder
from apex_pipeline_tests.lake.tables import NOON, derive_tables, publish_tables
from apex_pipeline_tests.servers.seaweed import S3Bucket
from apex_pipeline_tests.storage.s3.harness import connect, store_of

pytestmark = pytest.mark.req("A-117")

_TRACK = "harbor_street_circuit"
_R1 = SessionKey(_TRACK, "R1")
_LAP_FILE = raw_key(f"{_TRACK}/R1_harbor_lap_end.csv")


def _stable_name(table: str) -> str:
    return table_key("tables", table, str(_R1))


def _object(store: ObjectStore, table: str, key: SessionKey = _R1) -> str:
    return object_key(require_session(require_snapshot(store), key).tables[table].sha256)


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


def _publish_changed(store: ObjectStore, change: Callable[[PublishedSession], PublishedSession]) -> Snapshot:
    """Publish a modified record of a session."""
    session = require_session(require_snapshot(store), _R1)
    return publish(store, {_R1: Change(change(session))}, NOON + timedelta(hours=1))


@pytest.mark.parametrize("is_deep", [False, True])
def test_every_object_of_an_intact_lake_is_checked_without_a_problem(lake: LocalStore, *, is_deep: bool) -> None:
    report = verify_lake(lake, is_deep=is_deep)
    assert {finding.key for finding in report.findings} == {item.key for item in lake.list()}
    assert len(report.findings) == len({finding.key for finding in report.findings})
    assert (report.wrong, report.notes) == ((), ())
    assert report.snapshot == require_snapshot(lake)
    kinds = [finding.kind for finding in report.findings if finding.session == str(_R1)]
    assert (kinds.count("raw file"), kinds.count("stable name"), kinds.count("record")) == (11, 13, 1)


def test_a_table_file_that_sessions_share_is_checked_once(lake: LocalStore) -> None:
    tables = [table for session in require_snapshot(lake).sessions for table in session.tables.values()]
    checked = [finding.key for finding in verify_lake(lake).findings if finding.kind == "table"]
    assert sorted(checked) == sorted({object_key(table.sha256) for table in tables})
    assert len(checked) < len(tables)


def test_a_missing_raw_file_is_found(lake: LocalStore) -> None:
    lake.delete(_LAP_FILE)
    (problem,) = _problems(verify_lake(lake)).items()
    assert problem[0] == _LAP_FILE
    assert problem[1].startswith("is gone from the lake: put it back into the source folder and sync")


def test_a_raw_file_with_the_wrong_size_is_reported(lake: LocalStore) -> None:
    content = lake.read_bytes(_LAP_FILE)
    lake.write_bytes(_LAP_FILE, content + b"\n")
    expected = f"has {len(content) + 1:,} bytes, its record says {len(content):,}"
    assert _problems(verify_lake(lake)) == {_LAP_FILE: expected}


def test_a_raw_file_with_different_content_of_the_same_size_is_reported(lake: LocalStore) -> None:
    lake.write_bytes(_LAP_FILE, lake.read_bytes(_LAP_FILE).replace(b"R1", b"R2", 1))
    assert "its record says" in _problems(verify_lake(lake))[_LAP_FILE]
    assert "has SHA-256" in _problems(verify_lake(lake))[_LAP_FILE]


@pytest.mark.parametrize("what", ["raw file", "laps", "telemetry"])
def test_a_damaged_byte_with_unchanged_times_is_found_by_deep_verification(lake: LocalStore, what: str) -> None:
    key = _LAP_FILE if what == "raw file" else _object(lake, what)
    assert verify_lake(lake).wrong == ()  # every digest is now cached
    _flip_a_byte(Path(lake.uri, key))
    assert list(_problems(verify_lake(lake, is_deep=True))) == [key]
    assert "SHA-256" in _problems(verify_lake(lake, is_deep=True))[key]


@pytest.mark.parametrize("table", ["laps", "telemetry"])
def test_a_missing_table_file_is_found(lake: LocalStore, table: str) -> None:
    key = _object(lake, table)
    lake.delete(key)
    assert _problems(verify_lake(lake)) == {key: "is gone from the lake; `apex sync` makes it again"}


def test_a_table_file_replaced_by_another_is_found(lake: LocalStore) -> None:
    key = _object(lake, "laps")
    lake.write_bytes(key, lake.read_bytes(_object(lake, "laps", SessionKey(_TRACK, "R2"))))
    assert _problems(verify_lake(lake))[key].startswith("is damaged: has SHA-256 ")


@pytest.mark.parametrize("damage", ["missing", "foreign"])
def test_a_stable_name_that_is_not_the_published_table_is_found(lake: LocalStore, damage: str) -> None:
    key = _stable_name("laps")
    if damage == "missing":
        lake.delete(key)
    else:
        lake.write_bytes(key, lake.read_bytes(_stable_name("cars")))
    (found,) = verify_lake(lake).wrong
    assert (found.key, found.kind, found.session) == (key, "stable name", str(_R1))
    assert str(found.problem).endswith("`apex sync` copies the published table here")


def test_a_session_published_without_a_table_that_others_have_is_found(lake: LocalStore) -> None:
    _publish_changed(
        lake, lambda old: replace(old, tables={name: table for name, table in old.tables.items() if name != "cars"})
    )
    problem = "is missing from the published snapshot; a sync derives the session again"
    assert _problems(verify_lake(lake)) == {_stable_name("cars"): problem}


def test_a_table_that_violates_its_schema_is_found(lake: LocalStore) -> None:
    _publish_changed(lake, lambda old: replace(old, tables={**old.tables, "laps": old.tables["cars"]}))
    problems = " ".join(_problems(verify_lake(lake)).values())
    assert "column vehicle_id is missing" not in problems
    assert "column lap_number is missing" in problems
    assert "is not declared" in problems


def test_a_table_with_the_wrong_row_count_is_reported(lake: LocalStore) -> None:
    _publish_changed(
        lake, lambda old: replace(old, tables={**old.tables, "laps": replace(old.tables["laps"], rows=1_000)})
    )
    assert _problems(verify_lake(lake)) == {_object(lake, "laps"): "has 48 rows, the snapshot says 1,000"}


def test_a_table_with_the_wrong_size_is_reported(lake: LocalStore) -> None:
    _publish_changed(
        lake, lambda old: replace(old, tables={**old.tables, "laps": replace(old.tables["laps"], bytes=7)})
    )
    assert "bytes, the snapshot says 7" in _problems(verify_lake(lake))[_object(lake, "laps")]


def test_a_missing_pointer_is_found(lake: LocalStore) -> None:
    lake.delete(CURRENT_SNAPSHOT_KEY)
    report = verify_lake(lake)
    assert report.snapshot is None
    assert "is missing although there are snapshots" in _problems(report)[CURRENT_SNAPSHOT_KEY]
    assert len(report.findings) > 50


def test_a_missing_snapshot_is_found(lake: LocalStore) -> None:
    lake.delete(snapshot_key(require_snapshot(lake).id))
    report = verify_lake(lake)
    assert report.snapshot is None
    assert "is missing, although it is named as a snapshot" in _problems(report)[CURRENT_SNAPSHOT_KEY]


def test_a_damaged_snapshot_is_found(lake: LocalStore) -> None:
    key = snapshot_key(require_snapshot(lake).id)
    lake.write_bytes(key, b"{")
    assert set(_problems(verify_lake(lake))) == {CURRENT_SNAPSHOT_KEY, key}
    assert "is damaged" in _problems(verify_lake(lake))[key]


def test_a_damaged_part_hides_only_what_it_leads_to(lake: LocalStore) -> None:
    snapshot = require_snapshot(lake)
    entry = snapshot.entry(_R1)
    assert entry is not None
    record = published_session_key(entry.record)
    lake.write_bytes(record, b"{}")
    lake.delete(_LAP_FILE)
    report = verify_lake(lake)
    assert set(_problems(report)) == {record, _LAP_FILE}
    lake.write_bytes(shard_key(snapshot.shards[0]), b"{}")
    assert set(_problems(verify_lake(lake))) == {shard_key(snapshot.shards[0]), record, _LAP_FILE}


def test_a_lake_without_a_published_snapshot_raises(store: LocalStore) -> None:
    with pytest.raises(ObjectMissingError, match="Nothing is published"):
        verify_lake(store)


@pytest.mark.parametrize("table", ["files", "tracks", "sessions"])
@pytest.mark.parametrize("damage", ["missing", "garbage", "other table"])
def test_a_damaged_roll_up_is_found(lake: LocalStore, table: str, damage: str) -> None:
    key = f"catalog/{table}.parquet"
    if damage == "missing":
        lake.delete(key)
    elif damage == "garbage":
        lake.write_bytes(key, b"PAR1 not parquet")
    else:
        lake.write_bytes(key, lake.read_bytes(_object(lake, "laps")))
    (found,) = verify_lake(lake).wrong
    assert (found.key, found.kind) == (key, "catalog")
    assert str(found.problem).endswith("`apex sync` makes it again from the session records")


@pytest.mark.parametrize("damage", ["missing", "garbage", "another session", "other files"])
def test_a_damaged_record_is_found_and_its_raw_files_are_still_checked(lake: LocalStore, damage: str) -> None:
    key = record_key(str(_R1))
    if damage == "missing":
        lake.delete(key)
    elif damage == "garbage":
        lake.write_bytes(key, b"[" * 10_000)
    elif damage == "another session":
        lake.copy(record_key(f"{_TRACK}/R2"), key)
    else:
        document = json.loads(lake.read_bytes(key))
        document["files"] = document["files"][1:]
        lake.write_bytes(key, json.dumps(document).encode())
    lake.delete(_LAP_FILE)
    found = {finding.key: finding for finding in verify_lake(lake).wrong}
    assert set(found) == {key, _LAP_FILE}
    assert found[key].kind == "record"


@pytest.mark.parametrize("damage", ["garbage", "lost table"])
def test_a_damaged_list_of_derived_tables_is_found(store: LocalStore, damage: str) -> None:
    publish_tables(store, _R1)
    derive_tables(store, _R1, "v2", laps=7, only=["laps"])
    key = f"catalog/derived/{_R1}.json"
    assert verify_lake(store).wrong == ()
    if damage == "garbage":
        store.write_bytes(key, b"{}")
    else:
        sha256 = json.loads(store.read_bytes(key))["tables"]["laps"]["sha256"]
        store.delete(object_key(sha256))
    (found,) = verify_lake(store).wrong
    assert (found.key, found.kind, found.session) == (key, "derived tables", str(_R1))


def test_tables_referenced_only_by_an_older_snapshot_are_checked(store: LocalStore) -> None:
    laps = require_session(publish_tables(store, _R1, laps=2), _R1).tables["laps"]
    publish_tables(store, _R1, "v2", laps=5, now=NOON + timedelta(hours=1))
    assert verify_lake(store, is_deep=True).wrong == ()
    store.delete(object_key(laps.sha256))
    (wrong,) = verify_lake(store).wrong
    assert (wrong.key, wrong.kind, wrong.session) == (object_key(laps.sha256), "earlier table", None)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("data/barber/new.csv", "is not in any record: the next sync adds it"),
        ("tables/laps/track=spa/session=R1/laps.parquet", "does not belong to a published session"),
        (object_key("0" * 64), "is not referenced by any snapshot"),
        (history_key("0" * 64), "is not referenced by any snapshot"),
        (shard_key("0" * 64), "is not referenced by any snapshot"),
        (published_session_key("0" * 64), "is not referenced by any snapshot"),
        ("catalog/snapshots/20200101T000000Z-00000000/files.parquet", "does not belong to a snapshot"),
        ("catalog/records/readme.txt", "is not the record of a session"),
        ("catalog/records/Spa/R1.json", "is not the record of a session"),
        ("catalog/derived/notes.json", "is not the list of a session's derived tables"),
        ("catalog/else.parquet", "is not part of the catalog"),
        (report_key("spa/R9"), "is not the report of a published session"),
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


def test_a_file_that_was_taken_out_is_a_note_until_its_bytes_are_removed(lake: LocalStore) -> None:
    change_forgotten(lake, [("barber/new.csv", ForgottenFile(None, datetime.now(UTC)))])
    lake.write_bytes("data/barber/new.csv", b"x")
    report = verify_lake(lake)
    assert report.wrong == ()
    assert [(note.key, note.note) for note in report.notes] == [
        ("data/barber/new.csv", "was taken out with `apex forget`; `apex gc` removes it once it expires")
    ]


def test_a_damaged_list_of_files_taken_out_is_found(lake: LocalStore) -> None:
    lake.write_bytes("catalog/forgotten.json", b'{"files": 7}')
    (found,) = verify_lake(lake).wrong
    assert (found.key, found.kind) == ("catalog/forgotten.json", "forgotten files")


@pytest.mark.parametrize("damage", ["missing", "garbage", "other file"])
def test_a_damaged_quarantine_reason_is_found(lake: LocalStore, damage: str) -> None:
    key = next(item.key for item in lake.list("quarantine/"))
    if damage == "missing":
        lake.delete(key)
    else:
        lake.write_bytes(key, b"[" * 10_000 if damage == "garbage" else b'{"object": "data/x.csv"}')
    (found,) = verify_lake(lake).wrong
    assert (found.key, found.kind) == (key, "quarantine reason")


@pytest.mark.parametrize("damage", ["missing", "cut", "a flipped byte", "another page"])
def test_a_damaged_report_is_found_by_deep_verification(lake: LocalStore, damage: str) -> None:
    page = sealed("<p>All of it</p>\n").encode()
    key = write_report(lake, _R1, page, lambda: None).key
    assert verify_lake(lake, is_deep=True).wrong == ()
    if damage == "missing":
        lake.delete(key)
    elif damage == "a flipped byte":
        _flip_a_byte(Path(lake.uri, key))
    else:
        lake.write_bytes(key, page[:-30] if damage == "cut" else b"<p>Another</p>")
    found = [(one.key, one.kind, one.session) for one in verify_lake(lake, is_deep=True).wrong]
    # A report that is not there is no damage: it is made when somebody asks for it.
    assert found == ([] if damage == "missing" else [(key, "report", str(_R1))])


def test_leases_and_objects_of_other_programs_are_ignored(lake: LocalStore) -> None:
    lake.write_bytes("xml-events/2026/event.xml", b"<x/>")
    lake.write_bytes(".apex/leases/gc.json", b"x")
    lake.write_bytes("reports/2026/season.html", b"<p>")
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


def test_what_a_sync_replaces_meanwhile_is_no_problem(lake: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sync publishes a session between the listing and the look at its stable names."""
    head, key = LocalStore.head, _stable_name("laps")

    def publish_before(self: LocalStore, wanted: str) -> ObjectInfo | None:
        if wanted == key:
            monkeypatch.setattr(LocalStore, "head", head)
            publish_tables(lake, _R1, "later", laps=9, now=NOON + timedelta(hours=2))
        return head(self, wanted)

    monkeypatch.setattr(LocalStore, "head", publish_before)
    report = verify_lake(lake)
    assert [finding for finding in report.wrong if finding.kind != "raw file"] == []
    assert report.snapshot == require_snapshot(lake)


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


@pytest.mark.parametrize("what", ["raw file", "telemetry"])
def test_a_damaged_byte_in_a_bucket_is_found_by_deep_verification(
    bucket_lake: ObjectStore, s3_bucket: S3Bucket, what: str
) -> None:
    key = _LAP_FILE if what == "raw file" else _object(bucket_lake, what)
    _damage_in_bucket(s3_bucket, key)
    assert verify_lake(bucket_lake).wrong == ()  # size and metadata are unchanged
    (wrong,) = verify_lake(bucket_lake, is_deep=True).wrong
    assert wrong.key == key
    assert "is damaged" in str(wrong.problem)


def test_wrong_metadata_of_an_object_is_found_with_the_digest_in_the_record(
    bucket_lake: ObjectStore, s3_bucket: S3Bucket
) -> None:
    content = bucket_lake.read_bytes(_LAP_FILE).replace(b"R1", b"R2", 1)
    metadata = s3_bucket.client.head_object(Bucket=s3_bucket.name, Key=_LAP_FILE)["Metadata"]
    bucket_lake.write_bytes(_LAP_FILE, content)
    assert "its record says" in _problems(verify_lake(bucket_lake))[_LAP_FILE]
    s3_bucket.client.put_object(Bucket=s3_bucket.name, Key=_LAP_FILE, Body=content, Metadata=metadata)
    assert list(_problems(verify_lake(bucket_lake, is_deep=True))) == [_LAP_FILE]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (_LAP_FILE, "is gone from the lake"),
        (_stable_name("laps"), "is gone from the lake; `apex sync` copies the published table here"),
        (CURRENT_SNAPSHOT_KEY, "is missing although there are snapshots"),
    ],
)
def test_an_object_missing_in_a_bucket_is_found(bucket_lake: ObjectStore, key: str, expected: str) -> None:
    bucket_lake.delete(key)
    assert expected in _problems(verify_lake(bucket_lake))[key]


def test_a_table_replaced_in_a_bucket_by_another_program_is_found(
    bucket_lake: ObjectStore, s3_bucket: S3Bucket
) -> None:
    key = _object(bucket_lake, "laps")
    s3_bucket.client.put_object(Bucket=s3_bucket.name, Key=key, Body=b"PAR1")
    assert "is damaged: has no SHA-256, the snapshot says" in _problems(verify_lake(bucket_lake))[key]


def test_a_changed_file_without_a_digest_is_detected_by_its_version_tag(
    bucket_lake: ObjectStore, s3_bucket: S3Bucket, tmp_path: Path
) -> None:
    content = bucket_lake.read_bytes(_LAP_FILE) + b"\n"
    s3_bucket.client.put_object(Bucket=s3_bucket.name, Key=_LAP_FILE, Body=content)
    publish_folder(bucket_lake, None, tmp_path, now=NOON + timedelta(hours=1))
    report = verify_lake(bucket_lake, is_deep=True)
    assert _LAP_FILE not in _problems(report)
    assert [note.key for note in report.notes if "without a SHA-256" in note.note] == [_LAP_FILE]
    s3_bucket.client.put_object(Bucket=s3_bucket.name, Key=_LAP_FILE, Body=content.replace(b"R1", b"R2", 1))
    assert "was rewritten after it was recorded" in _problems(verify_lake(bucket_lake))[_LAP_FILE]


def test_a_snapshot_in_a_newer_format_is_a_finding_with_a_hint(lake: LocalStore) -> None:
    key = snapshot_key("20990101T000000Z-00000000")
    lake.write_bytes(key, json.dumps({"format": 99}).encode())
    assert "this version reads up to 2" in _problems(verify_lake(lake))[key]
