"""`apex verify` as people and programs see it: what is wrong, a row per session, and the exit code."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from apex_pipeline.catalog import open_catalog
from apex_pipeline.cli.load_check import load_sessions
from apex_pipeline.lake.integrity import ObjectFinding
from apex_pipeline_tests.cli.conftest import Apex
from apex_pipeline_tests.servers.seaweed import S3Bucket

pytestmark = pytest.mark.req("A-117")

_TRACK = "harbor_street_circuit"
_LAP_FILE = f"data/{_TRACK}/R2_harbor_lap_end.csv"
_SESSIONS = [f"{_TRACK}/R1", f"{_TRACK}/R2", "mesa_verde_raceway/R1", "mesa_verde_raceway/R2"]


@pytest.fixture
def damaged(here: Path, tmp_path: Path) -> Path:
    """A copy of the lake to damage."""
    shutil.copytree(here / "lake", tmp_path / "damaged")
    return tmp_path / "damaged"


@pytest.mark.req("A-157")
@pytest.mark.parametrize("how", [(), ("--deep",)])
def test_a_sound_lake_passes_with_a_row_per_session(here: Path, apex: Apex, how: tuple[str, ...]) -> None:
    said = apex("verify", *how)
    assert said.code == 0
    assert "0 with a problem; 4 sessions loaded, 0 failed." in said.out
    assert all(session in said.out for session in _SESSIONS)
    assert "fail" not in said.out.replace("0 failed", "")
    assert ("read to the last byte" in said.out) == bool(how)


def test_everything_is_one_json_document_on_request(here: Path, apex: Apex) -> None:
    report = json.loads(apex("verify", "--deep", "--json").out)
    assert (report["is_good"], report["is_deep"], report["notes"]) == (True, True, [])
    assert report["snapshot"] == open_catalog(report["lake"]).snapshot.id
    assert {finding["problem"] for finding in report["findings"]} == {None}
    assert [row["session"] for row in report["sessions"]] == _SESSIONS
    cells = ("laps", "telemetry", "official_timing", "raw_files")
    assert {row[cell]["is_good"] for row in report["sessions"] for cell in cells} == {True}
    assert report["sessions"][0]["laps"]["said"] == "48 laps"


def test_a_missing_raw_file_is_told_fails_its_session_and_ends_with_one(apex: Apex, damaged: Path) -> None:
    (damaged / _LAP_FILE).unlink()
    said = apex("verify", "--lake", str(damaged))
    assert said.code == 1
    assert f"{_LAP_FILE}: is gone from the lake" in said.out
    assert "fail 1 of 11 wrong" in said.out
    assert "1 with a problem; 4 sessions loaded, 1 failed." in said.out
    assert "apex sync" in said.out
    report = json.loads(apex("verify", "--lake", str(damaged), "--json").out)
    assert [finding["key"] for finding in report["findings"] if finding["problem"]] == [_LAP_FILE]
    assert [row["session"] for row in report["sessions"] if not row["is_good"]] == [f"{_TRACK}/R2"]


@pytest.mark.parametrize(
    ("table", "cell"), [("laps", "laps"), ("telemetry", "telemetry"), ("weather", "official_timing")]
)
def test_a_table_that_is_gone_fails_its_cell(apex: Apex, damaged: Path, table: str, cell: str) -> None:
    (damaged / "tables" / table / f"track={_TRACK}" / "session=R1" / f"{table}.parquet").unlink()
    report = json.loads(apex("verify", "--lake", str(damaged), "--json").out)
    failed = {
        (row["session"], name)
        for row in report["sessions"]
        for name in ("laps", "telemetry", "official_timing", "raw_files")
        if row[name]["is_good"] is False
    }
    assert failed == {(f"{_TRACK}/R1", cell)}


@pytest.mark.parametrize("gone", ["current.json", "sessions.parquet", "snapshots"])
def test_a_lake_whose_state_cannot_be_read_fails_without_a_traceback(apex: Apex, damaged: Path, gone: str) -> None:
    target = damaged / "catalog" / gone
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    said = apex("verify", "--lake", str(damaged))
    assert said.code == 1
    assert f"catalog/{gone}" in said.out or "does not name a readable snapshot" in said.out
    assert "0 sessions loaded" in said.out
    assert json.loads(apex("verify", "--lake", str(damaged), "--json").out)["is_good"] is False


def test_a_session_that_was_never_published_fails(apex: Apex, damaged: Path) -> None:
    catalog = open_catalog(damaged)
    catalog.snapshot = replace(catalog.snapshot, sessions=catalog.snapshot.sessions[1:])
    rows = load_sessions(catalog, [ObjectFinding("data/x.csv", "raw file", _SESSIONS[0], None)])
    assert [row.is_good for row in rows] == [False, True, True, True]
    assert "is not published" in rows[0].laps.message
    assert (rows[0].raw_files.is_good, rows[1].raw_files.is_good) == (True, None)


def test_what_a_session_has_no_files_for_is_no_fault_and_no_rows_of_files_is(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = open_catalog(here / "lake")
    empty = catalog.laps(_TRACK, "R1").head(0)
    monkeypatch.setattr(catalog, "laps", lambda *_: empty)
    monkeypatch.setattr(catalog, "rows", lambda *_: 0)
    (first, *_) = load_sessions(catalog, [])
    assert (first.laps.is_good, first.laps.message) == (False, "no rows")
    assert first.telemetry.is_good is False
    sessions = catalog.sessions()
    sessions["kinds"] = [["weather"]] * len(sessions)
    monkeypatch.setattr(catalog, "sessions", lambda: sessions)
    (first, *_) = load_sessions(catalog, [])
    assert (first.laps.is_good, first.laps.message) == (None, "none")
    assert first.telemetry.is_good is None
    assert first.is_good


def test_many_notes_are_counted(apex: Apex, damaged: Path) -> None:
    for number in range(25):
        (damaged / "data" / f"new_{number:02}.csv").write_text("x")
    said = apex("verify", "--lake", str(damaged))
    assert said.code == 0
    assert said.out.count("is not in the catalog") == 20
    assert "and 5 more; --json prints them all" in said.out


def test_a_session_list_that_cannot_be_read_though_its_objects_are_right_is_an_error(
    here: Path, apex: Apex, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("the disk went away")

    monkeypatch.setattr("apex_pipeline.cli.verify.load_sessions", fail)
    monkeypatch.setattr("sys.argv", ["apex", "verify"])
    with pytest.raises(OSError, match="went away"):
        apex("verify")


def test_a_lake_with_nothing_published_says_what_to_do(tmp_path: Path, apex: Apex) -> None:
    said = apex("verify")
    assert said.code == 2
    assert "Nothing is published" in said.error


@pytest.mark.req("A-120")
def test_the_same_sessions_load_after_the_switch_is_flipped_to_a_bucket_and_back(
    here: Path, apex: Apex, s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = json.loads(apex("verify", "--json").out)["sessions"]
    for path in (path for path in (here / "lake").rglob("*") if path.is_file() and ".incoming" not in path.parts):
        key, content = path.relative_to(here / "lake").as_posix(), path.read_bytes()
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
def test_the_former_spelling_prints_the_accuracy_and_one_line_of_warning(
    here: Path, apex: Apex, words: tuple[str, ...]
) -> None:
    old, new = apex("verify", "--truth", *words), apex("accuracy", *words)
    assert (old.code, old.out, new.error) == (new.code, new.out, "")
    assert old.error.splitlines() == [
        "`apex verify --truth` is now `apex accuracy`; the old spelling will be removed in the next release."
    ]
    assert "--truth" not in apex("verify", "--help").out
