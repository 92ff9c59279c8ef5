"""The loaders as an application uses them, with a local folder and with a real S3 server."""

import gzip
import inspect
import json
import logging
import os
import subprocess
import sys
from operator import methodcaller
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from apex_pipeline.catalog import Catalog, LocalDataLoader, S3DataLoader, get_loader
from apex_pipeline.errors import ConfigurationError
from apex_pipeline_tests.catalog.loaders.harness import (
    LAP_TABLE,
    PRACTICE,
    TELEMETRY_TABLE,
    LoaderHarness,
    loaded,
    local_harness,
    log_of,
    messages,
    raw_laps,
    raw_telemetry,
    s3_harness,
)
from apex_pipeline_tests.lake.derived import publish_folder
from apex_pipeline_tests.servers.seaweed import S3Bucket
from apex_pipeline_tests.sources.gr_cup.telemetry.readings import CAR
from apex_pipeline_tests.storage.s3.harness import connect

METHODS = (
    "__init__",
    "_get_s3_key",
    "_download_csv_from_s3",
    "load_lap_times",
    "load_telemetry",
    "get_available_tracks",
    "get_available_sessions",
)


# -- the interface -----------------------------------------------------------------------------------------------------


@pytest.mark.req("A-009", "A-010", "A-017")
@pytest.mark.parametrize("name", METHODS)
def test_both_loaders_have_the_same_methods(name: str) -> None:
    assert inspect.signature(getattr(S3DataLoader, name)) == inspect.signature(getattr(LocalDataLoader, name))


@pytest.mark.req("A-010", "A-011")
def test_creating_a_loader_needs_no_argument_and_sends_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        pytest.fail("a request was sent")

    monkeypatch.setattr("socket.socket.connect", refuse)
    assert S3DataLoader().metrics()["requests"] == 0
    assert LocalDataLoader().metrics()["downloads"] == 0


@pytest.mark.req("A-020", "A-151")
@pytest.mark.parametrize(
    ("track", "filename", "key"),
    [
        ("sebring", "x.csv", "data/sebring/x.csv"),
        ("Road America", "Race 1/x.csv", "data/Road America/Race 1/x.csv"),
        ("a\\b", "\\x.csv", "data/a/b/x.csv"),
        ("/sebring/", "//x.csv", "data/sebring/x.csv"),
    ],
)
def test_a_key_consists_of_data_track_and_file_name(track: str, filename: str, key: str) -> None:
    assert methodcaller("_get_s3_key", track, filename)(LocalDataLoader()) == key


@pytest.mark.req("A-011", "A-016")
def test_the_bucket_is_read_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, s3_bucket: S3Bucket, tmp_path: Path
) -> None:
    for name, value in s3_bucket.environment.items():
        monkeypatch.setenv(name, value)
    s3_bucket.client.put_object(Bucket=s3_bucket.name, Key="data/sebring/race_telemetry_data.csv", Body=TELEMETRY_TABLE)
    loader = get_loader()
    assert isinstance(loader, S3DataLoader)
    assert loader.get_available_tracks() == ["sebring"]
    assert len(loaded(loader.load_telemetry("sebring", "race"))) == 2
    assert not (tmp_path / "lake").exists()


def test_an_invalid_use_s3_data_is_an_error_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USE_S3_DATA", "maybe")
    with pytest.raises(ConfigurationError, match="USE_S3_DATA"):
        get_loader()


