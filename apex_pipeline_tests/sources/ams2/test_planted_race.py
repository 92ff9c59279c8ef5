"""A recording with everything that has misled readers: its laps, times, kinds and all fields, in every form."""

import math
from dataclasses import replace
from functools import cache

import pytest

from apex_pipeline.demo.race_packets import CONTAINERS, GENERATIONS, PacketOptions, packets, sensors, single
from apex_pipeline.demo.race_script import (
    DRIVER,
    SECTOR_SHARES,
    TANK_L,
    Frame,
    LapTruth,
    Script,
    planted_race,
)
from apex_pipeline.sources.ams2.recording import Recording
from apex_pipeline.tables import AMS2_TABLES
from apex_pipeline.tables.model import Row
from apex_pipeline.tables.races import without_race_id
from apex_pipeline_tests.sources.ams2.reading import misread_laps, read

_RATE_HZ = 10.0


@cache
def _script() -> Script:
    return planted_race(_RATE_HZ)


@cache
def _read(generation: str, container: str = "zlib") -> Recording:
    return read(packets(_script().frames, PacketOptions(generation)), container)


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("generation", GENERATIONS)
def test_every_lap_has_its_session_number_kind_time_and_validity(generation: str, container: str) -> None:
    result = _read(generation, container)
    true = [(lap.session, lap.lap, lap.kind, lap.is_valid) for lap in _script().laps]
    found = [(row["session_index"], row["lap_number"], row["kind"], row["is_valid"]) for row in result.laps.to_pylist()]
    assert found == true
    assert misread_laps(_script(), result, tolerance_s=0.0011) == []


@pytest.mark.parametrize("generation", GENERATIONS)
def test_all_fields_of_every_sample_are_exact(generation: str) -> None:
    result = _read(generation)
    laps: list[list[Row]] = [[] for _ in _script().laps]
    for row in result.samples.to_pylist():
        laps[row["lap_index"]].append(row)
    wrong = [
        (place, name, found[name], value)
        for truth, rows in zip(_script().laps, laps, strict=True)
        for place, (frame, found) in enumerate(zip(truth.frames, rows[-len(truth.frames) :], strict=True))
        for name, value in _expected(frame, truth, generation).items()
        if found[name] != value
    ]
    assert wrong[:5] == []


def _expected(frame: Frame, truth: LapTruth, generation: str) -> Row:
    """Return the fields of a frame, except for the distance within the metre."""
    shown = sensors(frame)
    is_own = frame.viewed == DRIVER
    is_exact = is_own and generation != "before patch 5"
    quarters = {name: math.floor(shown[name] * 4) / 4 for name in ("x", "z")}
    physics = {
        "speed_mps": shown["speed"],
        "engine_rpm": shown["rpm"],
        "throttle": shown["throttle"] / 255,
        "brake": shown["brake"] / 255,
        "steering": shown["steering"] / 127,
        "yaw_rad": shown["yaw"],
        "fuel_capacity_l": TANK_L,
        "fuel_level": shown["fuel_level"],
        "fuel_l": shown["fuel_level"] * TANK_L,
        "gear": -1 if shown["gear"] == 15 else shown["gear"],
    }
    return {
        "current_time_s": None if truth.kind == "out" else single(frame.clock_s),
        "pos_x_m": shown["x"] if is_exact else quarters["x"],
        "pos_z_m": shown["z"] if is_exact else quarters["z"],
        **(physics if is_own else dict.fromkeys(physics)),
    }


@pytest.mark.parametrize("generation", GENERATIONS)
def test_distance_stays_within_the_metre_reported_and_is_null_where_it_does_not_count(generation: str) -> None:
    result = _read(generation)
    for row in result.samples.filter(result.samples["lap_index"].to_numpy() == 3).to_pylist():
        frame = _script().laps[3].frames[row["sample_index"]]
        assert math.floor(row["lap_distance_m"]) == int(frame.distance_m)
    second_out_lap = result.samples.filter(result.samples["lap_index"].to_numpy() == 6)
    assert second_out_lap["lap_distance_m"].null_count == second_out_lap.num_rows > 0


def test_ticks_go_on_across_their_wrap() -> None:
    ticks = _read("AMS2").samples["tick"].to_pylist()
    assert ticks[0] < 2**32 < ticks[-1]
    assert ticks == sorted(ticks)
    assert _read("patch 5").samples["tick"].null_count == _read("patch 5").samples.num_rows


@pytest.mark.parametrize("options", [PacketOptions(), PacketOptions(sends_stats=False)])
def test_sectors_come_from_the_game_or_else_from_the_sector_clock(options: PacketOptions) -> None:
    result = read(packets(_script().frames, options))
    for truth, row in zip(_script().laps, result.laps.to_pylist(), strict=True):
        found = [row[name] for name in ("s1_s", "s2_s", "s3_s")]
        if truth.lap_time_s is None:
            assert found == [None] * 3
        else:
            true = [share * truth.lap_time_s for share in SECTOR_SHARES]
            assert found == pytest.approx(true, abs=1e-6 if options.sends_stats else 1 / _RATE_HZ)
            assert sum(found) == pytest.approx(row["lap_time_s"], abs=1e-5)


def test_sectors_without_a_sector_clock_are_those_of_the_game() -> None:
    frames = [replace(frame, sector_clock_s=-1.0) for frame in _script().frames]
    row = read(packets(frames)).laps.to_pylist()[3]
    assert [row[name] for name in ("s1_s", "s2_s", "s3_s")] == pytest.approx(
        [share * 29.871 for share in SECTOR_SHARES], abs=1e-5
    )
    assert read(packets(frames, PacketOptions(sends_stats=False))).laps["s1_s"].null_count == len(_script().laps)


def test_sessions_carry_their_type_and_track() -> None:
    result = _read("AMS2")
    assert [(session.session_type, session.laps) for session in result.sessions] == [
        ("practice", 9),
        ("race", 2),
        ("race", 4),
    ]
    assert set(result.laps["track_location"].to_pylist()) == {"Interlagos"}
    assert set(result.laps["track_length_m"].to_pylist()) == {1500.0}


def test_one_lap_of_each_number_is_published_and_a_whole_one_goes_first() -> None:
    published = [row for row in _read("AMS2").laps.to_pylist() if row["is_published"]]
    assert sorted(row["lap_number"] for row in published) == [1, 2, 3, 4, 5]
    assert [row["lap_time_s"] is not None for row in published if row["lap_number"] < 5] == [True] * 4


@pytest.mark.parametrize("generation", GENERATIONS)
def test_the_tables_keep_their_schemas(generation: str) -> None:
    result = _read(generation)
    for table, content in zip(AMS2_TABLES, (result.laps, result.samples, result.timing), strict=True):
        assert without_race_id(table).violations(content) == []


@pytest.mark.parametrize("generation", GENERATIONS)
def test_every_packet_of_timings_is_a_sample_or_counted(generation: str) -> None:
    result = _read(generation)
    counts = result.counts
    assert counts["datagrams"] == sum(counts[name] for name in counts if name.startswith("datagrams_"))
    left_out = sum(counts[name] for name in counts if name.startswith("timings_"))
    assert counts["timings"] == result.samples.num_rows - counts["samples_without_timings"] + left_out
