"""Location of the finish line, and crossings of it by position alone."""

import numpy as np
import pytest

from apex_pipeline.sources.gr_cup.telemetry.gps_crossings import (
    FinishLine,
    Positions,
    gps_crossings,
    is_at_line,
    locate_line,
    pair_coordinates,
)
from apex_pipeline.sources.gr_cup.telemetry.lap_distance import Distance
from apex_pipeline_tests.sources.gr_cup.telemetry.laps_driven import (
    FIX_MS,
    distance_of,
    driven_m,
    positions_of,
    times,
)

NO_DISTANCE = Distance(np.empty(0), np.empty(0))
NO_POSITIONS = Positions(np.empty(0), np.empty(0), np.empty(0))
CROSSINGS = [30_000.0, 130_000.0, 230_000.0, 330_000.0]


def race_positions(seconds: float = 350) -> Positions:
    time_ms = times(seconds, FIX_MS, start_ms=7.0)
    return positions_of(time_ms, driven_m(time_ms))


def race_distance(seconds: float = 350) -> Distance:
    time_ms = times(seconds)
    return distance_of(time_ms, driven_m(time_ms))


@pytest.fixture
def line() -> FinishLine:
    found = locate_line([(race_distance(), race_positions())])
    assert found is not None
    return found


class TestLocateLine:
    def test_the_line_is_where_laps_start_and_faces_the_driving_direction(self, line: FinishLine) -> None:
        at_zero = positions_of(np.zeros(1), np.zeros(1))

        along, across = line.along_and_across(at_zero.latitude_deg, at_zero.longitude_deg)
        assert np.hypot(along, across)[0] < 2.0
        assert (line.east, line.north) == pytest.approx((0.0, 1.0), abs=0.05)

    def test_a_lap_distance_reset_in_the_pits_does_not_move_the_line(self, line: FinishLine) -> None:
        time_ms = times(60, 200.0, start_ms=60_000.0)
        standing = Distance(time_ms, np.zeros(len(time_ms)))
        pit = positions_of(time_ms, np.full(len(time_ms), 700.0))

        assert locate_line([(race_distance(), race_positions()), (standing, pit)]) == line

    @pytest.mark.parametrize(
        "cars",
        [
            [],
            [(NO_DISTANCE, race_positions())],
            [(race_distance(), NO_POSITIONS)],
            [(Distance(times(60), times(60) + 900), race_positions())],
        ],
        ids=["no cars", "no distance", "no positions", "never near zero"],
    )
    def test_no_line_is_located_from_too_little_data(self, cars: list[tuple[Distance, Positions]]) -> None:
        assert locate_line(cars) is None

    def test_no_line_is_located_if_lap_starts_are_scattered(self) -> None:
        time_ms = times(350)
        scattered = Distance(time_ms, np.floor(driven_m(time_ms) % 310.0))

        assert locate_line([(scattered, race_positions())]) is None


class TestGpsCrossings:
    def test_crossings_are_timed_between_the_positions(self, line: FinishLine) -> None:
        assert gps_crossings(race_positions(), line).tolist() == pytest.approx(CROSSINGS, abs=30)

    def test_a_repeated_position_has_the_time_of_its_first_reading(self, line: FinishLine) -> None:
        sent = race_positions()
        twice = Positions(
            np.sort(np.concatenate([sent.time_ms, sent.time_ms + 43])),
            np.repeat(sent.latitude_deg, 2),
            np.repeat(sent.longitude_deg, 2),
        )

        assert gps_crossings(twice, line).tolist() == pytest.approx(gps_crossings(sent, line).tolist())

    def test_a_car_parked_on_the_line_crosses_once(self, line: FinishLine) -> None:
        time_ms = times(120, FIX_MS)
        wobble = np.where(np.arange(len(time_ms)) % 2, 2.0, -2.0)

        found = gps_crossings(positions_of(time_ms, np.minimum(driven_m(time_ms), 0.0) + wobble), line)

        assert found.tolist() == pytest.approx([30_000], abs=200)

    def test_driving_in_the_other_direction_is_not_a_crossing(self, line: FinishLine) -> None:
        time_ms = times(350, FIX_MS)

        assert not len(gps_crossings(positions_of(time_ms, -driven_m(time_ms)), line))

    def test_driving_on_a_road_next_to_the_track_is_not_a_crossing(self, line: FinishLine) -> None:
        sent = race_positions()

        assert not len(gps_crossings(Positions(sent.time_ms, sent.latitude_deg, sent.longitude_deg + 0.001), line))

    def test_a_gap_at_the_line_hides_the_crossing(self, line: FinishLine) -> None:
        sent = race_positions()
        kept = np.abs(sent.time_ms - 130_000) > 1_500

        assert gps_crossings(Positions(*(column[kept] for column in sent)), line).tolist() == pytest.approx(
            [30_000, 230_000, 330_000], abs=30
        )

    @pytest.mark.parametrize("count", [0, 1])
    def test_fewer_than_two_positions_give_no_crossings(self, line: FinishLine, count: int) -> None:
        assert not len(gps_crossings(Positions(*(column[:count] for column in race_positions())), line))


def test_a_time_with_unknown_position_counts_as_near_the_line(line: FinishLine) -> None:
    asked = np.array([30_000.0, 80_000.0, 999_999.0])

    assert is_at_line(asked, race_positions(), line).tolist() == [True, False, True]
    assert is_at_line(asked, NO_POSITIONS, line).tolist() == [True, True, True]


class TestPairCoordinates:
    def test_coordinates_with_equal_times_are_paired(self) -> None:
        paired = pair_coordinates(
            (np.array([0.0, 5_000]), np.array([1.0, 2])), (np.array([0.0, 5_000]), np.array([8.0, 9]))
        )

        assert np.array(paired).tolist() == [[0, 5_000], [1, 2], [8, 9]]

    def test_alternating_coordinates_are_paired_at_the_latitude_times(self) -> None:
        paired = pair_coordinates(
            (np.array([0.0, 100, 900]), np.array([1.0, 2, 3])), (np.array([50.0, 150]), np.array([7.0, 9]))
        )

        assert np.array(paired).tolist() == [[100], [2], [8]]

    def test_one_coordinate_alone_is_not_a_position(self) -> None:
        assert not len(pair_coordinates((np.array([0.0]), np.array([1.0])), (np.empty(0), np.empty(0))).time_ms)
        assert not len(pair_coordinates((np.empty(0), np.empty(0)), (np.array([0.0]), np.array([1.0]))).time_ms)
