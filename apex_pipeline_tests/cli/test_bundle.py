"""`apex bundle` and `apex export`: what was handed on, its size, and how to read it."""

import json
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

from apex_pipeline_tests.cli.conftest import Apex

_TRACK = "harbor_street_circuit"


@pytest.mark.req("A-118")
def test_a_bundle_is_read_by_every_command_like_a_lake(here: Path, tmp_path: Path, apex: Apex) -> None:
    part = str(tmp_path / "part")
    said = apex("bundle", part, "--tracks", _TRACK, "--sessions", "R1,R2", "--raw")
    assert said.code == 0
    assert f"{_TRACK}/R1: 11 tables" in said.out
    assert "2 sessions with the raw files" in said.out
    assert f"To read it: apex tracks --lake {part}" in said.out
    assert apex("laps", _TRACK, "R1", "--lake", part, "--json").out == apex("laps", _TRACK, "R1", "--json").out
    assert apex("verify", "--deep", "--lake", part).code == 0


@pytest.mark.req("A-118")
def test_a_bundle_of_few_tables_passes_as_what_it_is(here: Path, tmp_path: Path, apex: Apex) -> None:
    part = str(tmp_path / "part")
    facts = json.loads(apex("bundle", part, "--tables", "laps, cars", "--json").out)
    assert (facts["tables"], len(facts["sessions"]), facts["has_raw_files"]) == (["laps", "cars"], 4, False)
    report = json.loads(apex("verify", "--lake", part, "--json").out)
    assert report["is_good"] is True
    assert {row["telemetry"]["said"] for row in report["sessions"]} == {"not in this lake"}


@pytest.mark.req("A-118")
def test_a_bundle_in_a_zip_says_how_to_read_it(here: Path, tmp_path: Path, apex: Apex) -> None:
    said = apex("bundle", str(tmp_path / "part.zip"), "--tracks", _TRACK)
    assert "without raw files" in said.out
    assert "To read it: unpack it" in said.out
    with zipfile.ZipFile(tmp_path / "part.zip") as archive:
        assert archive.testzip() is None
        assert "catalog/current.json" in archive.namelist()


def test_a_track_the_lake_does_not_have_is_told(here: Path, tmp_path: Path, apex: Apex) -> None:
    said = apex("bundle", str(tmp_path / "part"), "--tracks", "spa")
    assert said.code == 2
    assert "has no track spa" in said.error


@pytest.mark.req("A-142")
def test_an_export_tells_the_rows_of_every_table(here: Path, tmp_path: Path, apex: Apex) -> None:
    said = apex("export", str(tmp_path / "lake.db"), "--to", "sqlite")
    assert said.code == 0
    assert "13 tables" in said.out
    with closing(sqlite3.connect(tmp_path / "lake.db")) as connection:
        (laps,) = connection.execute("SELECT count(*) FROM laps").fetchone()
    assert f"laps: {laps} rows" in said.out


@pytest.mark.req("A-142")
def test_an_export_to_csv_is_a_folder(here: Path, tmp_path: Path, apex: Apex) -> None:
    words = ("export", str(tmp_path / "csv"), "--to", "csv", "--tables", "telemetry,cars", "--json")
    facts = json.loads(apex(*words).out)
    assert [table["name"] for table in facts["tables"]] == ["cars", "telemetry"]
    assert facts["bytes"] == sum(path.stat().st_size for path in (tmp_path / "csv").iterdir())


@pytest.mark.req("A-142")
def test_a_format_nobody_knows_is_told(here: Path, apex: Apex) -> None:
    assert apex("export", "out", "--to", "excel").code == 2
