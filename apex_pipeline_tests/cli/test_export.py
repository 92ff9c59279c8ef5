"""`apex export`: sessions, rows and columns are chosen by the names people write."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from apex_pipeline_tests.catalog.race_lake import CAR, STEP_MS, TRACK, Race, local_store, publish_race
from apex_pipeline_tests.cli.conftest import Apex


@pytest.fixture(scope="module")
def race(tmp_path_factory: pytest.TempPathFactory) -> Race:
    return publish_race(local_store(tmp_path_factory.mktemp("race")), 1_200)


@pytest.fixture(autouse=True)
def lake_of_a_race(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, race: Race) -> None:
    monkeypatch.setenv("APEX_LAKE_DIR", race.store.uri)
    monkeypatch.chdir(tmp_path)


def test_telemetry_of_a_lap_of_a_car_is_a_selection(apex: Apex) -> None:
    condition = f"lap_number = 1 and vehicle_id = {CAR}"
    words = ("--tables", "telemetry", "--where", condition, "--columns", "sample_time_utc,gear")
    told = json.loads(apex("export", "out", "--to", "parquet", *words, "--tracks", "Test Track", "--json").out)
    found = pq.read_table("out/telemetry.parquet")
    assert found.schema.names == ["sample_time_utc", "gear"]
    assert told["tables"] == [{"name": "telemetry", "rows": found.num_rows}]
    assert found.num_rows == sum(5_000 <= at_ms < 45_000 for at_ms in range(0, 1_200 * STEP_MS, STEP_MS))


def test_a_session_may_be_named_without_its_track(apex: Apex) -> None:
    shown = apex("export", "out", "--to", "csv", "--tables", "laps", "--sessions", "Race 1")
    assert (shown.code, shown.error) == (0, "")
    assert "laps: 40 rows" in shown.out


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--tracks", "tset_track"), TRACK),
        (("--sessions", "r7"), "R1"),
        (("--tracks", TRACK, "--sessions", "r1,r7"), "R1"),
        (("--tables", "laps", "--where", "lap_nmber = 1"), "lap_number"),
        (("--tables", "laps", "--where", "lap_number ="), "is missing at its end"),
        (("--tables", "laps", "--columns", "lap_nmber"), "lap_number"),
        (("--tables", "lap"), "laps"),
    ],
)
def test_a_name_that_means_nothing_is_an_error_and_nothing_is_written(
    apex: Apex, words: tuple[str, ...], named: str
) -> None:
    refused = apex("export", "out", "--to", "parquet", *words)
    assert (refused.code, refused.out) == (2, "")
    assert named in refused.error
    assert not Path("out").exists()
