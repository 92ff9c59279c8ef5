"""Tests ``apex migrate`` as a user runs it."""

import json
from pathlib import Path

import pytest

from apex_pipeline.lake.snapshot import read_current
from apex_pipeline.storage.layout import raw_key
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.cli.conftest import Apex
from apex_pipeline_tests.lake.derived import open_lake
from apex_pipeline_tests.lake.tables import publish_tables


@pytest.fixture(autouse=True)
def published(tmp_path: Path) -> Path:
    publish_tables(open_lake(tmp_path / "lake"), SessionKey("spa", "R1"))
    return tmp_path / "lake"


def test_a_dry_run_counts_and_creates_nothing(apex: Apex, tmp_path: Path) -> None:
    result = apex("migrate", "copy", "--dry-run")
    assert result.code == 0
    assert result.out.startswith("Would copy ")
    assert not (tmp_path / "copy").exists()


def test_a_migrated_lake_is_verified_and_the_settings_to_use_it_are_printed(apex: Apex, tmp_path: Path) -> None:
    result = apex("migrate", "copy")
    assert result.code == 0
    snapshot = read_current(open_lake(tmp_path / "copy"))
    assert snapshot is not None
    assert f"publishes the snapshot {snapshot.id}" in result.out
    assert f"USE_S3_DATA=false APEX_LAKE_DIR={tmp_path / 'copy'}" in result.out
    again = json.loads(apex("migrate", "copy", "--json").out)
    assert (again["copied"], again["is_complete"], again["snapshot"]) == (0, True, snapshot.id)


def test_a_damaged_lake_ends_with_exit_code_1_and_names_the_object(apex: Apex, published: Path) -> None:
    damaged = next((published / "objects").iterdir())
    damaged.write_bytes(b"x" * damaged.stat().st_size)
    result = apex("migrate", "copy")
    assert result.code == 1
    assert f"failed  objects/{damaged.name}" in result.out
    assert "Nothing new is published there." in result.out


def test_another_lake_is_refused_with_exit_code_2(apex: Apex, tmp_path: Path) -> None:
    open_lake(tmp_path / "other").write_bytes(raw_key("sebring/R1.csv"), b"laps")
    result = apex("migrate", "other")
    assert result.code == 2
    assert "data/sebring/R1.csv" in result.error


def test_a_lake_of_raw_files_only_says_that_nothing_is_published(apex: Apex, tmp_path: Path) -> None:
    open_lake(tmp_path / "raw").write_bytes(raw_key("spa/R1.csv"), b"laps")
    result = apex("migrate", "copy", "--lake", "raw")
    assert result.code == 0
    assert "Nothing was published in the lake" in result.out
