"""Tests the synced weekend against its ground truth: everything is found, and nothing is invented or lost."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from apex_pipeline.demo import GroundTruth
from apex_pipeline.orchestration.command_sync import sync
from apex_pipeline.storage.layout import QUARANTINE_PREFIX, RAW_PREFIX, table_key
from apex_pipeline.tables import RACE_TABLES
from apex_pipeline_tests.e2e.conftest import SyncedLake, ignore


@pytest.fixture(params=["local_lake", pytest.param("s3_lake", marks=pytest.mark.slow)])
def lake(request: pytest.FixtureRequest) -> SyncedLake:
    """The synced lake on each backend."""
    return request.getfixturevalue(request.param)


@pytest.mark.req("A-035", "P-02")
def test_a_sync_of_the_weekend_succeeds(lake: SyncedLake, ground_truth: GroundTruth) -> None:
    assert lake.outcome.exit_code == 0
    assert lake.outcome.failures == []
    assert [str(key) for key in lake.outcome.derived] == sorted(f"{s.track}/{s.session}" for s in ground_truth.sessions)


def test_exactly_the_generated_tracks_and_sessions_are_found(lake: SyncedLake, ground_truth: GroundTruth) -> None:
    tracks, sessions = lake.catalog.tracks(), lake.catalog.sessions()
    assert dict(zip(tracks["track"], tracks["track_name"], strict=True)) == {
        s.track: s.track_name for s in ground_truth.sessions
    }
    assert list(zip(sessions["track"], sessions["session"], strict=True)) == sorted(
        (s.track, s.session) for s in ground_truth.sessions
    )


def test_the_files_table_lists_every_file(lake: SyncedLake, ground_truth: GroundTruth) -> None:
    files = lake.catalog.files()
    assert list(files["path"]) == sorted(file.path for file in ground_truth.files)
    assert list(files.sort_values("path")["bytes"]) == [
        file.size for file in sorted(ground_truth.files, key=lambda file: file.path)
    ]
    assert set(files[files["status"] != "ignored"]["sha256"].str.len()) == {64}


def test_the_wrong_race_file_and_the_empty_file_are_quarantined_with_a_reason(
    lake: SyncedLake, ground_truth: GroundTruth
) -> None:
    files = lake.catalog.files()
    quarantined = files[files["status"] == "quarantined"]
    injected = {fault.file for fault in ground_truth.faults if fault.kind in {"wrong_race_file", "empty_file"}}
    assert set(quarantined["path"]) == injected
    assert quarantined["reason"].str.contains("meta_session says R1|is empty").all()
    reasons = {item.key for item in lake.store.list(QUARANTINE_PREFIX)}
    assert reasons == {f"{QUARANTINE_PREFIX}{path}.reason.json" for path in injected}


@pytest.mark.req("A-061", "K-07")
def test_raw_files_are_stored_unchanged_under_their_relative_path(
    lake: SyncedLake, weekend: tuple[Path, GroundTruth]
) -> None:
    stored = {item.key.removeprefix(RAW_PREFIX) for item in lake.store.list(RAW_PREFIX)}
    files = lake.catalog.files()
    assert stored == set(files[files["status"] != "ignored"]["path"])
    for path in sorted(stored)[:5]:
        assert lake.store.read_bytes(RAW_PREFIX + path) == (weekend[0] / path).read_bytes()


def test_the_best_lap_of_every_session_is_within_5_ms_of_the_truth(lake: SyncedLake, ground_truth: GroundTruth) -> None:
    for session in ground_truth.sessions:
        laps = lake.catalog.laps(session.track, session.session)
        best = laps[laps["is_valid"]].nsmallest(1, "lap_time_s").to_dict("records")[0]
        assert best["vehicle_id"] == session.best_lap.vehicle_id, session
        assert best["lap_time_s"] == pytest.approx(session.best_lap.lap_time_s, abs=0.005)


@pytest.mark.req("P-07")
def test_telemetry_counts_reconcile_and_match_the_ground_truth(lake: SyncedLake, ground_truth: GroundTruth) -> None:
    for session in ground_truth.sessions:
        counts = lake.catalog.telemetry_counts(session.track, session.session)
        assert counts["readings_in"] == session.telemetry.rows
        assert counts["exact_duplicates"] == session.telemetry.exact_duplicate_rows
        assert counts["rejected"] == session.telemetry.rejected_rows
        assert counts["cells_out"] + counts["exact_duplicates"] + counts["rejected"] == counts["readings_in"]


def test_exactly_the_malformed_rows_are_rejected_with_file_and_line(
    lake: SyncedLake, ground_truth: GroundTruth
) -> None:
    found = Counter(
        (row.source_file, row.source_row)
        for session in ground_truth.sessions
        for row in lake.catalog.rejects(session.track, session.session).itertuples()
    )
    assert found == Counter((reject.file, reject.line) for reject in ground_truth.rejects)


def test_a_second_sync_writes_nothing(lake: SyncedLake) -> None:
    before = {item.key: item.tag for item in lake.store.list()}
    again = sync(lake.settings, ignore)
    assert again.is_unchanged
    assert again.exit_code == 0
    assert {item.key: item.tag for item in lake.store.list()} == before


@pytest.mark.slow
@pytest.mark.req("A-068", "P-03", "A-153")
def test_tables_and_schemas_are_equal_on_both_backends(
    local_lake: SyncedLake, s3_lake: SyncedLake, ground_truth: GroundTruth
) -> None:
    local, remote = local_lake.store, s3_lake.store
    for session in ground_truth.sessions:
        for table in RACE_TABLES:
            key = table_key(table.folder, table.name, f"{session.track}/{session.session}")
            with local.open_as_file(key) as local_path, remote.open_as_file(key) as remote_path:
                left, right = pq.ParquetFile(local_path), pq.ParquetFile(remote_path)
                assert left.schema_arrow.equals(right.schema_arrow, check_metadata=True), key
                assert left.read().equals(right.read()), key


def test_telemetry_of_one_car_and_lap_has_only_the_requested_channels(
    lake: SyncedLake, ground_truth: GroundTruth
) -> None:
    session = ground_truth.sessions[0]
    laps = lake.catalog.laps(session.track, session.session)
    lap = laps[laps["is_valid"]].to_dict("records")[0]
    samples = lake.catalog.telemetry(
        session.track,
        session.session,
        vehicle_id=lap["vehicle_id"],
        lap_number=lap["lap_number"],
        channels=["speed_kph"],
    )
    assert list(samples.columns) == ["vehicle_id", "sample_time_utc", "repeat", "lap_number", "speed_kph"]
    assert set(samples["vehicle_id"]) == {lap["vehicle_id"]}
    assert samples["sample_time_utc"].between(lap["lap_start_utc"], lap["lap_end_utc"]).all()
    assert samples["speed_kph"].notna().any()


@pytest.mark.req("A-143")
def test_telemetry_takes_less_than_a_fifth_of_its_csv_size(lake: SyncedLake) -> None:
    # The 2 MB weekend takes 12 %, because each file has a footer; for gigabytes it is 1 %.
    files = lake.catalog.files()
    raw = files[(files["kind"] == "telemetry") & (files["status"] == "ready")]["bytes"].sum()
    assert sum(item.size for item in lake.store.list("tables/telemetry/")) < raw / 5


@pytest.mark.req("P-06")
def test_pandas_reads_all_laps_without_this_package(local_lake: SyncedLake, ground_truth: GroundTruth) -> None:
    program = (
        "import sys; sys.modules['dagster'] = sys.modules['apex_pipeline'] = None; import pandas; "
        f"laps = pandas.read_parquet({str(local_lake.settings.lake_dir / 'tables' / 'laps')!r}); "
        "print(len(laps), *sorted(set(laps['track'])))"
    )
    output = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    rows = sum(len(local_lake.catalog.laps(s.track, s.session)) for s in ground_truth.sessions)
    assert output == [str(rows), *sorted({s.track for s in ground_truth.sessions})]


@pytest.mark.req("A-100")
def test_official_tables_have_laps_with_sectors_final_results_and_weather(
    lake: SyncedLake, ground_truth: GroundTruth
) -> None:
    for session in ground_truth.sessions:
        official = lake.catalog.official_laps(session.track, session.session)
        assert len(official) > 0
        sectors = official[["s1_s", "s2_s", "s3_s"]].sum(axis=1)
        pd.testing.assert_series_equal(sectors, official["lap_time_s"], check_names=False, atol=0.0005)
        results = lake.catalog.results(session.track, session.session)
        assert set(results[results["is_final"]]["version"]) == {"official"}
        assert len(lake.catalog.weather(session.track, session.session)) > 0
