"""Telemetry by car, lap, time and channel: the right rows, however they are selected and stored."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, cast

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from apex_pipeline.catalog import Catalog
from apex_pipeline.catalog.frames import to_pandas
from apex_pipeline.errors import ConfigurationError, ObjectMissingError, StoreCorruptionError
from apex_pipeline_tests.catalog.race_lake import (
    CAR,
    FOUR_CHANNELS,
    IN_TWO_GROUPS,
    LAP_MS,
    SESSION,
    START,
    STEP_MS,
    TRACK,
    VEHICLES,
    Race,
    car_rows,
    lap_start_ms,
    local_store,
    number_of,
    publish_race,
    race_bytes,
    race_cars,
    race_laps,
    telemetry_bytes,
)

_SAMPLE_COLUMNS = ["vehicle_id", "sample_time_utc", "repeat", "lap_number"]


def times_ms(samples: pa.Table) -> list[int]:
    return samples["sample_time_utc"].cast(pa.int64()).to_pylist()


def expected(vehicle: str, rows: int, lap_number: int) -> pa.Table:
    """Return the samples of a lap, selected from the generated rows by time."""
    start, end = lap_start_ms(lap_number), lap_start_ms(lap_number) + LAP_MS
    samples = car_rows(vehicle, rows)
    return samples.filter(pa.array([start <= time < end for time in times_ms(samples)]))


class TestLaps:
    @pytest.mark.parametrize("vehicle", [CAR, IN_TWO_GROUPS, VEHICLES[0], VEHICLES[-1]])
    @pytest.mark.parametrize("lap_number", [1, 2, 3])
    def test_a_lap_includes_its_start_and_excludes_its_end(
        self, race: Race, catalog: Catalog, vehicle: str, lap_number: int
    ) -> None:
        samples = catalog.telemetry_arrow(
            TRACK, SESSION, vehicle_id=vehicle, lap_number=lap_number, channels=FOUR_CHANNELS
        )
        wanted = expected(vehicle, race.rows, lap_number).select([*_SAMPLE_COLUMNS, *FOUR_CHANNELS])
        assert samples.num_rows == pytest.approx(LAP_MS / STEP_MS, abs=1)
        assert samples.to_pylist() == wanted.to_pylist()
        assert set(samples["lap_number"].to_pylist()) == {lap_number}

    def test_a_lap_number_without_a_car_selects_that_lap_of_every_car(self, catalog: Catalog) -> None:
        samples = catalog.telemetry_arrow(TRACK, SESSION, lap_number=2, channels=["gear"])
        per_car = [
            catalog.telemetry_arrow(TRACK, SESSION, vehicle_id=vehicle, lap_number=2, channels=["gear"])
            for vehicle in VEHICLES
        ]
        assert samples.to_pylist() == pa.concat_tables(per_car).to_pylist()

    def test_an_unknown_lap_is_an_error_that_lists_the_laps_of_the_car(self, catalog: Catalog) -> None:
        with pytest.raises(ConfigurationError, match=r"GR86-007-7 has no lap 4\. Its laps are: 1, 2, 3, 99\."):
            catalog.telemetry(TRACK, SESSION, vehicle_id=CAR, lap_number=4)

    def test_a_lap_without_a_start_in_utc_is_an_error(self, catalog: Catalog) -> None:
        with pytest.raises(ConfigurationError, match=r"Lap 99 of GR86-007-7 has no UTC start or end"):
            catalog.telemetry(TRACK, SESSION, vehicle_id=CAR, lap_number=99)

    @pytest.mark.parametrize("lap_number", [4, 99])
    def test_a_lap_that_no_car_has_with_times_is_an_error_that_lists_the_others(
        self, catalog: Catalog, lap_number: int
    ) -> None:
        with pytest.raises(
            ConfigurationError,
            match=rf"No car has a lap {lap_number} with a UTC start and end\. The session has: 1, 2, 3\.",
        ):
            catalog.telemetry(TRACK, SESSION, lap_number=lap_number)


class TestCars:
    def test_a_car_is_found_by_its_number(self, catalog: Catalog) -> None:
        by_vehicle_id = catalog.telemetry_arrow(TRACK, SESSION, vehicle_id=CAR, channels=["gear"])
        by_number = catalog.telemetry_arrow(TRACK, SESSION, car_number=number_of(CAR), channels=["gear"])
        assert by_number.equals(by_vehicle_id)
        assert set(by_vehicle_id["vehicle_id"].to_pylist()) == {CAR}

    def test_without_a_car_all_cars_are_returned(self, race: Race, catalog: Catalog) -> None:
        samples = catalog.telemetry(TRACK, SESSION, channels=["gear"])
        assert len(samples) == len(VEHICLES) * race.rows
        assert list(samples["vehicle_id"].unique()) == list(VEHICLES)

    @pytest.mark.parametrize(
        ("selection", "called"),
        [
            ({"vehicle_id": "GR86-007-8"}, r"vehicle_id 'GR86-007-8'"),
            ({"car_number": "7"}, r"car_number '7'"),
            ({"car_number": "51"}, r"car_number '51'"),
            ({"vehicle_id": CAR, "car_number": "1008"}, r"vehicle_id 'GR86-007-7' and car_number '1008'"),
        ],
    )
    def test_an_unknown_car_is_an_error_that_lists_the_cars(
        self, catalog: Catalog, selection: Mapping[str, Any], called: str
    ) -> None:
        with pytest.raises(
            ConfigurationError,
            match=rf"test_track/R1 has no car with {called}\. Its cars are: GR86-001-1 \(#1001\), .*GR86-020-20",
        ):
            catalog.telemetry(TRACK, SESSION, **selection)

    def test_a_number_shared_by_two_cars_is_an_error_that_names_both(self, tmp_path: Path) -> None:
        cars = race_cars(VEHICLES[:3])
        same = cars.set_column(cars.schema.get_field_index("car_number"), "car_number", pa.array(["5", "5", "6", "51"]))
        catalog = publish_race(local_store(tmp_path), 300, cars=same).catalog
        with pytest.raises(ConfigurationError, match=r"car_number '5' may be any of GR86-001-1 \(#5\), GR86-002-2"):
            catalog.telemetry(TRACK, SESSION, car_number="5")

    def test_a_car_without_telemetry_has_no_rows(self, tmp_path: Path) -> None:
        sent = race_bytes(3_000, VEHICLES[:2])
        catalog = publish_race(local_store(tmp_path), 3_000, telemetry=sent).catalog
        both: list[dict[str, Any]] = [{"vehicle_id": CAR}, {"car_number": number_of(CAR), "lap_number": 2}]
        for selection in both:
            samples = catalog.telemetry(TRACK, SESSION, channels=["gear"], **selection)
            assert samples.empty
            assert list(samples.columns) == [*_SAMPLE_COLUMNS, "gear"]

    def test_a_car_without_lap_triggers_still_has_telemetry(self, tmp_path: Path) -> None:
        few = VEHICLES[:2]
        catalog = publish_race(local_store(tmp_path), 300, laps=race_laps(300, few), cars=race_cars(few)).catalog
        assert len(catalog.telemetry(TRACK, SESSION, vehicle_id=CAR)) == 300
        with pytest.raises(ConfigurationError, match=r"GR86-007-7 has no lap 1\. It has no laps\."):
            catalog.telemetry(TRACK, SESSION, vehicle_id=CAR, lap_number=1)
        with pytest.raises(ConfigurationError, match=r"Its cars are: GR86-001-1 \(#1001\), .*GR86-007-7, GR86-008-8"):
            catalog.telemetry(TRACK, SESSION, car_number="7")


class TestTimes:
    def test_a_time_range_includes_its_start_and_excludes_its_end(self, catalog: Catalog) -> None:
        samples = catalog.telemetry_arrow(
            *(TRACK, SESSION),
            vehicle_id=CAR,
            start_utc=START + timedelta(milliseconds=2 * STEP_MS),
            end_utc=START + timedelta(milliseconds=5 * STEP_MS),
        )
        first = int(START.timestamp() * 1000)
        assert times_ms(samples) == [first + step * STEP_MS for step in (2, 3, 4)]

    def test_a_time_between_two_milliseconds_is_rounded_up(self, catalog: Catalog) -> None:
        within: dict[str, Any] = {
            "start_utc": START + timedelta(milliseconds=STEP_MS, microseconds=1),
            "end_utc": START + timedelta(milliseconds=2 * STEP_MS, microseconds=1),
        }
        (only,) = times_ms(catalog.telemetry_arrow(TRACK, SESSION, vehicle_id=CAR, **within))
        assert only == START.timestamp() * 1000 + 2 * STEP_MS

    def test_any_time_zone_and_pandas_timestamps_are_accepted(self, catalog: Catalog) -> None:
        start, end = START + timedelta(seconds=10), START + timedelta(seconds=20)
        chicago = timezone(timedelta(hours=-5))
        plain = catalog.telemetry_arrow(TRACK, SESSION, vehicle_id=CAR, start_utc=start, end_utc=end)
        assert plain.num_rows == pytest.approx(10_000 / STEP_MS, abs=1)
        for one, other in (
            (start.astimezone(chicago), end.astimezone(chicago)),
            (pd.Timestamp(start), pd.Timestamp(end).tz_convert("America/Chicago")),
        ):
            assert catalog.telemetry_arrow(TRACK, SESSION, vehicle_id=CAR, start_utc=one, end_utc=other).equals(plain)

    def test_a_time_range_without_a_car_selects_all_cars(self, catalog: Catalog) -> None:
        samples = catalog.telemetry(TRACK, SESSION, end_utc=START + timedelta(milliseconds=1), channels=["gear"])
        assert list(samples["vehicle_id"]) == list(VEHICLES)

    def test_a_time_range_and_a_lap_are_intersected(self, catalog: Catalog) -> None:
        middle = datetime.fromtimestamp(lap_start_ms(2) / 1000 + 20, START.tzinfo)
        lap = catalog.telemetry_arrow(TRACK, SESSION, vehicle_id=CAR, lap_number=2)
        parts = [
            catalog.telemetry_arrow(TRACK, SESSION, vehicle_id=CAR, lap_number=2, end_utc=middle),
            catalog.telemetry_arrow(TRACK, SESSION, vehicle_id=CAR, lap_number=2, start_utc=middle),
        ]
        assert all(part.num_rows > 400 for part in parts)
        assert pa.concat_tables(parts).to_pylist() == lap.to_pylist()

    @pytest.mark.parametrize("moment", [datetime(2025, 9, 6, 18, 40), pd.NaT])  # noqa: DTZ001  -- without a zone
    @pytest.mark.parametrize("name", ["start_utc", "end_utc"])
    def test_a_time_without_a_time_zone_is_refused(self, catalog: Catalog, name: str, moment: datetime) -> None:
        with pytest.raises(ConfigurationError, match=r"has no time zone\. Give it in UTC"):
            catalog.telemetry(TRACK, SESSION, **cast("dict[str, Any]", {name: moment}))

    @pytest.mark.parametrize("seconds", [0, -1])
    def test_a_time_range_that_ends_before_it_starts_is_refused(self, catalog: Catalog, seconds: int) -> None:
        with pytest.raises(ConfigurationError, match=r"start_utc 2025-09-06T18:40:00\+00:00 is not before end_utc"):
            catalog.telemetry(TRACK, SESSION, start_utc=START, end_utc=START + timedelta(seconds=seconds))


class TestColumns:
    def test_without_channels_all_columns_are_read(self, race: Race, catalog: Catalog) -> None:
        samples = catalog.telemetry_arrow(TRACK, SESSION, vehicle_id=CAR, lap_number=1)
        assert samples.to_pylist() == expected(CAR, race.rows, 1).to_pylist()

    def test_a_default_column_may_be_requested_as_a_channel(self, catalog: Catalog) -> None:
        samples = catalog.telemetry(
            TRACK, SESSION, vehicle_id=CAR, lap_number=1, channels=["unit_lap", "sample_time_utc"]
        )
        assert list(samples.columns) == [*_SAMPLE_COLUMNS, "unit_lap"]

    def test_an_unknown_channel_is_an_error_that_lists_the_channels(self, catalog: Catalog) -> None:
        with pytest.raises(ConfigurationError, match=r"no channel boost_bar, nmot\. It has: track, .*speed_kph"):
            catalog.telemetry(TRACK, SESSION, channels=["boost_bar", "gear", "nmot"])

    def test_the_pandas_frame_equals_the_arrow_table(self, catalog: Catalog) -> None:
        selection: dict[str, Any] = {"vehicle_id": CAR, "lap_number": 1, "channels": FOUR_CHANNELS}
        frame = catalog.telemetry(TRACK, SESSION, **selection)
        arrow = catalog.telemetry_arrow(TRACK, SESSION, **selection)
        pd.testing.assert_frame_equal(frame, to_pandas(arrow))
        assert str(frame["sample_time_utc"].dtype) == "datetime64[ms, UTC]"
        assert frame["speed_kph"].isna().mean() == pytest.approx(0.8, abs=0.01)


class TestFiles:
    def test_a_session_without_telemetry_has_no_rows(self, tmp_path: Path) -> None:
        catalog = publish_race(local_store(tmp_path), 3_000, telemetry=telemetry_bytes([])).catalog
        assert catalog.telemetry(TRACK, SESSION).empty
        assert catalog.telemetry(TRACK, SESSION, vehicle_id=CAR, lap_number=1).empty

    def test_a_file_without_statistics_gives_the_same_rows(self, race: Race, tmp_path: Path) -> None:
        path = tmp_path / "plain.parquet"
        table = pq.read_table(pa.BufferReader(race.telemetry))
        pq.write_table(table, path, row_group_size=10_000, write_statistics=False)
        plain = publish_race(local_store(tmp_path), race.rows, telemetry=path.read_bytes()).catalog
        samples = plain.telemetry_arrow(TRACK, SESSION, car_number=number_of(CAR), lap_number=2)
        assert samples.to_pylist() == expected(CAR, race.rows, 2).to_pylist()

    def test_a_file_with_several_cars_in_a_row_group_gives_the_same_rows(self, race: Race, tmp_path: Path) -> None:
        table = pq.read_table(pa.BufferReader(race.telemetry))
        pq.write_table(table, tmp_path / "mixed.parquet", row_group_size=10_000)
        mixed = publish_race(
            local_store(tmp_path), race.rows, telemetry=(tmp_path / "mixed.parquet").read_bytes()
        ).catalog
        for vehicle in VEHICLES[:8]:
            samples = mixed.telemetry_arrow(TRACK, SESSION, vehicle_id=vehicle, lap_number=2)
            assert samples.to_pylist() == expected(vehicle, race.rows, 2).to_pylist()

    def test_an_open_catalog_reads_the_same_after_a_later_sync(self, tmp_path: Path) -> None:
        race = publish_race(local_store(tmp_path), 3_000)
        catalog = race.catalog
        before = catalog.telemetry_arrow(TRACK, SESSION, vehicle_id=CAR, lap_number=2)
        # It has the same size as the old one, so a stale footer would go unnoticed.
        later = telemetry_bytes(car_rows(vehicle, 3_000, seed=1) for vehicle in VEHICLES)
        publish_race(race.store, 3_000, telemetry=later)
        assert catalog.telemetry_arrow(TRACK, SESSION, vehicle_id=CAR, lap_number=2).equals(before)
        assert not race.catalog.telemetry_arrow(TRACK, SESSION, vehicle_id=CAR, lap_number=2).equals(before)

    @pytest.mark.parametrize("damage", ["missing", "foreign"])
    def test_a_stable_name_is_not_read(self, tmp_path: Path, damage: str) -> None:
        race = publish_race(local_store(tmp_path), 300)
        key = race.catalog.snapshot.sessions[0].tables["telemetry"].key
        if damage == "missing":
            race.store.delete(key)
        else:
            race.store.write_bytes(key, b"another program's file")
        assert len(race.catalog.telemetry(TRACK, SESSION)) == 300 * len(VEHICLES)

    def test_a_deleted_file_is_an_error(self, tmp_path: Path) -> None:
        race = publish_race(local_store(tmp_path), 300)
        catalog = race.catalog
        race.store.delete(race.telemetry_key)
        race.store.delete(catalog.snapshot.sessions[0].tables["telemetry"].key)
        with pytest.raises(ObjectMissingError, match=r"telemetry\.parquet, is missing or damaged. Run `apex sync`"):
            catalog.telemetry(TRACK, SESSION)

    @pytest.mark.parametrize("page", ["dictionary", "data"])
    def test_a_damaged_page_is_an_error_if_the_file_has_checksums(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: str
    ) -> None:
        race = publish_race(local_store(tmp_path), 3_000)
        catalog = race.catalog
        column = pq.read_metadata(pa.BufferReader(race.telemetry)).row_group(7).column(11)
        assert column.path_in_schema == "speed_kph"
        damaged = bytearray(race.telemetry)
        ends = column.dictionary_page_offset + column.total_compressed_size
        pages = {"dictionary": (column.dictionary_page_offset, column.data_page_offset)}
        pages["data"] = (column.data_page_offset, ends)
        damaged[sum(pages[page]) // 2] ^= 1
        path = Path(race.store.uri_of(race.telemetry_key))
        info = race.store.head(race.telemetry_key)
        path.write_bytes(damaged)
        # A bit that flips on the disk or in transit leaves size, times and inode of the file unchanged.
        head = race.store.head
        monkeypatch.setattr(race.store, "head", lambda key: info if key == race.telemetry_key else head(key))
        assert not catalog.telemetry(TRACK, SESSION, vehicle_id=CAR, lap_number=2, channels=["gear"]).empty
        with pytest.raises(
            StoreCorruptionError, match=r"the published file of .*telemetry\.parquet, cannot be read .* damaged"
        ):
            catalog.telemetry(TRACK, SESSION, vehicle_id=CAR, lap_number=2, channels=["speed_kph"])

    def test_threads_sharing_a_catalog_get_the_same_rows_as_one_reader(self, race: Race) -> None:
        def lap_of(vehicle: str, catalog: Catalog) -> pa.Table:
            return catalog.telemetry_arrow(TRACK, SESSION, vehicle_id=vehicle, lap_number=2, channels=FOUR_CHANNELS)

        together, alone = race.catalog, race.catalog
        selection = [*VEHICLES, *VEHICLES]
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda vehicle: lap_of(vehicle, together), selection))
        assert all(samples.equals(lap_of(vehicle, alone)) for vehicle, samples in zip(selection, found, strict=True))
        assert all(pc.all(pc.is_valid(samples["latitude_deg"])).as_py() for samples in found)
