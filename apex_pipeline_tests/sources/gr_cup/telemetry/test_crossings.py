"""Telemetry crossings from raw files: channels, clocks, damaged files, and the synthetic weekend."""

import errno
import random
from collections.abc import Iterable
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from apex_pipeline.demo import GroundTruth, SessionTruth, WeekendOptions, make_weekend
from apex_pipeline.errors import StorageFullError
from apex_pipeline.sources.gr_cup.telemetry import crossings as crossings_module
from apex_pipeline.sources.gr_cup.telemetry import parse
from apex_pipeline.sources.gr_cup.telemetry.chunks import TelemetryFile
from apex_pipeline.sources.gr_cup.telemetry.crossings import TelemetryCrossing, find_telemetry_crossings
from apex_pipeline.sources.gr_cup.telemetry.spill import ReadingSpill
from apex_pipeline.sources.workspace import Workspace
from apex_pipeline_tests.sources.gr_cup.telemetry.laps_driven import (
    LENGTH_M,
    SAMPLE_MS,
    Distance,
    distance_of,
    driven_m,
    positions_of,
    times,
)
from apex_pipeline_tests.sources.gr_cup.telemetry.readings import (
    CAR,
    CLOCK_BEHIND,
    LISTED_COLUMNS,
    NAME,
    RACE_START,
    Row,
    csv_bytes,
    listed,
    moment,
    reading,
    telemetry_file,
    write_file,
)

OTHER_CAR = "GR86-003-3"
# Every message arrives this long after it was sent.
LATE_S = 1.0
START_MS = RACE_START.timestamp() * 1000
CROSSINGS_S = [30.0, 130.0, 230.0]


def row(at_ms: float, channel: str, value: float, **changes: str) -> Row:
    received = moment(at_ms / 1000 + LATE_S)
    return reading(at_ms / 1000, channel, repr(float(value)), **({"meta_time": received} | changes))


def distance_rows(car: Distance, **changes: str) -> list[Row]:
    return [
        row(at, "Laptrigger_lapdist_dls", metres, **changes)
        for at, metres in zip(car.time_ms.tolist(), car.metres.tolist(), strict=True)
    ]


def position_rows(time_ms: np.ndarray, driven: np.ndarray, **changes: str) -> list[Row]:
    at = positions_of(time_ms, driven)
    return [
        row(time, channel, degrees, **changes)
        for channel, values in (("VBOX_Lat_Min", at.latitude_deg), ("VBOX_Long_Minutes", at.longitude_deg))
        for time, degrees in zip(time_ms.tolist(), values.tolist(), strict=True)
    ]


def three_laps(**changes: str) -> list[Row]:
    time_ms = times(250)
    return distance_rows(distance_of(time_ms, driven_m(time_ms)), **changes)


def three_laps_positions(**changes: str) -> list[Row]:
    time_ms = times(250, SAMPLE_MS)
    return position_rows(time_ms, driven_m(time_ms), **changes)


def find(folder: Path, *files: TelemetryFile) -> list[TelemetryCrossing]:
    return find_telemetry_crossings(files, Workspace(500_000_000, folder / "scratch"))


def find_in(folder: Path, rows: Iterable[Row]) -> list[TelemetryCrossing]:
    return find(folder, write_file(folder, csv_bytes(rows)))


def seconds(found: Iterable[TelemetryCrossing]) -> list[float]:
    return [(crossing.utc_ms - START_MS) / 1000 for crossing in found]


def test_a_crossing_has_its_time_in_utc_and_in_the_clock_of_the_car(tmp_path: Path) -> None:
    found = find_in(tmp_path, three_laps())

    # The corrected clock is late by the delay of the messages.
    assert seconds(found) == pytest.approx([at + LATE_S for at in CROSSINGS_S], abs=0.03)
    car_s = [((crossing.car_ms or 0) - START_MS) / 1000 + CLOCK_BEHIND.total_seconds() for crossing in found]
    assert car_s == pytest.approx(CROSSINGS_S, abs=0.03)
    assert {(crossing.vehicle_id, crossing.source, crossing.file) for crossing in found} == {(CAR, "distance", NAME)}


def test_a_frozen_clock_is_replaced_by_the_receive_time(tmp_path: Path) -> None:
    found = find_in(tmp_path, three_laps(timestamp="2025-09-04T18:25:34.971Z"))

    assert seconds(found) == pytest.approx([at + LATE_S for at in CROSSINGS_S], abs=0.03)
    assert [crossing.car_ms for crossing in found] == [None, None, None]


