"""Clocks that stop, are set, or are only read late: each row has its true time, and what is not sure is said."""

import csv
import gzip
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apex_pipeline.sources.gr_cup.telemetry.car_stats import telemetry_cars_table
from apex_pipeline.sources.gr_cup.telemetry.clock_laps import LapCrossings, lap_crossings
from apex_pipeline.sources.gr_cup.telemetry.clocks import CellsBuilder, measure_clock
from apex_pipeline.sources.gr_cup.telemetry.report import CarClock
from apex_pipeline.sources.gr_cup.telemetry.spill import Frames
from apex_pipeline.tables import TELEMETRY, TELEMETRY_CARS
from apex_pipeline_tests.sources.gr_cup.telemetry.readings import KEY, convert, laps_table, telemetry_file

CASE = Path("cases/truth/clock_stops/R1_clock_stops_telemetry_data.csv")
BEHIND_MS = 200_000_000
LAP_MS = 90_000
# Messages take at least this long, and mostly twice as long.
SHORTEST_MS = 150


@dataclass(frozen=True)
class Drive:
    """Frames of a car with their true times, all in milliseconds. Shape (frames,) each."""

    true_ms: np.ndarray
    car_ms: np.ndarray
    received_ms: np.ndarray
    unit_lap: np.ndarray

    def frames(self) -> Frames:
        """Return the frames, one reading each."""
        ones = np.ones_like(self.car_ms)
        codes, values = np.zeros(len(ones), np.uint16), np.zeros(len(ones))
        return Frames(self.car_ms, self.received_ms, self.unit_lap, ones, codes, values)

    def clock(self, crossings: LapCrossings | None = None) -> CarClock:
        """Measure the clock, with the frames in blocks of any order."""
        order = np.random.default_rng(1).permutation(len(self.car_ms))
        frames = Drive(*(column[order] for column in vars(self).values())).frames()
        blocks = [frames.filter(np.arange(len(order)) % 7 == part) for part in range(7)]
        return measure_clock("car", lambda: blocks, crossings)

    def errors_ms(self, clock: CarClock) -> np.ndarray:
        """Return sample time minus true time of each frame."""
        return clock.sample_ms(self.car_ms, self.received_ms) - self.true_ms


def drive(spans_s: Sequence[tuple[float, float]], behind_s: Sequence[float], step_ms: int = 100) -> Drive:
    """Drive in these spans of true time, with the clock further behind by this much in each of them."""
    parts = [np.arange(int(start * 1000), int(end * 1000), step_ms) for start, end in spans_s]
    true_ms = np.concatenate(parts) + 1_750_000_000_000
    behind_ms = np.concatenate(
        [np.full(len(part), BEHIND_MS + int(late * 1000)) for part, late in zip(parts, behind_s, strict=True)]
    )
    random = np.random.default_rng(len(true_ms))
    delay_ms = SHORTEST_MS + random.exponential(400, len(true_ms)).astype(int)
    lap = (true_ms - true_ms[0]) // LAP_MS + 1
    return Drive(true_ms, true_ms - behind_ms, true_ms + delay_ms, lap)


def late(driven: Drive, start: int, end: int, by_ms: int) -> Drive:
    """Return the frames with those from ``start`` to ``end`` received together, up to this late."""
    received_ms = driven.received_ms.copy()
    received_ms[start:end] = driven.true_ms[end - 1] + by_ms
    return Drive(driven.true_ms, driven.car_ms, received_ms, driven.unit_lap)


@pytest.mark.parametrize("stop_s", [20, 61, 418, 3_600, 68_110])
def test_a_clock_that_stopped_has_a_piece_before_and_after(stop_s: int) -> None:
    driven = drive([(0, 400), (400 + stop_s, 800 + stop_s)], [0, stop_s])

    clock = driven.clock()

    assert len(clock.pieces) == 2
    assert np.abs(driven.errors_ms(clock)).max() < 500
    first, second = clock.pieces
    assert second.offset_ms - first.offset_ms == pytest.approx(stop_s * 1000, abs=100)


