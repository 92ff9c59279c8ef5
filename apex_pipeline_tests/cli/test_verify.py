"""`apex verify`: problems, a row per session, and the exit code, for people and programs."""

import hashlib
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from apex_pipeline.catalog import open_catalog
from apex_pipeline.cli.load_check import load_sessions
from apex_pipeline.lake.integrity import ObjectFinding
from apex_pipeline.lake.publication import Change, publish
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.cli.conftest import Apex
from apex_pipeline_tests.servers.seaweed import S3Bucket

pytestmark = pytest.mark.req("A-117")

_TRACK = "harbor_street_circuit"
_LAP_FILE = f"data/{_TRACK}/R2_harbor_lap_end.csv"
_SESSIONS = [f"{_TRACK}/R1", f"{_TRACK}/R2", "mesa_verde_raceway/R1", "mesa_verde_raceway/R2"]


@pytest.fixture
def damaged(demo_dir: Path, tmp_path: Path) -> Path:
    """A copy of the lake to damage."""
    shutil.copytree(demo_dir / "lake", tmp_path / "damaged")
    return tmp_path / "damaged"


@pytest.mark.req("A-157")
@pytest.mark.parametrize("options", [(), ("--deep",)])
def test_an_intact_lake_passes_with_a_row_per_session(demo_dir: Path, apex: Apex, options: tuple[str, ...]) -> None:
    result = apex("verify", *options)
    assert result.code == 0
    assert "0 with a problem; 4 sessions loaded, 0 failed." in result.out
    assert all(session in result.out for session in _SESSIONS)
    assert "fail" not in result.out.replace("0 failed", "")
    assert ("read to the last byte" in result.out) == bool(options)


def test_verify_json_is_one_document(demo_dir: Path, apex: Apex) -> None:
    report = json.loads(apex("verify", "--deep", "--json").out)
    assert (report["is_good"], report["is_deep"], report["notes"]) == (True, True, [])
    assert report["snapshot"] == open_catalog(report["lake"]).snapshot.id
    assert {finding["problem"] for finding in report["findings"]} == {None}
    assert [row["session"] for row in report["sessions"]] == _SESSIONS
    cells = ("laps", "telemetry", "official_timing", "raw_files")
    assert {row[cell]["is_good"] for row in report["sessions"] for cell in cells} == {True}
    assert report["sessions"][0]["laps"]["said"] == "48 laps"


def test_a_missing_raw_file_fails_its_session_with_exit_code_1(apex: Apex, damaged: Path) -> None:
    (damaged / _LAP_FILE).unlink()
    result = apex("verify", "--lake", str(damaged))
    assert result.code == 1
    assert f"{_LAP_FILE}: is gone from the lake" in result.out
    assert "1 of 11 wrong" in result.out
    assert "1 with a problem; 4 sessions loaded, 1 failed." in result.out
    assert "apex sync" in result.out
    report = json.loads(apex("verify", "--lake", str(damaged), "--json").out)
    assert [finding["key"] for finding in report["findings"] if finding["problem"]] == [_LAP_FILE]
    assert [row["session"] for row in report["sessions"] if not row["is_good"]] == [f"{_TRACK}/R2"]


@pytest.mark.parametrize(
    ("table", "cell"), [("laps", "laps"), ("telemetry", "telemetry"), ("weather", "official_timing")]
)
def test_a_missing_table_fails_its_cell(apex: Apex, damaged: Path, table: str, cell: str) -> None:
    session = open_catalog(damaged).snapshot.session(SessionKey(_TRACK, "R1"))
    assert session is not None
    (damaged / "tables" / table / f"track={_TRACK}" / "session=R1" / f"{table}.parquet").unlink()
    (damaged / "objects" / f"{session.tables[table].sha256}.parquet").unlink()
    report = json.loads(apex("verify", "--lake", str(damaged), "--json").out)
    failed = {
        (row["session"], name)
        for row in report["sessions"]
        for name in ("laps", "telemetry", "official_timing", "raw_files")
        if row[name]["is_good"] is False
    }
    assert failed == {(f"{_TRACK}/R1", cell)}


@pytest.mark.parametrize(
    ("gone", "loaded"), [("current.json", 0), ("sessions.parquet", 4), ("snapshots", 0), ("snapshots/shards", 0)]
)
def test_an_unreadable_catalog_fails_without_a_traceback(apex: Apex, damaged: Path, gone: str, loaded: int) -> None:
    target = damaged / "catalog" / gone
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    result = apex("verify", "--lake", str(damaged))
    assert result.code == 1
    assert f"catalog/{gone}" in result.out
    assert f"{loaded} sessions loaded" in result.out
    assert json.loads(apex("verify", "--lake", str(damaged), "--json").out)["is_good"] is False


