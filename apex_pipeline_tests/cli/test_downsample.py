"""`apex downsample`: counts per telemetry file, files left out, and a folder that syncs to the same laps."""

import json
import shutil
from pathlib import Path

import pytest

from apex_pipeline_tests.cli.conftest import Apex

pytestmark = pytest.mark.req("A-118")


def test_downsample_reports_each_file_and_the_totals(demo_dir: Path, tmp_path: Path, apex: Apex) -> None:
    result = apex("downsample", "demo-weekend", str(tmp_path / "small"), "--every", "10")
    assert result.code == 0
    assert "44 files in" in result.out
    assert "4 of them downsampled" in result.out
    assert "left out  Mesa Verde Raceway/Mesa Verde Track Map.pdf: document" in result.out
    assert "R2_harbor_telemetry_data.csv: 1 rows without a readable car or time are all kept" in result.out


def test_downsample_reports_as_json(demo_dir: Path, tmp_path: Path, apex: Apex) -> None:
    facts = json.loads(apex("downsample", "demo-weekend", str(tmp_path / "small"), "--every", "10", "--json").out)
    assert (facts["every"], len(facts["files"]), len(facts["left_out"])) == (10, 44, 2)
    assert facts["bytes_out"] == sum(path.stat().st_size for path in (tmp_path / "small").rglob("*") if path.is_file())
    counts = [file["thinned"] for file in facts["files"] if file["thinned"]]
    assert all(0 < file["rows_out"] < file["rows_in"] for file in counts)


def test_a_downsampled_folder_syncs_to_the_same_laps(
    demo_dir: Path, tmp_path: Path, apex: Apex, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("laps", "harbor_street_circuit", "R2", "--json")
    original = json.loads(apex(*words).out)
    apex("downsample", "demo-weekend", str(tmp_path / "small"), "--every", "10")
    monkeypatch.chdir(tmp_path)
    shutil.rmtree(tmp_path / "small" / "Mesa Verde Raceway")  # not needed here
    assert apex("sync", "small").code == 0
    measured_by_telemetry = {"telemetry_lap_time_s"}
    small = json.loads(apex(*words).out)
    assert [{**lap, **dict.fromkeys(measured_by_telemetry)} for lap in small] == [
        {**lap, **dict.fromkeys(measured_by_telemetry)} for lap in original
    ]
    assert apex("verify", "--deep").code == 0


def test_telemetry_that_cannot_be_downsampled_is_copied_and_named(tmp_path: Path, apex: Apex) -> None:
    (tmp_path / "barber").mkdir()
    (tmp_path / "barber" / "notes.pdf").write_bytes(b"%PDF")
    result = apex("downsample", "barber", "none")
    assert "0 files in none, 0 of them downsampled: 0.0 MB of 0.0 MB." in result.out
    (tmp_path / "barber" / "R1_barber_telemetry_data.csv").write_text("speed,gear\n1,2\n")
    assert "R1_barber_telemetry_data.csv was copied unchanged: " in apex("downsample", "barber", "small").out


def test_a_missing_source_is_reported(apex: Apex) -> None:
    result = apex("downsample", "nowhere", "small")
    assert result.code == 2
    assert "does not exist" in result.error


def test_the_former_name_still_works_with_a_warning(demo_dir: Path, tmp_path: Path, apex: Apex) -> None:
    result = apex("sample", "demo-weekend", str(tmp_path / "small"), "--every", "10")
    assert result.code == 0
    assert "44 files in" in result.out
    assert result.error.splitlines() == [
        "`apex sample` is now `apex downsample`; the old spelling will be removed in the next release."
    ]