@pytest.mark.req("A-010")
def test_a_loader_works_without_dagster(tmp_path: Path) -> None:
    folder = tmp_path / "lake" / "data" / "sebring"
    folder.mkdir(parents=True)
    (folder / "race_sebring_lap_start.csv").write_bytes(raw_laps())
    program = (
        "import sys; from apex_pipeline.catalog import get_loader\n"
        "assert len(get_loader().load_lap_times('sebring', 'race')) == 4\n"
        "sys.exit('dagster' in sys.modules or 'boto3' in sys.modules)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    assert subprocess.run([sys.executable, "-c", program], env=environment, cwd=tmp_path, check=False).returncode == 0


# -- loading -----------------------------------------------------------------------------------------------------------


@pytest.mark.req("A-012", "A-015", "A-021", "A-027", "A-085", "A-151")
def test_lap_times_are_loaded_and_each_step_is_logged(harness: LoaderHarness) -> None:
    harness.put({PRACTICE: LAP_TABLE})
    with log_of() as records:
        laps = loaded(harness.loader.load_lap_times("barber_motorsports_park", "practice"))
    assert messages(records, logging.INFO) == [
        "Loading lap times for barber_motorsports_park/practice",
        "Attempting pattern: practice_barber_motorsports_park_lap_start.csv",
        f"Successfully loaded from {harness.place}: {PRACTICE}",
    ]
    assert laps["LapTime"].tolist() == [97.428, 96.5]
    assert laps["CarNumber"].tolist() == ["03", "03"]
    assert {name: str(type_) for name, type_ in laps.dtypes.items()} == {
        "LapNumber": "int64",
        "LapTime": "float64",
        "Driver": "str",
        "CarNumber": "str",
    }
    assert isinstance(laps.index, pd.RangeIndex)
    assert harness.loader.last_failure is None


@pytest.mark.req("A-016", "A-021", "A-025", "A-028")
def test_telemetry_is_loaded_and_each_step_is_logged(harness: LoaderHarness) -> None:
    key = "data/circuit_of_the_americas/race_circuit_of_the_americas_telemetry_data.csv"
    harness.put({key: TELEMETRY_TABLE})
    with log_of() as records:
        samples = loaded(harness.loader.load_telemetry("circuit_of_the_americas", "race"))
    assert messages(records)[0] == "Loading telemetry for circuit_of_the_americas/race"
    assert messages(records)[-1] == f"Successfully loaded from {harness.place}: {key}"
    assert list(samples.columns) == ["Time", "Speed", "Throttle", "Brake", "Latitude", "Longitude"]
    assert set(map(str, samples.dtypes)) == {"float64"}
    assert samples["Speed"].tolist() == [101.5, 102.0]


@pytest.mark.req("A-027", "A-029", "K-10")
def test_raw_triggers_become_laps_with_times(harness: LoaderHarness) -> None:
    harness.put({"data/barber/R1_barber_lap_start.csv": raw_laps(4)})
    laps = loaded(harness.loader.load_lap_times("barber", "R1"))
    assert laps["LapNumber"].tolist() == [1, 2, 3, 4]
    assert laps["LapTime"].tolist() == [90.0] * 4
    assert laps["Driver"].tolist() == [CAR] * 4
    assert {str(laps[name].dtype) for name in ("Driver", "CarNumber")} == {"str"}
    assert isinstance(laps.index, pd.RangeIndex)
    rows = json.loads(laps.to_json(orient="records", date_format="iso"))
    assert rows[0]["lap_start_utc"] == "2025-09-06T18:41:30.000Z"
    assert "NaN" not in json.dumps(rows)


@pytest.mark.req("A-028", "K-11", "K-10")
def test_raw_readings_become_telemetry_with_a_column_per_channel(harness: LoaderHarness) -> None:
    harness.put(
        {
            "data/barber/R1_barber_lap_start.csv": raw_laps(4),
            "data/barber/R1_barber_telemetry_data.csv": raw_telemetry(100),
        }
    )
    samples = loaded(harness.loader.load_telemetry("barber", "R1"))
    assert samples["Time"].tolist() == pytest.approx([sample / 25 for sample in range(100)])
    assert samples["Speed"].tolist() == samples["Brake"].tolist() == samples["Throttle"].tolist()
    assert samples["Latitude"].isna().all()
    assert samples["lap_number"].tolist() == [1] * 100
    assert {str(samples[name].dtype) for name in ("Time", "Speed", "Throttle", "Brake")} == {"float64"}


@pytest.mark.req("A-068")
def test_raw_files_give_equal_frames_from_a_folder_and_from_s3(tmp_path: Path, s3_bucket: S3Bucket) -> None:
    files = {
        "data/VIR/Race 2/vir_lap_start_R2.csv": raw_laps(5, "R2"),
        "data/VIR/Race 2/R2_vir_telemetry_data.csv": raw_telemetry(60, "R2"),
    }
    local, remote = local_harness(tmp_path / "local"), s3_harness(connect(s3_bucket), tmp_path / "remote")
    for harness in (local, remote):
        harness.put(files)
    for method in ("load_lap_times", "load_telemetry"):
        one, other = (getattr(harness.loader, method)("vir", "R2") for harness in (local, remote))
        assert len(one) > 0
        pd.testing.assert_frame_equal(one, other)
    assert not list((tmp_path / "remote" / "state" / "scratch").glob("*/staging-*"))


def publish(harness: LoaderHarness, folder: Path, files: dict[str, bytes]) -> None:
    """Write raw files to a lake and publish the tables derived from them, as a sync does."""
    for name, content in files.items():
        path = folder / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    publish_folder(harness.store, folder / "source", folder / "scratch")


def test_published_tables_are_used_until_a_raw_file_changes(
    harness: LoaderHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(harness, tmp_path, {"sebring/race_sebring_lap_start.csv": raw_laps(4)})
    with monkeypatch.context() as patched:
        patched.setattr("apex_pipeline.sources.gr_cup.source.GrCup.derive", lambda *_: pytest.fail("derived again"))
        published = loaded(harness.loader.load_lap_times("sebring", "race"))
        assert len(loaded(harness.loader.load_lap_times("Sebring International", "race"))) == 4

    harness.put({"data/sebring/race_sebring_lap_start.csv": raw_laps(6)})
    derived = loaded(harness.loader.load_lap_times("sebring", "race"))
    assert len(derived) == 6
    pd.testing.assert_frame_equal(derived.dtypes.to_frame(), published.dtypes.to_frame())


def test_only_the_requested_file_is_read_from_a_published_lake(harness: LoaderHarness, tmp_path: Path) -> None:
    names = [f"COTA/Race {race}/COTA_lap_{part}_time_R{race}.csv" for race in (1, 2) for part in ("start", "end")]
    publish(harness, tmp_path, {name: raw_laps(4, f"R{name[-5]}") for name in names})
    assert harness.loader.get_available_sessions("COTA") == ["R1", "R2"]
    assert harness.loader.metrics()["downloads"] == 0
    assert len(loaded(harness.loader.load_lap_times("cota", "R2"))) == 4
    assert harness.loader.metrics()["downloads"] == 1


def test_a_file_that_is_set_aside_does_not_make_the_others_be_identified_again(
    harness: LoaderHarness, tmp_path: Path
) -> None:
    names = [f"COTA/Race {race}/COTA_lap_{part}_time_R{race}.csv" for race in (1, 2) for part in ("start", "end")]
    publish(
        harness,
        tmp_path,
        {name: raw_laps(4, f"R{name[-5]}") for name in names} | {"COTA/Race 2/COTA_lap_time_R2.csv": raw_laps(5, "R1")},
    )
    (set_aside,) = [file.path for file in Catalog(harness.store).files().itertuples() if file.status == "quarantined"]
    assert set_aside == "COTA/Race 2/COTA_lap_time_R2.csv"
    assert len(loaded(harness.loader.load_lap_times("cota", "R2"))) == 4
    assert harness.loader.metrics()["downloads"] == 1


def test_requesting_a_duplicate_file_loads_its_entire_session(harness: LoaderHarness, tmp_path: Path) -> None:
    duplicate, original = "sebring/R1_sebring_lap_start.csv", "sebring/Copy/sebring_lap_start_R1.csv"
    publish(
        harness,
        tmp_path,
        {duplicate: raw_laps(4), original: raw_laps(4), "sebring/R1_sebring_lap_end.csv": raw_laps(6)},
    )
    assert len(loaded(harness.loader.load_lap_times("sebring", "R1"))) == 6


def test_a_file_added_after_publishing_is_found(harness: LoaderHarness, tmp_path: Path) -> None:
    publish(harness, tmp_path, {"sebring/race_sebring_lap_start.csv": raw_laps(4)})
    harness.put({"data/sebring/Race 2/sebring_lap_start_time_R2.csv": raw_laps(3, "R2")})
    assert harness.loader.get_available_sessions("sebring") == ["R2", "race"]
    assert len(loaded(harness.loader.load_lap_times("sebring", "R2"))) == 3


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("catalog/current.json", "left out"),
        ("catalog/snapshots/2*.json", "left out"),
        ("catalog/snapshots/shards/*.json", "left out"),
        ("catalog/snapshots/sessions/*.json", "left out"),
        ("catalog/files.parquet", "the records are read instead"),
    ],
)
def test_a_damaged_catalog_does_not_hide_the_raw_files(tmp_path: Path, pattern: str, message: str) -> None:
    harness = local_harness(tmp_path)
    publish(harness, tmp_path, {"sebring/race_sebring_lap_start.csv": raw_laps(4)})
    (damaged,) = (tmp_path / "lake").glob(pattern)
    damaged.write_bytes(b"{}")
    with log_of(logging.WARNING) as records:
        assert len(loaded(harness.loader.load_lap_times("sebring", "race"))) == 4
    assert message in messages(records)[0]


