"""Syncs the real race files: nine sessions, seven naming schemes, and one file of the wrong race."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from apex_pipeline.catalog import open_catalog
from apex_pipeline.orchestration.command_sync import sync
from apex_pipeline.storage.factory import open_store
from apex_pipeline.storage.layout import table_key
from apex_pipeline.tables import RACE_TABLES
from apex_pipeline_tests.e2e.conftest import SyncedLake, ignore, settings_in
from apex_pipeline_tests.servers.s3_server import S3Server

_TRACKS = [
    "barber_motorsports_park",
    "circuit_of_the_americas",
    "road_america",
    "sebring",
    "virginia_international_raceway",
]
_WRONG_RACE = "virginia-international-raceway/VIR/Race 2/vir_lap_time_R2.csv"


# The nine syncs take half a minute; test_real_accuracy.py derives the laps of the same files in every run.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lake(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> SyncedLake:
    settings = settings_in(tmp_path_factory.mktemp("real"), real_data / "grcup")
    return SyncedLake(settings, sync(settings, ignore))


@pytest.fixture(scope="module")
def lake_with_telemetry(lake: SyncedLake, real_data: Path) -> SyncedLake:
    settings = lake.settings.model_copy(update={"source_dir": real_data / "grcup_rebuilt"})
    return SyncedLake(settings, sync(settings, ignore))


@pytest.mark.req("A-158")
def test_exactly_nine_sessions_of_five_tracks_are_found(lake: SyncedLake) -> None:
    assert lake.outcome.exit_code == 0
    assert list(lake.catalog.tracks()["track"]) == _TRACKS
    assert len(lake.catalog.sessions()) == 9
    assert len(lake.catalog.snapshot.sessions) == 9


def test_every_file_has_one_row_and_only_the_wrong_race_file_is_quarantined(lake: SyncedLake, real_data: Path) -> None:
    files = lake.catalog.files()
    on_disk = {
        path.relative_to(real_data / "grcup").as_posix() for path in (real_data / "grcup").rglob("*") if path.is_file()
    }
    assert set(files["path"]) == on_disk
    assert files["path"].is_unique
    unused = files[~files["status"].isin(["ready", "ignored"])].to_dict("records")
    assert [row["path"] for row in unused] == [_WRONG_RACE]
    assert "meta_session says R1 (483 of 483 rows" in unused[0]["reason"]
    assert "byte for byte virginia-international-raceway/VIR/Race 1/vir_lap_time_R1.csv" in unused[0]["reason"]


def test_the_best_valid_lap_equals_the_official_best_lap(lake: SyncedLake) -> None:
    for record in lake.catalog.snapshot.sessions:
        laps = lake.catalog.laps(record.track, record.session)
        official = lake.catalog.official_laps(record.track, record.session)["lap_time_s"].min()
        assert laps[laps["is_valid"]]["lap_time_s"].min() == official, record.key


def test_no_reading_is_lost_when_telemetry_is_added_to_eight_sessions(lake_with_telemetry: SyncedLake) -> None:
    catalog = lake_with_telemetry.catalog
    assert lake_with_telemetry.outcome.exit_code == 0
    assert len(lake_with_telemetry.outcome.derived) == 8
    with_readings = 0
    for record in catalog.snapshot.sessions:
        counts = catalog.telemetry_counts(record.track, record.session)
        assert counts["cells_out"] + counts["exact_duplicates"] + counts["rejected"] == counts["readings_in"]
        assert catalog.rows("telemetry", record.track, record.session) == counts["rows_out"]
        with_readings += counts["readings_in"] > 0
    assert with_readings == 8


def test_samples_of_a_lap_are_between_its_start_and_end(lake_with_telemetry: SyncedLake) -> None:
    catalog = lake_with_telemetry.catalog
    samples = catalog.telemetry("barber_motorsports_park", "R1", vehicle_id="GR86-022-13")
    laps = catalog.laps("barber_motorsports_park", "R1")
    numbers = samples["lap_number"].dropna().unique()
    assert len(numbers) >= 1
    for number in numbers:
        lap = laps[(laps["vehicle_id"] == "GR86-022-13") & (laps["lap_number"] == number)].to_dict("records")[0]
        times = samples[samples["lap_number"] == number]["sample_time_utc"]
        assert times.between(lap["lap_start_utc"], lap["lap_end_utc"]).all()


@pytest.mark.req("A-068", "A-120")
def test_local_and_s3_lakes_have_equal_tables(
    lake_with_telemetry: SyncedLake,
    real_data: Path,
    tmp_path: Path,
    s3_server: S3Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sync the two races of one track: this covers every asset on both backends, much faster than all nine."""
    bucket = "real-files"
    s3_server.client().create_bucket(Bucket=bucket)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_access_key)
    source = tmp_path / "source"
    for path in [*(real_data / "grcup" / "COTA").rglob("*.*"), *(real_data / "grcup_rebuilt" / "COTA").rglob("*.*")]:
        target = source / path.relative_to(real_data).relative_to(path.relative_to(real_data).parts[0])
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    settings = settings_in(tmp_path, source, use_s3_data=True, bucket=bucket, s3_endpoint_url=s3_server.endpoint)
    assert sync(settings, ignore).exit_code == 0
    local, remote = open_store(lake_with_telemetry.settings, for_writing=False), open_store(settings, for_writing=False)
    for session in ("R1", "R2"):
        for table in RACE_TABLES:
            key = table_key(table.folder, table.name, f"circuit_of_the_americas/{session}")
            with local.open_as_file(key) as local_path, remote.open_as_file(key) as remote_path:
                left, right = pq.ParquetFile(local_path), pq.ParquetFile(remote_path)
                assert left.schema_arrow.equals(right.schema_arrow, check_metadata=False), key
                assert left.read().equals(right.read()), key
    assert len(open_catalog(settings=settings).sessions()) == 2
