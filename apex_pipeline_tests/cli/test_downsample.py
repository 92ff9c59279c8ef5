"""`apex downsample`: counts per telemetry file, what was left out, and a folder that syncs to the same laps."""

import json
import shutil
from pathlib import Path

import pytest

from apex_pipeline_tests.cli.conftest import Apex

pytestmark = pytest.mark.req("A-118")


def test_the_copy_is_reported_per_file_and_as_a_whole(here: Path, tmp_path: Path, apex: Apex) -> None:
    said = apex("downsample", "demo-weekend", str(tmp_path / "small"), "--every", "10")
    assert said.code == 0
    assert "44 files in" in said.out
    assert "4 of them thinned" in said.out
    assert "left out  Mesa Verde Raceway/Mesa Verde Track Map.pdf: document" in said.out
    assert "R2_harbor_telemetry_data.csv: 1 rows without a readable car or time stay" in said.out


def test_the_same_as_json(here: Path, tmp_path: Path, apex: Apex) -> None:
    facts = json.loads(apex("downsample", "demo-weekend", str(tmp_path / "small"), "--every", "10", "--json").out)
    assert (facts["every"], len(facts["files"]), len(facts["left_out"])) == (10, 44, 2)
    assert facts["bytes_out"] == sum(path.stat().st_size for path in (tmp_path / "small").rglob("*") if path.is_file())
    thinned = [file["thinned"] for file in facts["files"] if file["thinned"]]
    assert all(0 < file["rows_out"] < file["rows_in"] for file in thinned)


def test_the_copy_syncs_to_the_same_laps(
    here: Path, tmp_path: Path, apex: Apex, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("laps", "harbor_street_circuit", "R2", "--json")
    whole = json.loads(apex(*words).out)
    apex("downsample", "demo-weekend", str(tmp_path / "small"), "--every", "10")
    monkeypatch.chdir(tmp_path)
    shutil.rmtree(tmp_path / "small" / "Mesa Verde Raceway")  # has no part in it
    assert apex("sync", "small").code == 0
    told_by_telemetry = {"telemetry_lap_time_s"}
    small = json.loads(apex(*words).out)
    assert [{**lap, **dict.fromkeys(told_by_telemetry)} for lap in small] == [
        {**lap, **dict.fromkeys(told_by_telemetry)} for lap in whole
    ]
    assert apex("verify", "--deep").code == 0


def test_a_folder_without_telemetry_is_copied_and_a_file_that_cannot_be_thinned_is_named(
    tmp_path: Path, apex: Apex
) -> None:
    (tmp_path / "barber").mkdir()
    (tmp_path / "barber" / "notes.pdf").write_bytes(b"%PDF")
    said = apex("downsample", "barber", "none")
    assert "0 files in none, 0 of them thinned: 0.0 MB of 0.0 MB." in said.out
    (tmp_path / "barber" / "R1_barber_telemetry_data.csv").write_text("speed,gear\n1,2\n")
    assert "R1_barber_telemetry_data.csv was copied whole: " in apex("downsample", "barber", "small").out


def test_a_missing_source_is_reported(apex: Apex) -> None:
    said = apex("downsample", "nowhere", "small")
    assert said.code == 2
    assert "does not exist" in said.error


def test_the_former_name_copies_too_with_one_line_of_warning(here: Path, tmp_path: Path, apex: Apex) -> None:
    said = apex("sample", "demo-weekend", str(tmp_path / "small"), "--every", "10")
    assert said.code == 0
    assert "44 files in" in said.out
    assert said.error.splitlines() == [
        "`apex sample` is now `apex downsample`; the old spelling will be removed in the next release."
    ]