@pytest.mark.parametrize("stops_s", [(300, 40, 900), (3_600, 25, 60_000), (100, 100, 100)])
def test_a_clock_may_stop_several_times(stops_s: tuple[int, ...]) -> None:
    spans, behind, now = [(0.0, 300.0)], [0.0], 300.0
    for stop in stops_s:
        now += stop
        spans.append((now, now + 300))
        behind.append(behind[-1] + stop)
        now += 300
    driven = drive(spans, behind)

    clock = driven.clock()

    assert len(clock.pieces) == len(spans)
    assert np.abs(driven.errors_ms(clock)).max() < 500


@pytest.mark.parametrize("set_s", [-95, -7_000, 95, 86_400])
def test_a_clock_may_be_set_forward_or_back_while_it_runs(set_s: int) -> None:
    driven = drive([(0, 400), (400, 800)], [0, set_s])

    clock = driven.clock()

    assert len(clock.pieces) == 2
    assert np.abs(driven.errors_ms(clock)).max() < 500


@pytest.mark.parametrize("by_ms", [2_500, 9_000, 30_000, 45_000])
@pytest.mark.parametrize("length", [5, 50, 140])
@pytest.mark.parametrize("at", [0, 1_000, 2_800])
def test_late_messages_are_no_stop_of_the_clock(by_ms: int, length: int, at: int) -> None:
    driven = late(drive([(0, 400)], [0]), at, at + length, by_ms)

    clock = driven.clock()

    assert len(clock.pieces) == 1
    assert np.abs(driven.errors_ms(clock)).max() < 500
    index = clock.pieces_of(driven.car_ms, driven.received_ms)
    assert clock.unexplained_ms(index, driven.car_ms, driven.received_ms).max() <= 2_000


