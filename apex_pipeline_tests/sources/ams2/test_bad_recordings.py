"""Bad recordings: each ends with a class and a sentence, or gives what is whole and says so."""

import gzip
import io
import pickle
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from functools import cache

import pytest

from apex_pipeline.demo.race_packets import PacketOptions, framed_datagrams, packets, recording
from apex_pipeline.demo.race_script import DRIVER, FRONT_END, PRACTICE, RACE, LapOptions, Script
from apex_pipeline.errors import ApexError, PermanentError
from apex_pipeline.sources.ams2.limits import RecordingLimits
from apex_pipeline.sources.ams2.recording import RecordingError, read_recording
from apex_pipeline_tests.sources.ams2.reading import read, read_blob, whole_laps

_ENTRIES = 33
_OWN = _ENTRIES + 32 * DRIVER
_FLOATS = {"clock": _OWN + 22, "sector clock": _OWN + 26, "speed": 36, "fuel": 32, "yaw": 56, "x": 542, "z": 550}


@cache
def _sent() -> tuple[bytes, ...]:
    script = Script(10.0)
    script.begin_session(RACE)
    script.lap(12.34)
    script.lap(11.87)
    script.lap(12.0, LapOptions(until_s=2.0, kind="partial"))
    return tuple(packets(script.frames))


@cache
def _content() -> bytes:
    return framed_datagrams(_sent())


def _error(blob: bytes) -> RecordingError:
    with pytest.raises(RecordingError) as caught:
        read_blob(blob)
    return caught.value


def _patched(change: Callable[[bytearray], None]) -> list[bytes]:
    """Return the packets with a change made to each."""
    changed = [bytearray(packet) for packet in _sent()]
    for packet in changed:
        change(packet)
    return [bytes(packet) for packet in changed]


@pytest.mark.parametrize(
    ("blob", "error_class"),
    [
        (b"", "empty"),
        (b"\0", "not compressed"),
        (b"not compressed at all, just text", "not compressed"),
        (b"AMS2REC1 without gzip", "not compressed"),
        (zlib.compress(b""), "no packets"),
        (zlib.compress(struct.pack("<I", 0) + bytes(100)), "no packets"),
        (zlib.compress(struct.pack("<I", 3) + bytes(3)), "no packets"),
        (zlib.compress(struct.pack("<I", 0xFFFFFFFF)), "no packets"),
        (zlib.compress(struct.pack("<I", 1000) + bytes(10)), "no packets"),
        (gzip.compress(b"AMS2REC1", mtime=0), "no packets"),  # the time of day would be in the name of the case
    ],
)
def test_what_is_not_a_recording_is_refused_with_its_class(blob: bytes, error_class: str) -> None:
    assert _error(blob).error_class == error_class


def test_an_error_says_what_is_wrong_and_what_to_do_and_survives_pickling() -> None:
    error = _error(zlib.compress(struct.pack("<I", 0) + bytes(100)))
    assert isinstance(error, PermanentError | ApexError)
    assert "truncated at byte 0, where a length of 0 cannot be" in str(error)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  -- our own bytes
    assert (again.error_class, str(again)) == (error.error_class, str(error))


