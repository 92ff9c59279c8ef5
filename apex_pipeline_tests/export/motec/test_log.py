"""Logs are read back by a reader of the public layout with the names, units, rates and values that were sent."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.errors import ConfigurationError, ObjectMissingError
from apex_pipeline.export.motec.clock import USUAL_RATES_HZ, readings_of, ticks
from apex_pipeline.export.motec.ld_file import LdChannel, LogDetails, field_text, write_ld
from apex_pipeline.export.motec.log import HOLES, LogSpan, MotecLog, motec_log, write_log
from apex_pipeline_tests.export.motec.ld_reader import ReadLog, read_beacons, read_ld

_START_MS = int(datetime(2025, 9, 6, 18, 40, tzinfo=UTC).timestamp()) * 1000
_DETAILS = LogDetails(datetime(2025, 9, 6, 18, 40, 5, tzinfo=UTC), "spa 2025", "R1", "spa", "GR86-022-13", "lap 5")


def _samples(times_ms: list[int], **channels: Sequence[float | None]) -> pa.Table:
    times = pa.array([_START_MS + at for at in times_ms], pa.timestamp("ms", tz="UTC"))
    columns = {name: pa.array(values, pa.float64()) for name, values in channels.items()}
    return pa.table({"vehicle_id": ["GR86-022-13"] * len(times_ms), "sample_time_utc": times, **columns})


def _log(samples: pa.Table, end_ms: int, *crossings: tuple[int, str]) -> MotecLog:
    at = [(_START_MS + at_ms, name) for at_ms, name in crossings]
    return motec_log(samples, at, LogSpan(_START_MS, _START_MS + end_ms), "the car")


def _read(log: MotecLog, folder: Path, details: LogDetails = _DETAILS) -> ReadLog:
    write_log(log, details, folder / "log.ld")
    return read_ld(folder / "log.ld")


def test_a_log_names_track_session_and_car_and_no_driver(tmp_path: Path) -> None:
    read = _read(_log(_samples([0, 100], speed_kph=[1, 2]), 100), tmp_path)
    assert (read.date, read.time, read.driver) == ("06/09/2025", "18:40:05", "")
    assert (read.vehicle, read.event_vehicle) == ("GR86-022-13", "GR86-022-13")
    assert (read.venue, read.event_venue, read.event, read.session) == ("spa", "spa", "spa 2025", "R1")
    assert read.comment == "lap 5"


def test_channels_have_name_unit_and_the_next_usual_rate(tmp_path: Path) -> None:
    times = list(range(0, 5_000, 43))
    slow: list[float | None] = [float(at) if not place % 5 else None for place, at in enumerate(times)]
    read = _read(_log(_samples(times, speed_kph=slow, engine_rpm=slow, gear=[3.0] * len(times)), 5_000), tmp_path)
    found = {name: (channel.unit, channel.rate_hz, len(channel.values)) for name, channel in read.channels.items()}
    assert found == {
        "speed_kph": ("km/h", 5, 26),
        "engine_rpm": ("rpm", 5, 26),
        "gear": ("", 50, 251),
        HOLES: ("", 50, 251),
    }


def test_values_on_the_clock_are_those_sent_and_between_them_interpolated(tmp_path: Path) -> None:
    sent = [98.765, 120.25, -3.125, 0.001]
    read = _read(_log(_samples([0, 400, 800, 1_200], speed_kph=sent, gear=[1, 2, 3, 4]), 1_200), tmp_path)
    speed, gear = read.channels["speed_kph"], read.channels["gear"]
    assert speed.rate_hz == 5
    middle = [(a + b) / 2 for a, b in pairwise(sent)]
    expected = np.array([value for pair in zip(sent, [*middle, 0], strict=True) for value in pair][:-1], np.float32)
    assert speed.values.astype(np.float32).tolist() == pytest.approx(expected.tolist(), rel=1e-7, abs=1e-7)
    assert gear.values.tolist() == [1, 1, 2, 2, 3, 3, 4]


def test_a_reader_that_ignores_the_scale_reads_the_same_values(tmp_path: Path) -> None:
    read = _read(_log(_samples([0, 100], speed_kph=[12.345, 250], accel_lat_g=[-1.234, 2]), 100), tmp_path)
    for channel in read.channels.values():
        assert channel.values == pytest.approx(channel.stored, rel=1e-12)


def test_positions_keep_seven_decimals(tmp_path: Path) -> None:
    samples = _samples([0, 100], latitude_deg=[33.5326801, -33.5], longitude_deg=[-86.6195432, 179.9999999])
    read = _read(_log(samples, 100), tmp_path)
    latitude, longitude = read.channels["latitude_deg"], read.channels["longitude_deg"]
    assert (latitude.decimals, longitude.decimals, latitude.unit) == (7, 7, "deg")
    assert latitude.values.tolist() == pytest.approx([33.5326801, -33.5], abs=1e-9)
    assert longitude.values.tolist() == pytest.approx([-86.6195432, 179.9999999], abs=1e-9)


def test_a_position_that_is_none_is_not_stored_as_another_one(tmp_path: Path) -> None:
    read = _read(_log(_samples([0, 100], latitude_deg=[3_353.2, 3_353.3]), 100), tmp_path)
    assert read.channels["latitude_deg"].values.tolist() == pytest.approx([3_353.2, 3_353.3], rel=1e-6)


def test_a_hole_is_held_and_counted(tmp_path: Path) -> None:
    times = [*range(0, 1_000, 100), *range(3_000, 4_000, 100)]
    speeds = [float(at) for at in times]
    always = [*times, *range(1_000, 3_000, 100)]
    rows = sorted(zip(always, [*speeds, *[None] * 20], strict=True))
    samples = _samples([at for at, _ in rows], speed_kph=[speed for _, speed in rows], gear=[2.0] * len(rows))
    read = _read(_log(samples, 3_900), tmp_path)
    speed, held = read.channels["speed_kph"].values, read.channels[HOLES].values
    assert speed[9:30].tolist() == [900.0] * 21
    assert speed[30] == 3_000
    assert held.tolist() == [0] * 10 + [1] * 20 + [0] * 10


def test_before_the_first_and_after_the_last_reading_the_value_is_held_and_counted(tmp_path: Path) -> None:
    read = _read(_log(_samples([2_000, 2_100], speed_kph=[50, 60]), 4_000), tmp_path)
    assert set(read.channels["speed_kph"].values[:20]) == {50}
    assert set(read.channels["speed_kph"].values[22:]) == {60}
    held = read.channels[HOLES].values
    assert (held[0], held[20], held[21], held[-1]) == (1, 0, 0, 1)


def test_values_at_the_ends_lie_between_readings_around_the_log(tmp_path: Path) -> None:
    times = [-100, 100, 300]
    read = _read(_log(_samples(times, speed_kph=[0, 20, 40], gear=[1, None, 1]), 200), tmp_path)
    assert read.channels["speed_kph"].values.tolist() == pytest.approx([10, 30])
    # Read only around the log, not within it.
    assert "gear" not in read.channels


def test_a_single_sample_makes_a_log(tmp_path: Path) -> None:
    read = _read(_log(_samples([0], speed_kph=[77.7]), 0), tmp_path)
    assert (read.channels["speed_kph"].rate_hz, read.channels["speed_kph"].values.tolist()) == (
        1,
        pytest.approx([77.7], rel=1e-7),
    )


def test_of_readings_at_one_time_the_last_one_counts(tmp_path: Path) -> None:
    read = _read(_log(_samples([0, 0, 100, 100], speed_kph=[1, 2, 3, None]), 100), tmp_path)
    assert read.channels["speed_kph"].values.tolist() == [2, 3]


def test_a_channel_without_readings_is_left_out_and_named(tmp_path: Path) -> None:
    log = _log(_samples([0, 100], speed_kph=[1, 2], gear=[None, None], engine_rpm=[float("nan")] * 2), 100)
    assert log.left_out == ("gear", "engine_rpm")
    assert set(_read(log, tmp_path).channels) == {"speed_kph", HOLES}


def test_without_any_reading_there_is_no_log() -> None:
    with pytest.raises(ObjectMissingError, match=r"No channel of the car has a reading.*apex telemetry"):
        _log(_samples([0, 100], gear=[None, None]), 100)


def test_long_equal_and_foreign_names_stay_apart(tmp_path: Path) -> None:
    long = "tyre_temperature_of_the_front_left_wheel"
    names = [f"{long}_inner", f"{long}_outer", "Öltemperatur °C", "水温", HOLES]
    read = _read(_log(_samples([0, 100], **{name: [1.0, 2.0] for name in names}), 100), tmp_path)
    assert [*read.channels] == [
        "tyre_temperature_of_the_front_l",
        "tyre_temperature_of_the_front~2",
        "Oltemperatur ?C",
        "??",
        f"{HOLES}~2",
        HOLES,
    ]


def test_foreign_and_long_texts_fit_their_fields(tmp_path: Path) -> None:
    details = LogDetails(_DETAILS.start_utc, "Nürburgring " * 9, "Qualifié\n1", "鈴鹿", "車 13", "é" * 2_000)
    read = _read(_log(_samples([0], speed_kph=[1]), 0), tmp_path, details)
    assert (read.event, read.session, read.venue) == (("Nurburgring " * 9)[:63].rstrip(), "Qualifie 1", "??")
    assert (read.vehicle, read.comment) == ("? 13", "e" * 63)


def test_beacons_lie_at_the_crossings_each_once(tmp_path: Path) -> None:
    crossings = [(1_000, "Lap 1 ends"), (1_040, "Lap 2 begins"), (91_234, "Lap 2 ends"), (200_000, "Lap 3 ends")]
    log = _log(_samples([0, 100_000], speed_kph=[1, 2]), 100_000, *crossings)
    write_log(log, _DETAILS, tmp_path / "log.ld")
    assert read_beacons(tmp_path / "log.ldx") == [(1.0, "Lap 1 ends"), (91.234, "Lap 2 ends")]


def test_a_hole_over_the_line_moves_no_beacon(tmp_path: Path) -> None:
    times = [*range(0, 10_000, 100), *range(13_000, 20_000, 100)]
    log = _log(_samples(times, speed_kph=[100.0] * len(times)), 20_000, (11_111, "Lap 1 ends"))
    read = _read(log, tmp_path)
    assert read_beacons(tmp_path / "log.ldx") == [(11.111, "Lap 1 ends")]
    assert read.channels[HOLES].values[111] == 1


def test_a_log_without_crossings_has_no_beacons(tmp_path: Path) -> None:
    write_log(_log(_samples([0], speed_kph=[1]), 0), _DETAILS, tmp_path / "log.ld")
    assert read_beacons(tmp_path / "log.ldx") == []


def test_names_of_beacons_are_escaped(tmp_path: Path) -> None:
    write_log(_log(_samples([0], speed_kph=[1]), 0, (0, '<"&>')), _DETAILS, tmp_path / "log.ld")
    assert read_beacons(tmp_path / "log.ldx") == [(0, '<"&>')]


def test_a_clock_that_jumped_is_refused_with_the_next_step() -> None:
    with pytest.raises(ConfigurationError, match=r"the car spans 27 hours: its clock jumped\. Write one lap"):
        _log(_samples([0], speed_kph=[1]), 27 * 3_600_000)


def test_a_log_that_is_too_long_is_refused_before_it_is_written(tmp_path: Path) -> None:
    def never() -> np.ndarray:
        raise AssertionError

    channel = LdChannel("speed_kph", "speed", "km/h", 1000, 3, 2**29, never)
    with (tmp_path / "x").open("wb") as file, pytest.raises(ConfigurationError, match=r"2\.1 GB.*--lap 5"):
        write_ld(file, _DETAILS, [channel])
    assert (tmp_path / "x").stat().st_size == 0


@pytest.mark.parametrize("name", ["log", "log.csv", "log.ldx"])
def test_a_file_that_i2_would_not_open_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"does not end in \.ld"):
        write_log(_log(_samples([0], speed_kph=[1]), 0), _DETAILS, tmp_path / name)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("name", ["log.ld", "log.ldx"])
def test_neither_file_is_written_if_one_exists(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(ConfigurationError, match="already exists"):
        write_log(_log(_samples([0], speed_kph=[1]), 0), _DETAILS, tmp_path / "log.ld")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "mine")]


@pytest.mark.parametrize(
    ("step_ms", "rate_hz"), [(1_000, 1), (980, 2), (216, 5), (200, 5), (101, 10), (43, 50), (1, 1000)]
)
def test_the_rate_is_the_next_usual_one(step_ms: int, rate_hz: int) -> None:
    times = np.arange(200) * step_ms / 1000
    readings = readings_of("speed_kph", times, np.ones(200))
    assert readings is not None
    assert readings.rate_hz == rate_hz


def test_readings_that_arrive_in_bursts_do_not_make_a_fast_channel() -> None:
    times = np.sort([at * 0.4 + late for at in range(100) for late in (0, 0.001, 0.002, 0.003)]).astype(np.float64)
    readings = readings_of("speed_kph", times, np.ones(400))
    assert readings is not None
    assert readings.rate_hz == 10


@given(st.text(max_size=80), st.sampled_from([8, 12, 32, 64]))
def test_any_text_fits_its_field_and_ends_with_a_zero(text: str, size: int) -> None:
    found = field_text(text, size)
    assert len(found) < size
    assert found.isascii()
    assert b"\0" not in found


@given(
    st.lists(st.tuples(st.integers(0, 5_000), st.floats(-500, 500)), min_size=1, max_size=60),
    st.sampled_from(["speed_kph", "gear"]),
)
def test_a_value_on_the_clock_lies_between_its_readings(rows: list[tuple[int, float]], name: str) -> None:
    rows = sorted(rows, key=lambda row: row[0])
    times, values = np.array([at for at, _ in rows]) / 1000, np.array([value for _, value in rows])
    readings = readings_of(name, times, values)
    assert readings is not None
    assert readings.rate_hz in USUAL_RATES_HZ
    found = readings.at(ticks(5.0, readings.rate_hz))
    assert len(found) == 5 * readings.rate_hz + 1
    assert values.min() - 1e-9 <= found.min()
    assert found.max() <= values.max() + 1e-9
    if name == "gear":
        assert set(found) <= set(values)