def test_a_minute_of_traffic_jam_on_the_radio_is_no_stop_of_the_clock() -> None:
    driven = drive([(0, 900)], [0])
    received_ms = driven.received_ms + np.where((driven.true_ms - driven.true_ms[0]) // 200_000 == 2, 6_000, 0)
    driven = Drive(driven.true_ms, driven.car_ms, received_ms, driven.unit_lap)

    clock = driven.clock()

    assert len(clock.pieces) == 1
    assert np.abs(driven.errors_ms(clock)).max() < 500


@pytest.mark.parametrize("early_ms", [1_000, 9_000, 5_000_000])
def test_a_stray_receive_time_moves_neither_offset_nor_pieces(early_ms: int) -> None:
    driven = drive([(0, 900)], [0])
    received_ms = driven.received_ms.copy()
    received_ms[5_000:5_006] -= early_ms
    driven = Drive(driven.true_ms, driven.car_ms, received_ms, driven.unit_lap)

    clock = driven.clock()

    assert len(clock.pieces) == 1
    assert clock.pieces[0].offset_ms == pytest.approx(BEHIND_MS + SHORTEST_MS, abs=20)
    errors_ms = np.abs(driven.errors_ms(clock))
    assert np.delete(errors_ms, range(5_000, 5_006)).max() < 500
    index = clock.pieces_of(driven.car_ms, driven.received_ms)
    unexplained = clock.unexplained_ms(index, driven.car_ms, driven.received_ms) > 2_000
    assert unexplained.sum() == (6 if early_ms > 2_500 else 0)


def test_rows_after_a_stop_too_short_to_be_told_from_late_messages_are_not_sure() -> None:
    driven = drive([(0, 400), (430, 440)], [0, 30])

    clock = driven.clock()

    index = clock.pieces_of(driven.car_ms, driven.received_ms)
    unsure = clock.unexplained_ms(index, driven.car_ms, driven.received_ms) > 2_000
    assert unsure[driven.true_ms - driven.true_ms[0] > 431_000].all()
    assert not unsure[:4_000].any()


def test_rows_while_the_clock_stands_still_are_not_sure() -> None:
    driven = drive([(0, 800)], [0])
    stands = (driven.true_ms - driven.true_ms[0]) // 100_000 == 4
    car_ms = np.where(stands, driven.car_ms[stands][0], driven.car_ms) - 100_000 * (
        driven.true_ms - driven.true_ms[0] >= 500_000
    )
    driven = Drive(driven.true_ms, car_ms, driven.received_ms, driven.unit_lap)

    clock = driven.clock()

    errors_ms = np.abs(driven.errors_ms(clock))
    assert len(clock.pieces) == 2
    assert errors_ms[~stands].max() < 500
    index = clock.pieces_of(driven.car_ms, driven.received_ms)
    unexplained = clock.unexplained_ms(index, driven.car_ms, driven.received_ms) > 2_000
    # As long as the longest delay of a message elsewhere, a row is taken for late.
    assert (unexplained | (errors_ms < 4_500))[stands].all()


class TestLapChanges:
    def crossings(self, driven: Drive, late_ms: Callable[[int], int] = lambda _: 0) -> LapCrossings:
        """Return the crossings at the lap changes, stamped late by this much."""
        start = int(driven.true_ms[0])
        count = int(driven.unit_lap[-1])
        at = {lap: start + lap * LAP_MS + late_ms(lap) for lap in range(count)}
        return LapCrossings(
            {lap + 1: (at[lap],) for lap in range(1, count)}, {lap: (at[lap],) for lap in range(1, count)}
        )

    def test_the_offset_is_that_of_the_lap_changes(self) -> None:
        driven = drive([(0, 900)], [0])

        (piece,) = driven.clock(self.crossings(driven)).pieces

        assert piece.lap_changes == 9
        assert piece.offset_ms == piece.lap_offset_ms == pytest.approx(BEHIND_MS, abs=51)
        assert piece.edge_offset_ms == pytest.approx(BEHIND_MS + SHORTEST_MS, abs=20)

    @pytest.mark.parametrize("late_laps", [{3}, {2, 5}, {1, 2, 3}])
    def test_crossings_stamped_late_do_not_move_it(self, late_laps: set[int]) -> None:
        driven = drive([(0, 900)], [0])

        (piece,) = driven.clock(self.crossings(driven, lambda lap: 1_500 if lap in late_laps else 0)).pieces

        assert piece.offset_ms == pytest.approx(BEHIND_MS, abs=51)

    @pytest.mark.parametrize("off_ms", [-40_000, -7_000, 900, 30_000])
    def test_crossings_that_contradict_the_receive_times_are_not_used(self, off_ms: int) -> None:
        driven = drive([(0, 900)], [0])

        (piece,) = driven.clock(self.crossings(driven, lambda _: off_ms)).pieces

        assert (piece.lap_offset_ms, piece.lap_changes) == (None, 0)
        assert piece.offset_ms == piece.edge_offset_ms

    def test_each_piece_has_its_own_lap_changes(self) -> None:
        driven = drive([(0, 400), (818, 1_300)], [0, 418])

        first, second = driven.clock(self.crossings(driven)).pieces

        assert (first.offset_ms, second.offset_ms) == (
            pytest.approx(BEHIND_MS, abs=51),
            pytest.approx(BEHIND_MS + 418_000, abs=51),
        )

    def test_a_lap_cut_somewhere_on_the_track_is_no_lap_change(self) -> None:
        driven = drive([(10, 80)], [0])
        crossings = LapCrossings({1: (int(driven.true_ms[0]) - 10_000,)}, {1: (int(driven.true_ms[-1]) + 10_000,)})

        assert driven.clock(crossings).pieces[0].lap_changes == 0

    def test_only_laps_between_two_stamps_of_the_car_are_crossings(self) -> None:
        laps = laps_table(("a", 1, 0, 90), ("a", 2, 90, 180), ("b", 1, 0, 90))
        columns = {"unit_lap": [1, 2, 1], "trigger_lap_time_s": [90.0, 91.2, None]}
        for name, values in columns.items():
            laps = laps.set_column(laps.schema.get_field_index(name), laps.schema.field(name), pa.array(values))

        assert {car: list(found.starts) for car, found in lap_crossings(laps).items()} == {"a": [1]}


@settings(max_examples=30, deadline=None)
@given(
    stop_s=st.integers(15, 5_000),
    before_s=st.integers(120, 600),
    after_s=st.integers(120, 600),
    step_ms=st.sampled_from([43, 100, 216]),
)
def test_any_stop_is_found_and_every_row_has_its_true_time(
    stop_s: int, before_s: int, after_s: int, step_ms: int
) -> None:
    driven = drive([(0, before_s), (before_s + stop_s, before_s + stop_s + after_s)], [0, stop_s], step_ms)

    assert np.abs(driven.errors_ms(driven.clock())).max() < 1_500


def test_the_memory_of_the_cells_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apex_pipeline.sources.gr_cup.telemetry.clocks._MAX_CELLS", 100)
    driven = drive([(0, 900)], [0])
    cells = CellsBuilder()

    cells.add(driven.frames())

    assert len(cells.cells().frames) <= 100
    assert cells.cells().frames.sum() == len(driven.car_ms)


@pytest.fixture(scope="module")
def case_rows(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[pa.Table, list[dict[str, Any]]]:
    """Return telemetry and telemetry_cars of the case whose truth is known."""
    path = real_data.parent / CASE
    if not path.is_file():
        pytest.skip("the cases are not on this machine")
    converted = convert(tmp_path_factory.mktemp("case"), telemetry_file(path))
    cars = telemetry_cars_table(KEY.track, KEY.session, converted.report)
    table = converted.table.unify_dictionaries()
    assert TELEMETRY.violations(table) == TELEMETRY_CARS.violations(cars) == []
    return table, cars.to_pylist()


def test_every_row_of_the_case_is_within_a_second_and_a_half_of_its_true_time(
    case_rows: tuple[pa.Table, list[dict[str, Any]]], real_data: Path
) -> None:
    truth: dict[tuple[str, datetime], list[datetime]] = {}
    with gzip.open(real_data.parent / "cases/truth/clock_stops.truth.csv.gz", "rt") as stream:
        for row in csv.DictReader(stream):
            at = (datetime.fromisoformat(row[name]) for name in ("car_time", "true_utc"))
            truth.setdefault((row["vehicle_id"], next(at)), []).append(next(at))
    columns = (case_rows[0][name].to_pylist() for name in ("vehicle_id", "car_time", "sample_time_utc"))

    errors_s = [
        min(abs((sample - true).total_seconds()) for true in truth[car, car_time])
        for car, car_time, sample in zip(*columns, strict=True)
    ]

    assert max(errors_s) < 1.5


def test_the_case_has_its_two_stops(case_rows: tuple[pa.Table, list[dict[str, Any]]]) -> None:
    cars = case_rows[1]
    offsets = {(car["vehicle_id"], car["clock_piece"]): car["clock_offset_s"] for car in cars}

    assert sorted(offsets) == [
        ("GR86-001-2", 1),
        ("GR86-002-3", 1),
        ("GR86-002-3", 2),
        ("GR86-003-4", 1),
        ("GR86-003-4", 2),
    ]
    assert offsets["GR86-002-3", 2] - offsets["GR86-002-3", 1] == pytest.approx(418, abs=0.1)
    assert offsets["GR86-003-4", 2] - offsets["GR86-003-4", 1] == pytest.approx(68_110, abs=0.1)
    assert [car["unexplained_rows"] for car in cars] == [0] * 5