def test_zeros_that_inflate_a_thousandfold_stop_at_the_limit_in_little_memory() -> None:
    bomb = zlib.compress(bytes(200_000_000), 9)
    assert len(bomb) < 200_000
    tracemalloc.start()
    error = _error(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert error.error_class == "inflated size limit"
    assert peak < 20_000_000


@pytest.mark.parametrize(
    ("limits", "error_class"),
    [
        (RecordingLimits(compressed_bytes=1_000), "compressed size limit"),
        (RecordingLimits(inflated_bytes=100_000), "inflated size limit"),
        (RecordingLimits(runs=2), "too many laps"),
    ],
)
def test_limits_are_kept(limits: RecordingLimits, error_class: str) -> None:
    with pytest.raises(RecordingError) as caught:
        read_recording(io.BytesIO(recording(_sent())), limits)
    assert caught.value.error_class == error_class


def test_an_idle_session_may_compress_a_hundredfold() -> None:
    limits = RecordingLimits(ratio=5, ratio_from_bytes=100_000)
    with pytest.raises(RecordingError, match="5 times"):
        read_recording(io.BytesIO(recording(_sent())), limits)
    assert read_recording(io.BytesIO(recording(_sent())), RecordingLimits(ratio=5)).laps.num_rows == 3


@pytest.mark.parametrize("container", ["zlib", "raw deflate", "gzip", "ams2rec"])
def test_a_cut_recording_gives_its_whole_laps_and_says_where_it_ends(container: str) -> None:
    blob = recording(_sent(), container)
    result = read_blob(blob[: len(blob) * 6 // 10])
    assert [round(row["lap_time_s"], 2) for row in whole_laps(result)] == [12.34]
    assert "the compressed data is cut off" in result.detail
    assert "truncated at byte" in result.detail


def test_a_wrong_checksum_costs_nothing_and_is_said() -> None:
    blob = bytearray(zlib.compress(_content()))
    blob[-1] ^= 1
    result = read_blob(bytes(blob))
    assert len(whole_laps(result)) == 2
    assert "checksum of the compressed data is wrong" in result.detail


def test_damage_in_the_middle_gives_what_is_before_it() -> None:
    blob = bytearray(zlib.compress(_content(), 6))
    middle = len(blob) * 7 // 10
    blob[middle : middle + 50] = bytes(50)
    result = read_blob(bytes(blob))
    assert round(whole_laps(result)[0]["lap_time_s"], 2) == 12.34
    assert "damaged" in result.detail or "checksum" in result.detail or "cannot be" in result.detail


def test_garbage_after_the_end_is_counted_and_zeros_are_not_garbage() -> None:
    blob = zlib.compress(_content())
    assert "7 compressed bytes could not be used" in read_blob(blob + b"garbage").detail
    assert "could not be used" not in read_blob(blob + bytes(512)).detail


@pytest.mark.parametrize("container", ["zlib", "gzip", "ams2rec"])
def test_two_recordings_joined_are_read_as_one(container: str) -> None:
    blob = recording(_sent(), container)
    assert len(whole_laps(read_blob(blob + blob))) == 4


@pytest.mark.parametrize("kind", range(9))
def test_packets_of_one_type_alone_have_no_lap_unless_they_are_timings(kind: int) -> None:
    sent = [packet for packet in _sent() if packet[10] == kind]
    if kind == 3:
        result = read(sent)
        assert len(whole_laps(result)) == 2
        assert result.samples["speed_mps"].null_count == result.samples.num_rows
    else:
        assert _error(recording(sent)).error_class == ("no timings" if sent else "no packets")


def test_menus_and_replays_are_not_driven() -> None:
    script = Script(10.0)
    script.begin_session(PRACTICE)
    script.stand(3.0, game_state=FRONT_END)
    script.replay(10.0)
    error = _error(recording(packets(script.frames)))
    assert error.error_class == "nothing driven"
    assert "menus" in error.problem


def test_one_sample_is_not_a_lap() -> None:
    first = next(place for place, packet in enumerate(_sent()) if packet[10] == 3)
    assert _error(recording(_sent()[: first + 1])).error_class == "no laps"


def test_packets_of_project_cars_1_are_refused_with_the_setting_to_change() -> None:
    sent = [struct.pack("<HB", 1234, 0) + bytes(1364)] * 20 + [struct.pack("<HB", 1234, 1) + bytes(1344)] * 2
    error = _error(recording(sent))
    assert error.error_class == "Project CARS 1"
    assert "UDP Protocol Version" in error.hint


def test_unknown_packets_are_counted_by_type_and_size() -> None:
    result = read([*_sent(), bytes(10) + b"\x09" + bytes(29), bytes(10) + b"\x03" + bytes(60)])
    rejects = {(item.reason, item.detail): item.count for item in result.rejects}
    assert rejects["unknown_packet", "type 9 of 40 bytes"] == 1
    assert rejects["unknown_packet", "type 3 of 71 bytes"] == 1
    assert len(whole_laps(result)) == 2


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), -1.0, 1e30])
@pytest.mark.parametrize("name", _FLOATS)
def test_an_impossible_number_costs_its_value_and_not_the_lap(name: str, value: float) -> None:
    sent = [bytearray(packet) for packet in _sent()]
    kind = 3 if "clock" in name else 0
    hit = [packet for packet in sent if packet[10] == kind][40:160:30]
    for packet in hit:
        struct.pack_into("<f", packet, _FLOATS[name], value)
    result = read(map(bytes, sent))
    assert [round(row["lap_time_s"], 2) for row in whole_laps(result)] == [12.34, 11.87]
    for column in result.samples.drop_columns("tick").columns:
        assert all(number is None or abs(number) < 1e6 for number in column.to_pylist()[1:])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), -1.0, 1e30])
