"""Tests the telemetry asset: three tables of a session, derived from one raw file."""

from datetime import datetime

import pyarrow.parquet as pq
import pytest

from apex_pipeline.tables import LAPS, TELEMETRY, TELEMETRY_CARS, TELEMETRY_REJECTS
from apex_pipeline_tests.orchestration.lake_runs import LakeRuns
from apex_pipeline_tests.reports.pictures import Picture
from apex_pipeline_tests.sources.gr_cup.telemetry.readings import CAR, RACE_START, Row, csv_bytes, reading

R1 = "spa/R1"
OTHER_CAR = "GR86-003-3"


def rows() -> list[Row]:
    return [reading(0), reading(1), reading(1, value="N/A"), reading(0, vehicle_id=OTHER_CAR)]


def derive(lake: LakeRuns, content: bytes) -> dict[str, dict[str, object]]:
    """Derive a session with this telemetry file; return the metadata of its tables."""
    lake.race(R1)
    lake.write("spa", {"R1_telemetry.csv": content.decode()})
    attempt = lake.run_session(R1)
    assert attempt, attempt.failures
    return attempt.made


def test_a_session_has_tables_of_samples_cars_and_rejects(lake: LakeRuns) -> None:
    made = derive(lake, csv_bytes(rows()))
    assert lake.column(R1, TELEMETRY_CARS.name, "vehicle_id") == [CAR, OTHER_CAR]
    assert lake.column(R1, TELEMETRY_CARS.name, "readings") == [2, 1]
    assert lake.column(R1, TELEMETRY_REJECTS.name, "reason") == ["bad_number"]
    assert made["tables/telemetry"]["readings_in"] == len(rows())
    assert made["tables/laps"]["laps"] == len(lake.column(R1, LAPS.name, "lap_number"))


def test_each_table_shows_its_picture_and_its_size_with_the_unit(lake: LakeRuns) -> None:
    derive(lake, csv_bytes(rows()))
    begins: datetime = lake.column(R1, LAPS.name, "lap_start_utc")[1]
    seconds = [(begins - RACE_START).total_seconds() + second for second in range(90)]
    made = derive(lake, csv_bytes([reading(second, "speed", "90", lap="2") for second in seconds]))
    assert Picture(str(made["tables/telemetry"]["speed_trace"])).texts[0] == "Speed: car #2, lap 2, 1:37.500"
    assert Picture(str(made["tables/laps"]["lap_times"])).texts[0] == "Lap times per car, fastest first"
    assert Picture(str(made["tables/quality"]["scores"])).texts[0] == "Quality of the session, 100 is perfect"
    assert str(made["tables/laps"]["size"]).endswith(" kB")
    assert made["lake/published"]["size"]


def test_metadata_is_stored_with_the_materialization_and_not_again_with_the_output(lake: LakeRuns) -> None:
    lake.race(R1)
    result = lake.run_session(R1).result
    stored = [event.step_output_data.metadata for event in result.all_events if event.is_successful_output]
    assert stored
    assert not any("lap_times" in metadata or "sha256" in metadata for metadata in stored)


def test_an_unknown_channel_is_kept_and_warned_about(lake: LakeRuns, capsys: pytest.CaptureFixture[str]) -> None:
    made = derive(lake, csv_bytes([reading(0), reading(0, "tyre_temp", "80")]))
    assert "tyre_temp" in pq.read_schema(str(made["tables/telemetry"]["dagster/uri"])).names
    warnings = [line for line in capsys.readouterr().err.splitlines() if "WARNING" in line]
    assert len(warnings) == 1
    assert "The channel tyre_temp is not known" in warnings[0]


def test_a_step_that_fails_leaves_no_temporary_file(lake: LakeRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_store: object, table: str, *_: object) -> None:
        if table == TELEMETRY.name:
            raise RuntimeError("a defect")

    derive(lake, csv_bytes(rows()))
    monkeypatch.setattr("apex_pipeline.orchestration.assets._derivation.write_table_file", fail)
    attempt = lake.materialize(R1, "tables/telemetry")
    assert "RuntimeError: a defect" in attempt.failure
    assert not list((lake.settings.state_dir / "scratch").rglob("*.parquet"))


def test_the_table_files_of_a_run_are_removed_from_this_machine(lake: LakeRuns) -> None:
    derive(lake, csv_bytes(rows()))
    assert not list((lake.settings.state_dir / "scratch").rglob("*.parquet"))
