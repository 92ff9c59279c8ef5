"""The catalog: every table by name, the cache, and the errors for sessions and tables that do not exist."""

import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

import apex_pipeline.catalog as catalog_package
from apex_pipeline.catalog import Catalog, open_catalog, published_tables
from apex_pipeline.catalog.frames import to_pandas
from apex_pipeline.errors import ConfigurationError, ObjectMissingError
from apex_pipeline.settings import load_settings
from apex_pipeline.storage.layout import object_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline_tests.catalog.race_lake import CAR, SESSION, TRACK, VEHICLES, Race, local_store, publish_race


@pytest.fixture
def opened(race: Race, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the tables whose objects are opened from now on, completely or in part."""
    tables: list[str] = []
    names = {object_key(table.sha256): name for name, table in race.catalog.snapshot.sessions[0].tables.items()}
    for name in ("open_as_file", "open_seekable"):
        monkeypatch.setattr(LocalStore, name, _recording(getattr(LocalStore, name), names, tables))
    read_with_tag = LocalStore.read_with_tag

    def recording_read(store: LocalStore, key: str, limit: int | None = None) -> tuple[bytes, str] | None:
        if key in names:
            tables.append(names[key])
        return read_with_tag(store, key, limit)

    monkeypatch.setattr(LocalStore, "read_with_tag", recording_read)
    return tables


def _recording(opening: Callable[..., object], names: dict[str, str], tables: list[str]) -> Callable[..., object]:
    @contextmanager
    def recording(store: LocalStore, key: str) -> Generator[object]:
        tables.append(names.get(key, key))
        with opening(store, key) as given:  # type: ignore[attr-defined]  -- a context manager
            yield given

    return recording


@pytest.mark.parametrize("name", ["tracks", "sessions", "files"])
def test_the_catalog_tables_are_readable(catalog: Catalog, name: str) -> None:
    assert isinstance(getattr(catalog, name)(), pd.DataFrame)


@pytest.mark.parametrize(
    "name", ["laps", "cars", "quality", "telemetry_cars", "official_laps", "results", "weather", "rejects"]
)
def test_the_session_tables_are_readable(catalog: Catalog, name: str) -> None:
    frame = getattr(catalog, name)(TRACK, SESSION)
    assert {"track", "session"} <= set(frame.columns)
    if name != "rejects":
        arrow = catalog.table_arrow(name, TRACK, SESSION)
        assert isinstance(arrow, pa.Table)
        pd.testing.assert_frame_equal(to_pandas(arrow), frame)
        assert getattr(catalog, name)(TRACK, SESSION, frame="arrow").equals(arrow)


def test_rows_are_counted_without_reading_the_table(catalog: Catalog, race: Race, opened: list[str]) -> None:
    assert catalog.rows("telemetry", TRACK, SESSION) == race.rows * len(VEHICLES)
    assert opened == []


def test_telemetry_counts_are_empty_if_the_file_records_none(catalog: Catalog) -> None:
    assert catalog.telemetry_counts(TRACK, SESSION) == {}


def test_a_session_without_scores_has_an_empty_note(catalog: Catalog) -> None:
    assert catalog.session_note(TRACK, SESSION) == ""


def test_small_tables_lap_times_and_footers_are_read_once(catalog: Catalog, opened: list[str]) -> None:
    for lap_number in (1, 2):
        catalog.telemetry(TRACK, SESSION, car_number="1007", lap_number=lap_number, channels=["gear"])
    reads = {name: opened.count(name) for name in set(opened)}
    # Telemetry is opened once for the footer and once for each of the two laps.
    assert reads == {"telemetry": 3, "cars": 1, "laps": 1}
    catalog.laps(TRACK, SESSION)
    assert opened.count("laps") == 1


def test_a_large_table_is_not_cached(catalog: Catalog, opened: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published_tables, "SMALL_BYTES", 1_000)
    for _ in range(2):
        catalog.laps(TRACK, SESSION)
    assert opened == ["laps", "laps"]


def test_changing_a_frame_does_not_change_later_results(catalog: Catalog) -> None:
    frame = catalog.laps(TRACK, SESSION)
    frame["lap_number"] = 0
    frame.loc[0, "car_number"] = "77"
    assert set(catalog.laps(TRACK, SESSION)["lap_number"]) == {1, 2, 3, 99}
    assert "77" not in set(catalog.laps(TRACK, SESSION)["car_number"])


def test_a_lake_is_opened_by_its_folder_or_by_the_settings(tmp_path: Path) -> None:
    publish_race(local_store(tmp_path), 300)
    settings = load_settings(lake_dir=tmp_path / "lake", state_dir=tmp_path / "state")
    for catalog in (open_catalog(tmp_path / "lake", settings), open_catalog(settings=settings)):
        assert catalog.uri == str(tmp_path / "lake")
        assert len(catalog.telemetry(TRACK, SESSION, vehicle_id=CAR)) == 300


def test_an_unpublished_session_or_table_is_an_error(catalog: Catalog) -> None:
    with pytest.raises(ObjectMissingError, match=r"test_track/R2 is not published\. Published sessions: test_track/R1"):
        catalog.telemetry(TRACK, "R2")
    with pytest.raises(ObjectMissingError, match=r"test_track/R1 was published without the table dreams\. Run a sync"):
        catalog.table("dreams", TRACK, SESSION)


@pytest.mark.parametrize(("track", "session"), [("test", "r1"), ("Test Track", "Race 1"), ("TEST_TRACK", "R1")])
def test_tracks_and_sessions_have_all_their_names(catalog: Catalog, track: str, session: str) -> None:
    assert catalog.find_session(track, session) == (TRACK, SESSION)
    assert catalog.find_sessions(track) == [(TRACK, SESSION)]
    assert catalog.laps(track, session).equals(catalog.laps(TRACK, SESSION))


def test_an_unknown_track_or_table_is_an_error_with_the_names_that_exist(catalog: Catalog) -> None:
    with pytest.raises(ConfigurationError, match=r"'tesst'\. Did you mean test_track\? Its tracks are: test_track"):
        catalog.laps("tesst", SESSION)
    with pytest.raises(ObjectMissingError, match=r"without the table lpas\..* Did you mean laps\? Its tables are: "):
        catalog.table("lpas", TRACK, SESSION)


def test_a_name_that_is_not_text_of_a_key_is_an_error(catalog: Catalog) -> None:
    for track in ("../..", "", "\udcff", "a/b"):
        with pytest.raises(ConfigurationError, match="The lake has no track"):
            catalog.laps(track, SESSION)


def test_the_package_imports_the_loaders_only_when_they_are_used() -> None:
    script = (
        "import sys, apex_pipeline.catalog as c; c.open_catalog; print('pandas' in sys.modules, c.get_loader.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "get_loader"]
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        catalog_package.nothing  # noqa: B018  -- reading it is the test
