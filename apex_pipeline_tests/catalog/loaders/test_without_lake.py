"""Local means local: an application next to a folder ``data`` needs no sync, and a file may name the drivers."""

from pathlib import Path

import pytest

from apex_pipeline.catalog import LocalDataLoader, Reason, get_loader
from apex_pipeline.lake_folder import folder_with_data, nearest_lake
from apex_pipeline.settings import load_settings
from apex_pipeline_tests.shared_lakes import SyncedLake

_LAPS = "LapNumber,LapTime,Driver,CarNumber\n1,97.5,A,13\n2,96.5,A,13\n"
_RACE = ("harbor_street_circuit", "R1")


@pytest.fixture
def application(tmp_path: Path) -> Path:
    """A folder with race files below ``data``, as the application was shipped."""
    folder = tmp_path / "app"
    (folder / "data" / "sebring").mkdir(parents=True)
    (folder / "data" / "sebring" / "R1_sebring_lap_start.csv").write_text(_LAPS, encoding="utf-8")
    (folder / "src").mkdir()
    return folder


@pytest.mark.req("A-017", "A-120")
@pytest.mark.parametrize("below", [".", "src"])
def test_the_folder_data_is_read_without_a_sync(application: Path, monkeypatch: pytest.MonkeyPatch, below: str) -> None:
    monkeypatch.chdir(application / below)
    monkeypatch.setenv("USE_S3_DATA", "false")
    loader = get_loader()
    assert loader.get_available_tracks() == ["sebring"]
    laps = loader.load_lap_times("sebring", "R1")
    assert laps is not None
    assert list(laps["LapTime"]) == [97.5, 96.5]
    assert sorted(path.name for path in application.iterdir() if not path.name.startswith(".")) == ["data", "src"]


def test_a_lake_that_is_set_is_not_replaced_by_the_folder_data(
    application: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(application)
    monkeypatch.setenv("APEX_LAKE_DIR", "nowhere")
    assert LocalDataLoader().get_available_tracks() == []


def test_a_call_that_succeeds_resets_the_last_failure(application: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(application)
    loader = get_loader()
    assert loader.load_lap_times("sebring", "R2") is None
    assert loader.last_failure is not None
    assert loader.last_failure.reason is Reason.NOT_FOUND
    assert loader.load_lap_times("sebring", "R1") is not None
    assert loader.last_failure is None


def test_a_lake_is_found_from_the_folders_below_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = tmp_path / "lake" / "catalog" / "current.json"
    below = tmp_path / "notebooks" / "2025"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert load_settings().lake_dir == Path("lake")
    published.parent.mkdir(parents=True)
    published.touch()
    assert load_settings().lake_dir == tmp_path / "lake"
    assert nearest_lake(tmp_path) == Path("lake")
    (below / "lake").mkdir()  # one that is being made here
    assert load_settings().lake_dir == Path("lake")
    monkeypatch.setenv("APEX_LAKE_DIR", "other")
    assert load_settings().lake_dir == Path("other")


def test_an_empty_folder_data_is_none(tmp_path: Path) -> None:
    (tmp_path / "data" / "sebring").mkdir(parents=True)
    assert folder_with_data(tmp_path) is None


@pytest.mark.req("A-027")
def test_a_file_names_the_drivers_by_vehicle_or_number(demo_lake: SyncedLake, tmp_path: Path) -> None:
    names = tmp_path / "drivers.yaml"
    names.write_text('GR86-022-13: Car Owner\n"2": Second Driver\n', encoding="utf-8")
    settings = demo_lake.settings.model_copy(update={"drivers_file": names})
    laps = LocalDataLoader(settings).load_lap_times(*_RACE)
    assert laps is not None
    drivers = dict(zip(laps["CarNumber"], laps["Driver"], strict=True))
    assert (drivers["13"], drivers["2"], drivers["111"]) == ("Car Owner", "Second Driver", "GR86-060-2")
    assert laps["Driver"].dtype == LocalDataLoader(demo_lake.settings).load_lap_times(*_RACE)["Driver"].dtype  # type: ignore[index]


@pytest.mark.parametrize("content", ["- A Name", "13: A Name", "a: [A Name]", "a: b: A Name", None])
def test_a_file_that_names_no_drivers_is_reported_without_a_name(
    demo_lake: SyncedLake, tmp_path: Path, content: str | None
) -> None:
    names = tmp_path / "drivers.yaml"
    if content is not None:
        names.write_text(content, encoding="utf-8")
    loader = LocalDataLoader(demo_lake.settings.model_copy(update={"drivers_file": names}))
    assert loader.load_lap_times(*_RACE) is None
    assert loader.last_failure is not None
    assert loader.last_failure.reason is Reason.CONFIGURATION
    assert "APEX_DRIVERS_FILE" in str(loader.last_failure.error)
    assert "A Name" not in str(loader.last_failure.error)