def test_impossible_times_of_the_game_and_lengths_of_the_track_are_not_believed(value: float) -> None:
    def change(packet: bytearray) -> None:
        if packet[10] == 7:
            for slot in range(32):
                struct.pack_into("<6f", packet, 16 + 32 * slot, *[value] * 6)
        if packet[10] == 1:
            struct.pack_into("<f", packet, 44, value)

    laps = whole_laps(read(_patched(change)))
    assert [(round(row["lap_time_s"], 2), row["lap_time_method"]) for row in laps] == [
        (12.34, "clock"),
        (11.87, "clock"),
    ]
    assert {row["track_length_m"] for row in laps} == {None}
    assert all(0 <= row[name] < 13 for row in laps for name in ("s1_s", "s2_s", "s3_s") if row[name] is not None)


def _with_clock(value: float) -> bytes:
    def change(packet: bytearray) -> None:
        if packet[10] == 3:
            struct.pack_into("<f", packet, _OWN + 22, value)

    return recording(_patched(change))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_a_clock_that_is_impossible_throughout_gives_no_lap(value: float) -> None:
    assert _error(_with_clock(value)).error_class == "nothing driven"


def test_a_clock_that_never_runs_gives_no_lap_time() -> None:
    result = read_blob(_with_clock(-1.0))
    assert whole_laps(result) == []
    assert set(result.laps["kind"].to_pylist()) <= {"partial", "abandoned"}


@pytest.mark.parametrize("index", [65535, 12, 200])
def test_a_driver_beyond_the_cars_is_found_by_his_missing_car(index: int) -> None:
    def change(packet: bytearray) -> None:
        if packet[10] == 3:
            struct.pack_into("<H", packet, 1057, index)

    assert [round(row["lap_time_s"], 2) for row in whole_laps(read(_patched(change)))] == [12.34, 11.87]


@pytest.mark.parametrize("number", [0, -1, -128])
def test_timings_without_cars_say_so(number: int) -> None:
    def change(packet: bytearray) -> None:
        if packet[10] == 3:
            struct.pack_into("<b", packet, 12, number)

    assert _error(recording(_patched(change))).error_class == "no driver"


def test_more_cars_than_a_packet_holds_are_said() -> None:
    def change(packet: bytearray) -> None:
        if packet[10] == 3:
            packet[12] = 45

    assert "45 cars, of which the packets hold 32" in read(_patched(change)).detail


@pytest.mark.parametrize("tick", ["still", "backwards", "2^24", "2^32"])
def test_a_strange_tick_count_does_not_change_the_laps(tick: str) -> None:
    first = {"still": 5, "backwards": 3_000_000, "2^24": 2**24 - 10_000, "2^32": 2**32 - 10_000}[tick]
    step = {"still": 0, "backwards": -100}.get(tick, 100)
    place = iter(range(10**6))

    def change(packet: bytearray) -> None:
        if packet[10] in {0, 3}:
            moment = next(place) // 2
            struct.pack_into("<I", packet, len(packet) - 4, (first + step * moment) % 2**32)

    result = read(_patched(change))
    assert [round(row["lap_time_s"], 2) for row in whole_laps(result)] == [12.34, 11.87]
    assert result.samples["speed_mps"].null_count == 0


def test_sizes_of_all_generations_may_be_mixed() -> None:
    script = Script(10.0)
    script.begin_session(RACE)
    script.lap(12.34)
    script.lap(11.87)
    script.lap(12.0, LapOptions(until_s=2.0, kind="partial"))
    sent = [list(packets(script.frames, PacketOptions(name))) for name in ("before patch 5", "patch 5", "AMS2")]
    result = read([sent[place % 3][place] for place in range(len(sent[0]))])
    assert [round(row["lap_time_s"], 2) for row in whole_laps(result)] == [12.34, 11.87]
    assert result.samples["speed_mps"].null_count == 0


def test_names_that_are_not_text_are_read_with_replacements_and_only_where_names_are_kept() -> None:
    def change(packet: bytearray) -> None:
        if packet[10] == 2:
            packet[16:80] = b"\xff\xfe" + b"N" * 62  # no zero byte at its end

    blob = recording(_patched(change))
    kept = read_recording(io.BytesIO(blob), keep_names=True).timing
    assert "\ufffd\ufffd" + "N" * 62 in kept["participant_name"].to_pylist()
    assert read_blob(blob).timing["participant_name"].null_count == kept.num_rows