def test_an_unpublished_session_fails(apex: Apex, damaged: Path) -> None:
    store = LocalStore(damaged, DigestCache())
    publish(store, {SessionKey(_TRACK, "R1"): Change(None)}, datetime.now(UTC))
    catalog = open_catalog(damaged)
    rows = load_sessions(catalog, [ObjectFinding("data/x.csv", "raw file", _SESSIONS[0], None)])
    assert [row.is_good for row in rows] == [False, True, True, True]
    assert "is not published" in rows[0].laps.message
    assert (rows[0].raw_files.is_good, rows[1].raw_files.is_good) == (True, None)


def test_missing_rows_fail_only_if_the_session_has_files_for_them(
    demo_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = open_catalog(demo_dir / "lake")
    read = catalog.table_arrow
    monkeypatch.setattr(
        catalog, "table_arrow", lambda name, *key: read(name, *key).slice(0, 0 if name == "laps" else None)
    )
    monkeypatch.setattr(catalog, "rows", lambda *_: 0)
    (first, *_) = load_sessions(catalog, [])
    assert (first.laps.is_good, first.laps.message) == (False, "no rows")
    assert first.telemetry.is_good is False
    sessions = catalog.list_arrow("sessions")
    kinds = pa.array([["weather"]] * len(sessions), sessions["kinds"].type)
    of_weather = sessions.set_column(sessions.schema.get_field_index("kinds"), "kinds", kinds)
    monkeypatch.setattr(catalog, "list_arrow", lambda *_: of_weather)
    (first, *_) = load_sessions(catalog, [])
    assert (first.laps.is_good, first.laps.message) == (None, "none")
    assert first.telemetry.is_good is None
    assert first.is_good


def test_a_long_list_of_notes_is_truncated(apex: Apex, damaged: Path) -> None:
    for number in range(25):
        (damaged / "data" / f"new_{number:02}.csv").write_text("x")
    result = apex("verify", "--lake", str(damaged))
    assert result.code == 0
    assert result.out.count("is not in any record") == 20
    assert "and 5 more; --json prints them all" in result.out


def test_an_unreadable_session_list_with_intact_objects_is_an_error(
    demo_dir: Path, apex: Apex, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("the disk went away")

    monkeypatch.setattr("apex_pipeline.cli.verify.load_sessions", fail)
    result = apex("verify")
    assert result.code == 2
    assert "the disk went away" in result.error


def test_an_empty_lake_is_an_error(tmp_path: Path, apex: Apex) -> None:
    result = apex("verify")
    assert result.code == 2
    assert "Nothing is published" in result.error


@pytest.mark.req("A-120")
def test_the_same_sessions_load_after_moving_to_a_bucket_and_back(
    demo_dir: Path, apex: Apex, s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = json.loads(apex("verify", "--json").out)["sessions"]
    for path in (path for path in (demo_dir / "lake").rglob("*") if path.is_file() and ".incoming" not in path.parts):
        key, content = path.relative_to(demo_dir / "lake").as_posix(), path.read_bytes()
        digest = {"sha256": hashlib.sha256(content).hexdigest()}
        s3_bucket.client.put_object(Bucket=s3_bucket.name, Key=key, Body=content, Metadata=digest)
    for name, value in s3_bucket.environment.items():
        monkeypatch.setenv(name, value)
    moved = json.loads(apex("verify", "--deep", "--json").out)
    assert (moved["is_good"], moved["lake"]) == (True, f"s3://{s3_bucket.name}")
    assert moved["sessions"] == rows
    monkeypatch.setenv("USE_S3_DATA", "false")
    assert json.loads(apex("verify", "--json").out)["sessions"] == rows


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_the_former_spelling_prints_the_accuracy_with_a_warning(
    demo_dir: Path, apex: Apex, words: tuple[str, ...]
) -> None:
    old, new = apex("verify", "--truth", *words), apex("accuracy", *words)
    assert (old.code, old.out, new.error) == (new.code, new.out, "")
    assert old.error.splitlines() == [
        "`apex verify --truth` is now `apex accuracy`; the old spelling will be removed in the next release."
    ]
    assert "--truth" not in apex("verify", "--help").out