@pytest.mark.req("A-027", "A-028")
def test_times_with_colons_are_converted_to_seconds(harness: LoaderHarness) -> None:
    telemetry = b"Time,Speed\n2025-09-06T18:40:00.250Z,100\n2025-09-06T18:40:01Z,\n"
    harness.put(
        {
            "data/sonoma/race_lap_start.csv": b"LapNumber,LapTime\n1,1:37.428\n2,\n3,97.5\n",
            "data/sonoma/race_telemetry_data.csv": telemetry,
        }
    )
    laps, samples = harness.loader.load_lap_times("sonoma", "race"), harness.loader.load_telemetry("sonoma", "race")
    assert loaded(laps)["LapTime"].fillna(-1).tolist() == [97.428, -1, 97.5]
    assert loaded(samples)["Time"].diff().tolist()[1] == pytest.approx(0.75)


@pytest.mark.req("A-134")
@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_a_compressed_table_is_found_and_decompressed(harness: LoaderHarness, ending: str) -> None:
    compressed = gzip.compress(LAP_TABLE) if ending == ".gz" else pa.compress(LAP_TABLE, "zstd", asbytes=True)
    harness.put({f"data/sebring/race_sebring_lap_start.csv{ending}": compressed})
    assert harness.loader.get_available_sessions("sebring") == ["race"]
    assert len(loaded(harness.loader.load_lap_times("sebring", "race"))) == 2
