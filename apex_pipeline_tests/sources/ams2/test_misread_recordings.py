"""What the first reader of these recordings got wrong, a test for each; and five things it could not have known."""

import math
import struct
import zlib

import numpy as np
import pytest

from apex_pipeline.demo.race_packets import PacketOptions, framed_datagrams, packets, rival_lap_s, sensors
from apex_pipeline.demo.race_script import DRIVER, GARAGE, PRACTICE, RACE, LapOptions, Script
from apex_pipeline.sources.ams2.container import Base64Decoder
from apex_pipeline.sources.ams2.recording import RecordingError
from apex_pipeline_tests.sources.ams2.reading import misread_laps, read, read_blob, whole_laps

_ENTRY = 33 + 32 * DRIVER
_LAP_NUMBER, _STATE = 21, 20


def _two_laps(rate_hz: float = 10.0) -> Script:
    script = Script(rate_hz)
    script.begin_session(RACE)
    script.stand(1, pit_mode=0)
    script.lap(12.34)
    script.lap(11.87)
    script.lap(12.0, LapOptions(until_s=2.0, kind="partial"))
    return script


def test_the_lap_is_a_run_of_the_clock_and_not_a_value_of_the_lap_counter() -> None:
    script = Script(10.0)
    script.begin_session(PRACTICE)
    script.out_lap(8.0)
    script.lap(12.34)
    script.lap(12.0, LapOptions(until_s=6.0, kind="abandoned"))
    script.stand(1.0)
    script.out_lap(8.0)
    script.lap(11.87)
    result = read(packets(script.frames))
    kinds = [(row["lap_number"], row["kind"]) for row in result.laps.to_pylist()]
    assert kinds == [(1, "out"), (1, "flying"), (2, "abandoned"), (2, "out"), (2, "partial")]
    assert len(set(result.laps["lap_index"].to_pylist())) == 5


def test_the_clock_of_an_out_lap_is_never_a_lap_time() -> None:
    script = Script(10.0)
    script.begin_session(PRACTICE)
    script.out_lap(8.0)
    script.lap(12.34)
    script.lap(12.0, LapOptions(until_s=1.0, kind="partial"))
    result = read(packets(script.frames))
    assert [row["kind"] for row in whole_laps(result)] == ["flying"]
    assert min(row["current_time_s"] for row in result.samples.to_pylist() if row["current_time_s"] is not None) >= 0


def test_yaw_is_the_heading_and_not_the_pitch() -> None:
    script = _two_laps()
    result = read(packets(script.frames))
    frame = script.laps[0].frames[31]
    assert sensors(frame)["pitch"] != sensors(frame)["yaw"]
    assert result.samples["yaw_rad"][31].as_py() == sensors(frame)["yaw"]


def test_a_length_that_cannot_be_ends_the_recording_with_its_offset() -> None:
    content = framed_datagrams(packets(_two_laps().frames))
    middle = framed_datagrams(list(packets(_two_laps().frames))[:300])
    cut = content[: len(middle)] + struct.pack("<I", 9) + content[len(middle) + 4 :]
    result = read_blob(zlib.compress(cut))
    assert f"truncated at byte {len(middle)}, where a length of 9 cannot be" in result.detail
    assert result.counts["unread_bytes"] == len(content) - len(middle)


@pytest.mark.parametrize("size", [555, 556])
def test_physics_of_555_and_556_bytes_are_read(size: int) -> None:
    script = _two_laps()
    sent = [packet + bytes(size - 555) if len(packet) == 555 else packet for packet in _patch_5(script)]
    assert sum(len(packet) == size for packet in sent) == len(script.frames)
    assert read(sent).samples["speed_mps"].null_count == 0


def _patch_5(script: Script) -> list[bytes]:
    return list(packets(script.frames, PacketOptions("patch 5")))


def test_the_driver_is_the_local_participant_and_not_the_first_one() -> None:
    script = _two_laps()
    result = read(packets(script.frames))
    assert misread_laps(script, result, 0.0011) == []
    assert not any(abs(row["lap_time_s"] - rival_lap_s(0)) < 1 for row in whole_laps(result))


