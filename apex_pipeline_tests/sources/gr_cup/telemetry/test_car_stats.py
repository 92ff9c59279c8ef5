"""The table telemetry_cars: clock correction and reading counts of each car."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apex_pipeline.sources.gr_cup.telemetry.car_stats import holes_table, telemetry_cars_table
from apex_pipeline.sources.gr_cup.telemetry.holes import HoleFinder, most_holes_of_car, telemetry_holes_table
from apex_pipeline.tables import TELEMETRY_CARS, TELEMETRY_HOLES
from apex_pipeline_tests.sources.gr_cup.telemetry.readings import (
    CAR,
    KEY,
    RACE_START,
    Row,
    car_moment,
    convert,
    convert_rows,
    csv_bytes,
    laps_table,
    moment,
    reading,
    write_file,
)

OTHER_CAR = "GR86-003-3"


def cars_of(folder: Path, rows: list[Row]) -> list[dict[str, Any]]:
    table = telemetry_cars_table(KEY.track, KEY.session, convert_rows(folder, rows).report)
    assert TELEMETRY_CARS.violations(table) == []
    return table.to_pylist()


def holes_of(folder: Path, rows: list[Row]) -> list[dict[str, Any]]:
    table = holes_table(KEY.track, KEY.session, convert_rows(folder, rows).report)
    assert TELEMETRY_HOLES.violations(table) == []
    return table.to_pylist()


def found_by(finder: HoleFinder) -> list[tuple[int, int, int | None, int | None]]:
    """Return start and end in milliseconds, lap and bunched samples of each hole."""
    holes = finder.holes()
    start_ms, end_ms = (holes[f"hole_{side}_utc"].cast(pa.int64()).to_pylist() for side in ("start", "end"))
    laps, bunched = (holes[name].to_pylist() for name in ("lap_number", "bunched_samples"))
    return list(zip(start_ms, end_ms, laps, bunched, strict=True))


def car_of(folder: Path, rows: list[Row]) -> dict[str, Any]:
    (car,) = cars_of(folder, rows)
    return car


def test_a_clock_correction_has_offset_spread_and_method(tmp_path: Path) -> None:
    car = car_of(tmp_path, [reading(at, meta_time=moment(at + late)) for at, late in enumerate([1, 1, 1, 1, 3])])

    assert (car["track"], car["session"], car["vehicle_id"], car["chassis"]) == ("test_track", "R1", CAR, "002")
    assert car["clock_offset_s"] == car["clock_edge_offset_s"] == 2 * 86_400 + 3 + 1
    assert car["clock_spread_s"] == 2.0
    assert (car["clock_method"], car["is_clock_frozen"]) == ("lower_edge", False)
    assert (car["clock_piece"], car["clock_lap_offset_s"], car["clock_lap_changes"]) == (1, None, 0)
    # The last sample is 2 s late, and no later one shows that it is only the message.
    assert (car["unexplained_rows"], car["clock_residual_s"]) == (0, 2.0)


def test_a_car_with_a_frozen_clock_has_no_backward_steps(tmp_path: Path) -> None:
    car = car_of(tmp_path, [reading(at, timestamp=car_moment(0)) for at in range(60)])

    assert (car["clock_method"], car["is_clock_frozen"]) == ("received", True)
    assert car["backward_steps"] is None
    assert car["first_sample_utc"] == RACE_START


def test_readings_duplicates_and_repeats_are_counted_per_car(tmp_path: Path) -> None:
    rows = [reading(0), reading(0), reading(0, value="7"), reading(1), reading(0, vehicle_id=OTHER_CAR)]

    first, second = cars_of(tmp_path, rows)

    assert (first["readings"], first["exact_duplicates"], first["repeat_rows"]) == (4, 1, 1)
    assert (second["readings"], second["exact_duplicates"], second["repeat_rows"]) == (1, 0, 0)


def test_rejected_readings_are_not_counted(tmp_path: Path) -> None:
    assert car_of(tmp_path, [reading(0), reading(1, value="N/A")])["readings"] == 1


def test_more_than_two_seconds_between_samples_are_a_gap(tmp_path: Path) -> None:
    car = car_of(tmp_path, [reading(at) for at in (0, 2, 4.5, 5, 15.25)])

    assert (car["gaps"], car["longest_gap_s"]) == (2, 10.25)
    assert (car["last_sample_utc"] - car["first_sample_utc"]).total_seconds() == 15.25


def test_holes_from_half_a_second_to_two_are_counted_apart(tmp_path: Path) -> None:
    car = car_of(tmp_path, [reading(at) for at in (0, 0.5, 1.001, 2.43, 2.5, 4.5, 6.58)])

    assert (car["short_gaps"], car["gaps"], car["longest_gap_s"]) == (3, 1, 2.08)


class TestHoles:
    def test_each_hole_of_more_than_half_a_second_is_listed(self, tmp_path: Path) -> None:
        holes = holes_of(tmp_path, [reading(at) for at in (0, 0.5, 1.001, 2.43, 2.5, 4.5, 6.58)])

        assert [hole["hole_s"] for hole in holes] == [0.501, 1.429, 2.0, 2.08]
        assert [(hole["hole_start_utc"] - RACE_START).total_seconds() for hole in holes] == [0.5, 1.001, 2.5, 4.5]
        assert all(hole["hole_end_utc"] > hole["hole_start_utc"] for hole in holes)
        assert {hole["vehicle_id"] for hole in holes} == {CAR}

    @pytest.mark.parametrize("rows_of_part", [1, 7, 52, 1_000])
    def test_samples_bunched_after_a_hole_are_counted_however_the_rows_come(self, rows_of_part: int) -> None:
        even = np.arange(50) * 43
        # After 1.4 s the unit sends what it kept: five samples within 12 ms; one more is not within a second.
        kept = np.array([3_500, 3_503, 3_506, 3_509, 3_512])
        later = 3_512 + np.arange(1, 30) * 43
        times_ms = np.concatenate([even, kept, later, [later[-1] + 3]])
        finder = HoleFinder(is_frozen=False, most=10_000)

        for first in range(0, len(times_ms), rows_of_part):
            part_ms = times_ms[first : first + rows_of_part]
            finder.add(part_ms, pa.chunked_array([pa.array(part_ms // 1_000)]))

        assert found_by(finder) == [(2_107, 3_500, 2, 4)]

    @pytest.mark.parametrize("rows_of_part", [1, 3, 100])
    def test_a_second_hole_right_after_the_first_has_its_own_bunched_samples(self, rows_of_part: int) -> None:
        times_ms = np.concatenate([np.arange(20) * 43, [1_500, 1_502, 2_200, 2_203, 2_206, 2_249]])
        finder = HoleFinder(is_frozen=False, most=10_000)

        for first in range(0, len(times_ms), rows_of_part):
            part_ms = times_ms[first : first + rows_of_part]
            finder.add(part_ms, pa.chunked_array([pa.nulls(len(part_ms), pa.int64())]))

        assert found_by(finder) == [(817, 1_500, None, 1), (1_502, 2_200, None, 2)]

    def test_evenly_spaced_samples_after_a_hole_are_not_bunched(self, tmp_path: Path) -> None:
        times = [*(at * 0.087 for at in range(30)), *(5 + at * 0.043 for at in range(30))]

        (hole,) = holes_of(tmp_path, [reading(at) for at in times])

        assert hole["bunched_samples"] == 0

    def test_where_the_clock_stood_still_bunching_is_not_known(self, tmp_path: Path) -> None:
        holes = holes_of(tmp_path, [reading(at, timestamp=car_moment(0)) for at in range(60)])

        assert len(holes) == 59
        assert {hole["bunched_samples"] for hole in holes} == {None}

    def test_a_hole_has_the_lap_of_the_last_sample_before_it(self, tmp_path: Path) -> None:
        rows = [reading(at) for at in (1, 1.2, 8, 8.2, 12, 12.2, 25, 25.2, 30)]
        report = convert_rows(tmp_path, rows, laps_table((CAR, 1, 0, 10), (CAR, 2, 10, 20))).report

        holes = holes_table(KEY.track, KEY.session, report).to_pylist()

        assert [hole["lap_number"] for hole in holes] == [1, 1, 2, None]

    def test_the_list_of_a_car_has_a_limit(self) -> None:
        finder = HoleFinder(is_frozen=False, most=100)

        for first in range(0, 400, 80):
            finder.add(np.arange(first, first + 80) * 1_000, pa.chunked_array([pa.nulls(80, pa.int64())]))

        assert [hole[0] for hole in found_by(finder)] == [at * 1_000 for at in range(100)]

    def test_the_list_of_a_session_has_a_limit_and_its_cars_share_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("apex_pipeline.sources.gr_cup.telemetry.holes._MOST_OF_SESSION", 7)
        rows = [reading(at, vehicle_id=car) for at in range(10) for car in (CAR, OTHER_CAR)]

        report = convert_rows(tmp_path, rows).report

        holes = holes_table(KEY.track, KEY.session, report)
        assert TELEMETRY_HOLES.violations(holes) == []
        assert holes["vehicle_id"].to_pylist() == sorted([CAR, OTHER_CAR] * 3)
        # All are counted.
        assert [car.short_gaps for car in report.cars] == [9, 9]

    @pytest.mark.parametrize(("cars", "most"), [(0, 10_000), (1, 10_000), (30, 10_000), (60, 5_000), (1_000, 300)])
    def test_of_many_cars_fewer_holes_each_are_listed(self, cars: int, most: int) -> None:
        assert most_holes_of_car(cars) == most

    def test_a_hole_takes_no_more_memory_than_its_numbers(self) -> None:
        rows = pa.chunked_array([pa.nulls(3_001, pa.int64())])
        tracemalloc.start()
        finders = [HoleFinder(is_frozen=False, most=3_000) for _ in range(3)]
        for finder in finders:
            finder.add(np.arange(3_001) * 1_000, rows)
        listed, _ = tracemalloc.get_traced_memory()
        cars = [(f"GR86-00{number}-{number}", finder.holes()) for number, finder in enumerate(finders)]
        table = telemetry_holes_table(KEY.track, KEY.session, cars)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

        assert table.num_rows == 9_000
        # As objects of Python they took 400 bytes each, and 400 more while the table was made.
        assert listed < 50 * table.num_rows
        assert peak < 120 * table.num_rows
        assert table.nbytes < 60 * table.num_rows


def test_without_gaps_the_longest_gap_is_null(tmp_path: Path) -> None:
    car = car_of(tmp_path, [reading(0), reading(1)])

    assert (car["gaps"], car["longest_gap_s"]) == (0, None)


class TestBackwardSteps:
    def test_the_order_of_the_lines_gives_no_backward_steps(self, tmp_path: Path) -> None:
        assert car_of(tmp_path, [reading(at) for at in range(200, 0, -1)])["backward_steps"] == 0

    def test_a_message_almost_a_minute_late_is_not_a_backward_step(self, tmp_path: Path) -> None:
        rows = [reading(at, meta_time=moment(at + (52 if at == 50 else 1))) for at in range(100)]

        assert car_of(tmp_path, rows)["backward_steps"] == 0

    def test_a_clock_that_was_set_back_has_two_pieces_and_no_backward_steps(self, tmp_path: Path) -> None:
        before = [reading(at) for at in range(100)]
        # At 100 s the clock is set back by 95.5 s: it shows 4.5 s again, and so on.
        after = [reading(at, timestamp=car_moment(at - 95.5)) for at in range(100, 200)]

        first, second = cars_of(tmp_path, before + after)

        assert second["clock_offset_s"] - first["clock_offset_s"] == 95.5
        assert (second["backward_steps"], second["unexplained_rows"]) == (0, 0)
        assert (second["piece_start_utc"] - first["piece_end_utc"]).total_seconds() == 1


def test_sent_and_missing_channels_are_listed_by_column(tmp_path: Path) -> None:
    rows = [reading(0), reading(0, "gear", "3"), reading(0, "nmot", "9", vehicle_id=OTHER_CAR)]

    first, second = cars_of(tmp_path, rows)

    assert (first["channels"], first["missing_channels"]) == (["speed_kph", "gear"], ["engine_rpm"])
    assert (second["channels"], second["missing_channels"]) == (["engine_rpm"], ["gear", "speed_kph"])


def test_a_session_without_telemetry_gives_an_empty_table(tmp_path: Path) -> None:
    assert not cars_of(tmp_path, [])
    assert telemetry_cars_table("a", "R1", convert(tmp_path).report).num_rows == 0


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(st.integers(0, 90), st.integers(0, 90), st.sampled_from([CAR, OTHER_CAR]), st.sampled_from("123")),
        min_size=1,
        max_size=40,
    )
)
def test_sample_times_never_go_back_and_the_counts_add_up(
    tmp_path_factory: pytest.TempPathFactory, sent: list[tuple[int, int, str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("cars")
    rows = [reading(at, value=value, meta_time=moment(received), vehicle_id=car) for at, received, car, value in sent]

    converted = convert(folder, write_file(folder, csv_bytes(rows)))

    table = telemetry_cars_table(KEY.track, KEY.session, converted.report).to_pylist()
    cars = {car["vehicle_id"]: car for car in table}.values()
    assert sum(car["readings"] for car in cars) == len(rows)
    assert sum(car["exact_duplicates"] for car in cars) == converted.report.counts.exact_duplicates
    for car in cars:
        of_car = converted.table.filter(pc.equal(converted.table["vehicle_id"].cast("string"), car["vehicle_id"]))
        at = of_car["sample_time_utc"].to_pylist()
        assert at == sorted(at)
        assert (at[0], at[-1]) == (car["first_sample_utc"], car["last_sample_utc"])
        known = {piece["clock_offset_s"] for piece in table if piece["vehicle_id"] == car["vehicle_id"]}
        for row in of_car.to_pylist():
            offset = (row["sample_time_utc"] - row["car_time"]).total_seconds()
            is_received = row["sample_time_utc"] == row["received_time_utc"]
            assert offset in known or (is_received and (car["is_clock_frozen"] or row["time_flag"] == "unplaced"))
