"""Reading a lake from Python: the same with the oldest and the newest versions of pandas and pyarrow."""

from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from apex_pipeline import get_loader, open_catalog
from apex_pipeline.errors import ConfigurationError, MissingExtraError
from apex_pipeline.settings import load_settings

_RACE = ("harbor_street_circuit", "R1")
_TABLES = ("laps", "cars", "quality", "telemetry_cars", "official_laps", "results", "weather", "telemetry")


def test_the_tables_of_the_catalog_are_read(lake: Path) -> None:
    catalog = open_catalog(lake)
    assert sorted(catalog.tracks()["track"]) == ["harbor_street_circuit", "mesa_verde_raceway"]
    assert len(catalog.sessions()) == 4
    assert {"ready", "quarantined"} <= set(catalog.files()["status"])


@pytest.mark.parametrize("name", _TABLES)
def test_every_table_of_a_session_is_read_in_full(lake: Path, name: str) -> None:
    catalog = open_catalog(lake)
    assert len(catalog.table(name, *_RACE)) == catalog.rows(name, *_RACE) > 0


def test_rejected_rows_are_read(lake: Path) -> None:
    catalog = open_catalog(lake)
    assert len(catalog.rejects(*_RACE)) == catalog.rejected_rows(*_RACE) > 0


def test_times_are_in_utc_and_numbers_are_text(lake: Path) -> None:
    laps = open_catalog(lake).laps(*_RACE)
    assert str(laps["lap_end_utc"].dt.tz) == "UTC"
    assert laps["lap_time_s"].dtype == "float64"
    assert {type(number) for number in laps["car_number"].dropna()} == {str}
    assert all(isinstance(row, (list, tuple)) or hasattr(row, "__len__") for row in laps["flags"])


def test_one_lap_of_one_car_is_read(lake: Path) -> None:
    catalog = open_catalog(lake)
    laps = catalog.laps(*_RACE)
    best = laps[laps["is_valid"]].nsmallest(1, "lap_time_s").iloc[0]
    samples = catalog.telemetry(
        *_RACE, vehicle_id=best["vehicle_id"], lap_number=int(best["lap_number"]), channels=["speed_kph"]
    )
    assert len(samples) > 1
    assert set(samples["vehicle_id"]) == {best["vehicle_id"]}
    assert samples["sample_time_utc"].is_monotonic_increasing
    assert samples["speed_kph"].notna().any()


@pytest.mark.parametrize("years", [-50, 50])
def test_a_time_without_samples_gives_no_rows_and_no_error(lake: Path, years: int) -> None:
    start = datetime(2025, 6, 14, tzinfo=UTC) + timedelta(days=365 * years)
    nothing = open_catalog(lake).telemetry(*_RACE, start_utc=start, end_utc=start + timedelta(hours=1))
    assert len(nothing) == 0
    assert "speed_kph" in nothing.columns


def test_arrow_tables_are_read_without_pandas_types(lake: Path) -> None:
    assert isinstance(open_catalog(lake).telemetry_arrow(*_RACE, channels=["speed_kph"]), pa.Table)


def test_the_loaders_give_frames_with_the_columns_of_applications(lake: Path) -> None:
    loader = get_loader(load_settings(lake_dir=lake))
    laps, telemetry = loader.load_lap_times(*_RACE), loader.load_telemetry(*_RACE)
    assert laps is not None
    assert telemetry is not None
    assert list(laps.columns[:4]) == ["LapNumber", "LapTime", "Driver", "CarNumber"]
    assert list(telemetry.columns[:3]) == ["Time", "Speed", "Throttle"]
    assert loader.last_failure is None


def test_what_is_not_there_is_named(lake: Path) -> None:
    with pytest.raises(ConfigurationError, match="nowhere"):
        open_catalog(lake).laps("nowhere", "R1")
    with pytest.raises(ConfigurationError, match="no channel altitude"):
        open_catalog(lake).telemetry(*_RACE, channels=["altitude"])


def test_plain_pandas_reads_the_stable_names(lake: Path) -> None:
    frame = pd.read_parquet(lake / "tables" / "laps")
    assert {"track", "session", "lap_time_s"} <= set(frame.columns)


def test_a_catalog_and_a_loader_say_what_they_read(lake: Path) -> None:
    catalog = open_catalog(lake)
    assert repr(catalog).startswith(f"<Catalog of {lake}>\n  snapshot {catalog.snapshot.id}, published 20")
    assert repr(get_loader(load_settings(lake_dir=lake))) == f"<LocalDataLoader of {lake}>"


def test_a_lake_in_s3_is_read_or_its_extra_is_named(tmp_path: Path) -> None:
    if find_spec("boto3") is None:
        with pytest.raises(MissingExtraError, match=r"pip install 'apex-pipeline\[s3\]'"):
            open_catalog("s3://races/season")
    else:
        settings = load_settings(
            s3_endpoint_url="http://127.0.0.1:9",
            aws_access_key_id="key",
            aws_secret_access_key="secret",  # noqa: S106  -- not one of anything
        )
        assert repr(get_loader(settings.model_copy(update={"use_s3_data": True}))) == (
            "<S3DataLoader of s3://apex-racing-data>"
        )