def test_readings_of_one_message_with_a_frozen_clock_are_sorted_as_driven(tmp_path: Path) -> None:
    time_ms = times(250)
    car = distance_of(time_ms, driven_m(time_ms))
    rows = [
        row(at, "Laptrigger_lapdist_dls", metres, meta_time=moment(at // 1_000), timestamp=moment(0))
        for at, metres in zip(car.time_ms.tolist(), car.metres.tolist(), strict=True)
    ]

    assert seconds(find_in(tmp_path, rows)) == pytest.approx(CROSSINGS_S, abs=1.0)


def test_the_order_of_the_lines_and_duplicate_lines_do_not_matter(tmp_path: Path) -> None:
    rows = three_laps() + three_laps(vehicle_id=OTHER_CAR)
    plain = find_in(tmp_path, rows)
    shuffled = rows + rows[::7]
    random.Random(5).shuffle(shuffled)  # noqa: S311  -- the same order every time

    assert find_in(tmp_path, shuffled) == plain
    assert find_in(tmp_path, rows[::-1]) == plain
    assert [crossing.vehicle_id for crossing in plain] == [CAR] * 3 + [OTHER_CAR] * 3


def test_crossings_of_a_car_without_lap_distance_are_found_by_position(tmp_path: Path) -> None:
    others = three_laps() + three_laps_positions()

    found = find_in(tmp_path, others + three_laps_positions(vehicle_id=OTHER_CAR))

    assert [(crossing.vehicle_id, crossing.source) for crossing in found] == [(CAR, "distance")] * 3 + [
        (OTHER_CAR, "gps")
    ] * 3
    assert seconds(found[3:]) == pytest.approx(seconds(found[:3]), abs=0.05)


def test_a_distance_reset_away_from_the_line_is_not_a_crossing(tmp_path: Path) -> None:
    time_ms = times(250)
    driven = driven_m(time_ms)
    # As after a restart of the device, the distance counts from elsewhere: it falls to zero at 183 s, in mid-lap.
    shifted = np.where(
        (time_ms > 150_000) & (time_ms < 230_000), driven + LENGTH_M - driven_m(np.array([183e3])), driven
    )
    rows = distance_rows(distance_of(time_ms, shifted))

    without_positions = find_in(tmp_path, rows)
    with_positions = find_in(tmp_path, rows + three_laps_positions() + three_laps(vehicle_id=OTHER_CAR))

    assert 183 + LATE_S in [pytest.approx(at, abs=0.05) for at in seconds(without_positions)]
    of_car = [crossing for crossing in with_positions if crossing.vehicle_id == CAR]
    assert seconds(of_car) == pytest.approx([at + LATE_S for at in CROSSINGS_S], abs=0.1)


def test_the_line_is_not_located_by_positions_alone(tmp_path: Path) -> None:
    assert find_in(tmp_path, three_laps_positions()) == []


def test_cars_that_send_neither_channel_have_no_crossings(tmp_path: Path) -> None:
    assert find_in(tmp_path, [reading(at) for at in range(100)]) == []


def test_a_session_without_files_has_no_crossings(tmp_path: Path) -> None:
    assert find(tmp_path) == []


def test_two_files_of_a_session_are_read_as_one(tmp_path: Path) -> None:
    rows = three_laps()
    halves = [
        write_file(tmp_path, csv_bytes(half), f"{name}.csv")
        for half, name in ((rows[::2], "second"), (rows[1::2], "first"))
    ]

    found = find(tmp_path, *halves)

    assert seconds(found) == pytest.approx([at + LATE_S for at in CROSSINGS_S], abs=0.03)
    assert {crossing.file for crossing in found} == {"second.csv"}


def test_crossings_are_found_in_lists_of_readings(tmp_path: Path) -> None:
    rows = [
        listed(at, f'[{{"name": "Laptrigger_lapdist_dls", "value": {metres}}}, {{"name": "speed", "value": 3}}]')
        for at, metres in ((number / 5, (number * 6 - 900) % 3_000) for number in range(1_250))
    ]

    found = find(tmp_path, write_file(tmp_path, csv_bytes(rows, LISTED_COLUMNS)))

    assert seconds(found) == pytest.approx([30.0, 130.0, 230.0], abs=0.05)


class TestBadFiles:
    @pytest.mark.parametrize(
        "content",
        [b"", b"PK\x03\x04 zip", b"a,b,c\n1,2,3\n", csv_bytes([])],
        ids=["empty", "zip", "columns missing", "header only"],
    )
    def test_a_file_that_is_not_telemetry_is_skipped_and_others_are_read(self, tmp_path: Path, content: bytes) -> None:
        bad, good = write_file(tmp_path, content, "bad.csv"), write_file(tmp_path, csv_bytes(three_laps()))

        assert find(tmp_path, bad) == []
        assert len(find(tmp_path, bad, good)) == len(CROSSINGS_S)

    def test_telemetry_that_does_not_fit_in_memory_has_no_crossings(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = write_file(tmp_path, csv_bytes(three_laps()))
        assert find(tmp_path, file)
        monkeypatch.setattr(crossings_module, "_BYTES_PER_READING", 10**9)
        assert find(tmp_path, file) == []

    def test_a_missing_file_has_no_crossings(self, tmp_path: Path) -> None:
        file = write_file(tmp_path, csv_bytes(three_laps()))
        (tmp_path / NAME).unlink()

        assert find(tmp_path, file) == []

    def test_a_file_deleted_while_it_is_read_has_no_crossings(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = write_file(tmp_path, csv_bytes(three_laps()))
        parse_header = parse.parse_header

        def parse_and_delete(telemetry: TelemetryFile) -> object:
            header = parse_header(telemetry)
            (tmp_path / NAME).unlink()
            return header

        monkeypatch.setattr(parse, "parse_header", parse_and_delete)

        assert find(tmp_path, file) == []

    @pytest.mark.parametrize(
        "line",
        [b"1,2,3\n", b'"' * 3 + b",\n", b"\0" * 50 + b"\n", b"\xff\xfe,,\n", b",".join([b"x"] * 40) + b"\n"],
        ids=["too short", "open quotes", "nul bytes", "not text", "too long"],
    )
    def test_a_bad_line_does_not_affect_other_lines(self, tmp_path: Path, line: bytes) -> None:
        header, *lines = csv_bytes(three_laps()).splitlines(keepends=True)
        middle = len(lines) // 2
        plain = find_in(tmp_path, three_laps())

        damaged = header + b"".join([*lines[:middle], line, *lines[middle:]])

        assert find(tmp_path, write_file(tmp_path, damaged)) == plain

    @pytest.mark.parametrize(
        "changes",
        [{"meta_session": "R2"}, {"telemetry_value": "N/A"}, {"meta_time": "yesterday"}, {"vehicle_id": ""}],
        ids=["another race", "not a number", "not a time", "no vehicle"],
    )
    def test_rejected_readings_give_no_crossings(self, tmp_path: Path, changes: dict[str, str]) -> None:
        assert find_in(tmp_path, [row | changes for row in three_laps()]) == []

    def test_a_full_disk_is_reported(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(ReadingSpill, "add", full)

        with pytest.raises(StorageFullError, match="no space left"):
            find_in(tmp_path, three_laps())


@pytest.fixture(scope="module")
def weekend(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, GroundTruth]:
    """Return a weekend whose samples are dense enough to time crossings (3.5 per second)."""
    folder = tmp_path_factory.mktemp("weekend")
    return folder, make_weekend(folder, WeekendOptions(target_bytes=140_000_000))


def true_crossings(expected: SessionTruth, vehicle_id: str) -> set[float]:
    laps = [lap for lap in expected.laps if lap.vehicle_id == vehicle_id]
    return {at.timestamp() for lap in laps for at in (lap.start_utc, lap.end_utc)}


@pytest.mark.parametrize("session", ["R1", "R2"])
def test_exactly_the_true_crossings_of_the_synthetic_telemetry_are_found(
    tmp_path: Path, weekend: tuple[Path, GroundTruth], session: str
) -> None:
    folder, truth = weekend
    expected = truth.session("harbor_street_circuit", session)

    found = find(tmp_path, telemetry_file(folder / expected.telemetry.file, session))

    for car in expected.cars:
        crossings = sorted(true_crossings(expected, car.vehicle_id))
        of_car = [crossing for crossing in found if crossing.vehicle_id == car.vehicle_id]
        late_s = [min((crossing.utc_ms / 1000 - at for at in crossings), key=abs) for crossing in of_car]
        # All crossings are late by the message delay; with a frozen clock, each by the delay of its own message.
        assert np.ptp(late_s) < 0.1, car
        assert 0 < median(late_s) < 1.5, car
        # Crossings before the first and after the last sample are not in the file; the export may end early.
        assert len(of_car) >= len(crossings) - 3, car
        assert len({round(crossing.utc_ms / 10_000) for crossing in of_car}) == len(of_car)


def test_a_track_without_these_channels_has_no_crossings(tmp_path: Path, weekend: tuple[Path, GroundTruth]) -> None:
    folder, truth = weekend
    expected = truth.session("mesa_verde_raceway", "R1")

    assert find(tmp_path, telemetry_file(folder / expected.telemetry.file)) == []
