"""The catalog: every table by name, what is read once and kept, what is told when there is nothing."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from apex_pipeline.catalog import Catalog, open_catalog, reader
from apex_pipeline.errors import ObjectMissingError
from apex_pipeline.settings import load_settings
from apex_pipeline.storage.local import LocalStore
from apex_pipeline_tests.catalog.race_lake import CAR, SESSION, TRACK, UNITS, Race, local_store, publish_race


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keys of the objects that are opened whole or in part from now on."""
    keys: list[str] = []
    for name in ("open_as_file", "open_seekable"):
        monkeypatch.setattr(LocalStore, name, _noting(getattr(LocalStore, name), keys))
    read_bytes = LocalStore.read_bytes

    def noting_read(store: LocalStore, key: str) -> bytes:
        keys.append(key.rpartition("/")[2])
        return read_bytes(store, key)

    monkeypatch.setattr(LocalStore, "read_bytes", noting_read)
    return keys


def _noting(opening: Callable[..., object], keys: list[str]) -> Callable[..., object]:
    @contextmanager
    def noting(store: LocalStore, key: str) -> Generator[object]:
        keys.append(key.rpartition("/")[2])
        with opening(store, key) as given:  # type: ignore[attr-defined]  -- a context manager
            yield given

    return noting


@pytest.mark.parametrize("name", ["tracks", "sessions", "files"])
def test_the_tables_about_everything_are_there(catalog: Catalog, name: str) -> None:
    assert isinstance(getattr(catalog, name)(), pd.DataFrame)


@pytest.mark.parametrize(
    "name", ["laps", "cars", "quality", "telemetry_cars", "official_laps", "results", "weather", "rejects"]
)
def test_the_tables_of_a_session_are_there(catalog: Catalog, name: str) -> None:
    frame = getattr(catalog, name)(TRACK, SESSION)
    assert {"track", "session"} <= set(frame.columns)
    if name != "rejects":
        arrow = catalog.table_arrow(name, TRACK, SESSION)
        assert isinstance(arrow, pa.Table)
        pd.testing.assert_frame_equal(arrow.to_pandas(), frame)


def test_a_table_tells_its_rows_without_being_read(catalog: Catalog, race: Race, opened: list[str]) -> None:
    assert catalog.rows("telemetry", TRACK, SESSION) == race.rows * len(UNITS)
    assert opened == []


def test_telemetry_that_was_not_counted_has_no_counts(catalog: Catalog) -> None:
    assert catalog.telemetry_counts(TRACK, SESSION) == {}


def test_a_session_without_scores_has_no_note(catalog: Catalog) -> None:
    assert catalog.session_note(TRACK, SESSION) == ""


def test_small_tables_lap_times_and_footers_are_read_once(catalog: Catalog, opened: list[str]) -> None:
    for lap_number in (1, 2):
        catalog.telemetry(TRACK, SESSION, car_number="1007", lap_number=lap_number, channels=["gear"])
    reads = {name: opened.count(name) for name in set(opened)}
    # Of telemetry, the footer once and each of the two laps.
    assert reads == {"telemetry.parquet": 3, "cars.parquet": 1, "laps.parquet": 1}
    catalog.laps(TRACK, SESSION)
    catalog.laps(TRACK, SESSION)
    assert opened.count("laps.parquet") == 2


def test_a_large_table_is_not_kept(catalog: Catalog, opened: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_SMALL_BYTES", 1_000)
    for _ in range(2):
        catalog.laps(TRACK, SESSION)
    assert opened == ["laps.parquet", "laps.parquet"]


def test_changing_a_frame_changes_nobody_elses(catalog: Catalog) -> None:
    mine = catalog.laps(TRACK, SESSION)
    mine["lap_number"] = 0
    mine.loc[0, "car_number"] = "77"
    assert set(catalog.laps(TRACK, SESSION)["lap_number"]) == {1, 2, 3, 99}
    assert "77" not in set(catalog.laps(TRACK, SESSION)["car_number"])


def test_a_lake_is_opened_by_its_folder_or_by_the_settings(tmp_path: Path) -> None:
    publish_race(local_store(tmp_path), 300)
    settings = load_settings(lake_dir=tmp_path / "lake", state_dir=tmp_path / "state")
    for catalog in (open_catalog(tmp_path / "lake", settings), open_catalog(settings=settings)):
        assert catalog.uri == str(tmp_path / "lake")
        assert len(catalog.telemetry(TRACK, SESSION, vehicle_id=CAR)) == 300


def test_a_session_or_table_that_is_not_published_is_told(catalog: Catalog) -> None:
    with pytest.raises(ObjectMissingError, match=r"test_track/R2 is not published\. Published are: test_track/R1"):
        catalog.telemetry(TRACK, "R2")
    with pytest.raises(ObjectMissingError, match=r"test_track/R1 was published without the table dreams\. Run a sync"):
        catalog.table("dreams", TRACK, SESSION)
