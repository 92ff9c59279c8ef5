"""Laps of the other cars: times, numbers, who they are, and what is personal."""

import io

from apex_pipeline.demo.race_packets import PacketOptions, packets, recording, rival_lap_s
from apex_pipeline.demo.race_script import CARS, DRIVER, QUALIFYING, RACE, LapOptions, Script
from apex_pipeline.sources.ams2.limits import RecordingLimits
from apex_pipeline.sources.ams2.recording import read_recording
from apex_pipeline.tables.model import Row
from apex_pipeline_tests.sources.ams2.reading import read

_RATE_HZ = 10.0
_TIMINGS = 3


def _script() -> Script:
    script = Script(_RATE_HZ)
    script.begin_session(RACE)
    script.lap(41.0)
    script.lap(40.0)
    script.lap(40.0, LapOptions(until_s=30.0, kind="partial"))
    return script


def _rows(generation: str = "AMS2", *, sends_stats: bool = True) -> list[Row]:
    sent = packets(_script().frames, PacketOptions(generation, sends_stats=sends_stats))
    return read(sent).timing.to_pylist()


def test_every_lap_of_every_car_has_its_number_and_time() -> None:
    for stats in (True, False):
        rows = _rows(sends_stats=stats)
        assert {row["participant_index"] for row in rows} == set(range(CARS))
        timed = [row for row in rows if row["lap_time_s"] is not None and not row["is_driver"]]
        assert all(abs(row["lap_time_s"] - rival_lap_s(row["participant_index"])) <= 1 / _RATE_HZ for row in timed)
        for slot in set(range(CARS)) - {DRIVER}:
            numbers = [row["lap_number"] for row in timed if row["participant_index"] == slot]
            # The first lap begins before the first packet, the last one is not finished.
            assert numbers == list(range(2, 1 + int(110.9 / rival_lap_s(slot))))


def test_the_drivers_own_laps_are_there_too() -> None:
    own = [row for row in _rows() if row["is_driver"]]
    assert [row["participant_index"] for row in own] == [DRIVER] * 3
    assert [row["is_complete"] for row in own] == [True, True, False]


def test_a_lap_that_the_next_session_ends_is_still_the_drivers_when_he_has_another_place_there() -> None:
    script = Script(_RATE_HZ)
    script.begin_session(QUALIFYING)
    script.lap(40.0)
    script.lap(40.0, LapOptions(until_s=20.0, kind="partial"))
    sent = list(packets(script.frames))
    numbered = PacketOptions(first_number=len(sent) + 1, first_tick=2**32 - 40_000 + 60_000)
    moved = [_with_places_exchanged(packet) for packet in packets(_script().frames, numbered)]
    own = [row for row in read([*sent, *moved]).timing.to_pylist() if row["is_driver"]]
    assert {(row["session_index"], row["participant_index"]) for row in own} == {(0, DRIVER), (1, 0)}
    assert [row["is_complete"] for row in own] == [True, False, True, True, False]


def _with_places_exchanged(packet: bytes) -> bytes:
    """Return the packet with the driver in the first place, and who was there in his."""
    if packet[10] != _TIMINGS:
        return packet[:12] + b"\0" + packet[13:] if packet[10] == 0 else packet
    first, own = (slice(33 + 32 * slot, 65 + 32 * slot) for slot in (0, DRIVER))
    changed = bytearray(packet)
    changed[first], changed[own] = packet[own], packet[first]
    changed[1057:1059] = b"\0\0"
    return bytes(changed)


def test_cars_and_classes_are_named_where_the_game_says_and_the_drivers_is_not() -> None:
    rows = _rows()
    assert {(row["car_name"], row["car_class"]) for row in rows if row["participant_index"] == 3} == {
        ("Car 3", "Class 1")
    }
    assert {row["is_human"] for row in rows if row["participant_index"] == 0} == {True}
    assert {row["is_human"] for row in rows if row["participant_index"] == 1} == {False}
    assert {(row["car_name"], row["is_human"]) for row in rows if row["is_driver"]} == {(None, None)}


def test_names_of_people_are_dropped_unless_they_are_asked_for() -> None:
    blob = recording(packets(_script().frames))
    assert read_recording(io.BytesIO(blob)).timing["participant_name"].null_count > 0
    kept = read_recording(io.BytesIO(blob), keep_names=True).timing
    assert set(kept["participant_name"].to_pylist()) == {f"Driver {slot}" for slot in range(CARS)}


def test_positions_sectors_and_pits_are_those_at_the_end_of_the_lap() -> None:
    row = next(row for row in _rows() if row["participant_index"] == 7)
    assert (row["race_position"], row["sector"], row["was_in_pits"], row["is_invalidated"]) == (8, 1, False, False)


def test_old_packets_give_the_same_laps() -> None:
    times = {name: [row["lap_time_s"] for row in _rows(name)] for name in ("before patch 5", "AMS2")}
    assert times["before patch 5"] == times["AMS2"]


def test_cars_that_change_without_end_are_followed_up_to_a_limit_and_that_is_said() -> None:
    blob = recording(packets(_script().frames))
    result = read_recording(io.BytesIO(blob), RecordingLimits(changes=10))
    assert "change too often" in result.detail
    assert result.laps.num_rows == 3
