"""`apex bundle` and `apex export`: contents, size, and how to read the result."""

import json
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

from apex_pipeline_tests.cli.conftest import Apex

_TRACK = "harbor_street_circuit"


@pytest.mark.req("A-118")
def test_every_command_reads_a_bundle_like_a_lake(demo_dir: Path, tmp_path: Path, apex: Apex) -> None:
    bundle = str(tmp_path / "part")
    result = apex("bundle", bundle, "--tracks", _TRACK, "--sessions", "R1,R2", "--raw")
    assert result.code == 0
    assert f"{_TRACK}/R1: 13 tables" in result.out
    assert "2 sessions with the raw files" in result.out
    assert f"To read it: apex tracks --lake {bundle}" in result.out
    assert apex("laps", _TRACK, "R1", "--lake", bundle, "--json").out == apex("laps", _TRACK, "R1", "--json").out
    assert apex("verify", "--deep", "--lake", bundle).code == 0


@pytest.mark.req("A-118")
def test_verify_passes_a_bundle_without_telemetry(demo_dir: Path, tmp_path: Path, apex: Apex) -> None:
    bundle = str(tmp_path / "part")
    facts = json.loads(apex("bundle", bundle, "--tables", "laps, cars", "--json").out)
    assert (facts["tables"], len(facts["sessions"]), facts["has_raw_files"]) == (["laps", "cars"], 4, False)
    report = json.loads(apex("verify", "--lake", bundle, "--json").out)
    assert report["is_good"] is True
    assert {row["telemetry"]["said"] for row in report["sessions"]} == {"not in this lake"}


@pytest.mark.req("A-118")
def test_a_zip_bundle_prints_how_to_read_it(demo_dir: Path, tmp_path: Path, apex: Apex) -> None:
    result = apex("bundle", str(tmp_path / "part.zip"), "--tracks", _TRACK)
    assert "without raw files" in result.out
    assert "To read it: apex tracks --lake " in result.out
    with zipfile.ZipFile(tmp_path / "part.zip") as archive:
        assert archive.testzip() is None
        assert "catalog/current.json" in archive.namelist()


def test_an_unknown_track_is_an_error(demo_dir: Path, tmp_path: Path, apex: Apex) -> None:
    result = apex("bundle", str(tmp_path / "part"), "--tracks", "spa")
    assert result.code == 2
    assert "has no track spa" in result.error


@pytest.mark.req("A-142")
def test_an_export_prints_the_row_count_of_every_table(demo_dir: Path, tmp_path: Path, apex: Apex) -> None:
    result = apex("export", str(tmp_path / "lake.db"), "--to", "sqlite")
    assert result.code == 0
    assert "15 tables" in result.out
    with closing(sqlite3.connect(tmp_path / "lake.db")) as connection:
        (laps,) = connection.execute("SELECT count(*) FROM laps").fetchone()
    assert f"laps: {laps} rows" in result.out


@pytest.mark.req("A-142")
def test_a_csv_export_is_a_folder(demo_dir: Path, tmp_path: Path, apex: Apex) -> None:
    words = ("export", str(tmp_path / "csv"), "--to", "csv", "--tables", "telemetry,cars", "--json")
    facts = json.loads(apex(*words).out)
    assert [table["name"] for table in facts["tables"]] == ["cars", "telemetry"]
    assert facts["bytes"] == sum(path.stat().st_size for path in (tmp_path / "csv").iterdir())


@pytest.mark.req("A-142")
def test_an_unknown_export_format_is_an_error(demo_dir: Path, apex: Apex) -> None:
    assert apex("export", "out", "--to", "excel").code == 2