def test_ticks_beyond_24_bits_stay_apart() -> None:
    script = _two_laps()
    result = read(packets(script.frames, PacketOptions(first_tick=2**24 + 1)))
    assert len(set(result.samples["tick"].to_pylist())) == result.samples.num_rows


def test_the_lap_time_is_that_at_the_line_although_stale_packets_follow() -> None:
    script = _two_laps()
    sent = list(packets(script.frames))
    stale = [packet for packet in sent[:250] if packet[10] == 3][-3:]
    assert misread_laps(script, read(sent[:700] + stale + sent[700:]), 0.0011) == []


def test_in_laps_and_out_laps_are_marked() -> None:
    script = Script(10.0)
    script.begin_session(PRACTICE)
    script.out_lap(8.0)
    script.lap(12.34, LapOptions(pits_from_s=10.0, until_s=12.0, kind="in"))
    script.stand(1.0, pit_mode=GARAGE)
    assert [row["kind"] for row in read(packets(script.frames)).laps.to_pylist()] == ["out", "in"]


@pytest.mark.parametrize(("bit", "name"), [(8, "invalid_bit_3"), (128, "invalid_bit_7")])
def test_an_invalidated_lap_is_not_valid_whichever_bit_says_so(bit: int, name: str) -> None:
    script = _two_laps()
    sent = [bytearray(packet) for packet in packets(script.frames)]
    for packet in sent:
        if packet[10] == 3 and packet[_ENTRY + _LAP_NUMBER] == 2:
            packet[_ENTRY + _STATE] |= bit
    result = read(map(bytes, sent))
    assert [row["is_valid"] for row in whole_laps(result)] == [True, False]
    assert result.counts[name] >= 1
    assert "invalidated" in result.laps["flags"].to_pylist()[1]


def test_one_very_short_lap_does_not_fail_the_race() -> None:
    script = Script(10.0)
    script.begin_session(RACE)
    script.lap(12.34)
    script.lap(0.25)
    script.lap(11.87)
    script.lap(12.0, LapOptions(until_s=2.0, kind="partial"))
    assert [round(row["lap_time_s"], 2) for row in whole_laps(read(packets(script.frames)))] == [12.34, 0.25, 11.87]


def test_exclamation_marks_are_not_base64_of_nothing() -> None:
    with pytest.raises(RecordingError) as caught:
        Base64Decoder().feed(b"!!!!")
    assert caught.value.error_class == "not base64"


def test_no_laps_is_a_sentence_and_not_a_division_by_zero() -> None:
    script = Script(10.0)
    script.begin_session(RACE)
    script.stand(5.0)
    with pytest.raises(RecordingError, match="lap clock did not run"):
        read(packets(script.frames))


def test_every_array_of_a_lap_can_be_written_without_pickle() -> None:
    result = read(packets(_two_laps().frames))
    for name in result.samples.column_names:
        assert np.issubdtype(result.samples[name].to_numpy(zero_copy_only=False).dtype, np.number)


def test_the_clock_of_a_rival_is_not_taken_where_the_packet_names_no_driver() -> None:
    script = Script(10.0)
    script.begin_session(RACE)
    script.lap(12.34, LapOptions(away_s=(3.0, 6.0)))
    script.lap(11.87)
    script.lap(12.0, LapOptions(until_s=2.0, kind="partial"))
    assert misread_laps(script, read(packets(script.frames, PacketOptions("before patch 5"))), 0.0011) == []


def test_a_lap_counter_that_overflows_goes_on() -> None:
    script = Script(5.0)
    script.begin_session(RACE)
    for _ in range(258):
        script.lap(4.1)
    numbers = [row["lap_number"] for row in whole_laps(read(packets(script.frames)))]
    assert numbers == list(range(1, 258))


def test_the_sampling_interval_bounds_the_error_without_official_times_and_ticks() -> None:
    script = _two_laps(1.0)
    result = read(packets(script.frames, PacketOptions("patch 5", sends_stats=False)))
    assert misread_laps(script, result, tolerance_s=1.0) == []
    for lap, row in zip(script.laps, whole_laps(result), strict=False):
        assert row["lap_time_method"] == "clock"
        assert math.isclose(row["lap_time_s"], lap.lap_time_s or 0, abs_tol=row["lap_time_uncertainty_s"])
