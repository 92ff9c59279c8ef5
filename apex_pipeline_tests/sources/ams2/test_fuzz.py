"""Mutated recordings: every one is read, within its schema and without anything impossible, or refused with a class."""

import gzip
import io
import random
import time
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.demo.race_packets import GENERATIONS, PacketOptions, framed_datagrams, packets
from apex_pipeline.demo.race_script import PRACTICE, RACE, LapOptions, Script
from apex_pipeline.sources.ams2.recording import Recording, RecordingError, read_recording
from apex_pipeline.tables import AMS2_TABLES
from apex_pipeline.tables.races import without_race_id
from apex_pipeline_tests.examples import at_least

Mutation = Callable[[list[bytearray], random.Random], list[bytearray]]

_NOT_NUMBERS = (b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\0\0\x80\xff", b"\0\0\x80\xbf", b"\xca\xf2\x49\x71", b"\xff" * 4)


# 200 packets take 0.01 s; a hang or a quadratic loop takes more than this.
_LONGEST_S = 2.0


def _script() -> Script:
    script = Script(2.0)
    script.begin_session(PRACTICE)
    script.out_lap(5.0)
    script.lap(10.1)
    script.lap(10.0, LapOptions(until_s=4.0, kind="abandoned"))
    script.begin_session(RACE)
    script.stand(1.0, pit_mode=0)
    script.lap(9.9, LapOptions(pause_at_s=3.0))
    script.replay(1.0)
    script.lap(9.1)
    return script


_SENT = {name: list(packets(_script().frames, PacketOptions(name))) for name in GENERATIONS}


def _mutate_bytes(sent: list[bytearray], rng: random.Random) -> list[bytearray]:
    for _ in range(rng.randrange(1, 200)):
        packet = rng.choice(sent)
        packet[rng.randrange(len(packet))] = rng.randrange(256)
    return sent


def _mutate_numbers(sent: list[bytearray], rng: random.Random) -> list[bytearray]:
    for _ in range(rng.randrange(1, 200)):
        packet = rng.choice(sent)
        place = rng.randrange(len(packet) - 4)
        packet[place : place + 4] = rng.choice(_NOT_NUMBERS)
    return sent


def _mutate_one_field(sent: list[bytearray], rng: random.Random) -> list[bytearray]:
    place, value = rng.randrange(1_060), rng.choice(_NOT_NUMBERS)
    for packet in sent:
        if place + 4 <= len(packet):
            packet[place : place + 4] = value
    return sent


def _mutate_order(sent: list[bytearray], rng: random.Random) -> list[bytearray]:
    kept = [packet for packet in sent if rng.random() > 0.3]
    rng.shuffle(kept)
    return kept


_MUTATIONS = (_mutate_bytes, _mutate_numbers, _mutate_one_field, _mutate_order)


@given(st.sampled_from(sorted(_SENT)), st.sampled_from(_MUTATIONS), st.integers(0, 2**32), st.integers(0, 4))
@at_least(120)
def test_mutated_packets_are_read_or_refused(generation: str, mutate: Mutation, seed: int, damaged_bytes: int) -> None:
    rng = random.Random(seed)  # noqa: S311  -- a test that can be repeated
    sent = mutate([bytearray(packet) for packet in _SENT[generation]], rng)
    content = bytearray(framed_datagrams(map(bytes, sent)))
    for _ in range(damaged_bytes):
        content[rng.randrange(len(content))] = rng.randrange(256)
    _read_or_refuse(zlib.compress(content, 1))


@given(st.binary(max_size=400), st.sampled_from([b"", b"\x78\x9c", b"\x1f\x8b\x08\0\0\0\0\0\0\0"]))
@at_least(100)
def test_any_bytes_are_refused(content: bytes, start: bytes) -> None:
    assert _read_or_refuse(start + content) is None


@given(st.integers(0, 2**32), st.integers(1, 30))
@at_least(60)
def test_damaged_compressed_bytes_are_read_or_refused(seed: int, damaged_bytes: int) -> None:
    rng = random.Random(seed)  # noqa: S311  -- a test that can be repeated
    blob = bytearray(zlib.compress(framed_datagrams(_SENT["AMS2"]), 1))
    for _ in range(damaged_bytes):
        blob[rng.randrange(len(blob))] = rng.randrange(256)
    _read_or_refuse(bytes(blob))


@pytest.mark.parametrize("step", [37, pytest.param(1, marks=pytest.mark.soak)])
@pytest.mark.parametrize("compress", [zlib.compress, gzip.compress])
def test_a_small_recording_cut_anywhere_is_read_or_refused(compress: Callable[[bytes], bytes], step: int) -> None:
    sent = [packet for packet in _SENT["AMS2"] if packet[10] == 3][:40:5]
    blob = compress(framed_datagrams(sent))
    laps = [_read_or_refuse(blob[:end]) is not None for end in range(0, len(blob) + 1, step)]
    # More bytes never take away what fewer gave.
    assert laps == sorted(laps)
    assert not laps[0]
    assert laps[-1]


@pytest.mark.soak
def test_ten_thousand_mutated_recordings_are_read_or_refused_in_bounded_time() -> None:
    sent = sorted(_SENT.items())
    for seed in range(10_000):
        rng = random.Random(seed)  # noqa: S311  -- a test that can be repeated
        generation, packets_sent = rng.choice(sent)
        first = rng.randrange(len(packets_sent) // 2)
        mutated = [bytearray(packet) for packet in packets_sent[first : first + rng.randrange(1, 200)]]
        for mutate in rng.sample(_MUTATIONS, rng.randrange(1, 4)):
            mutated = mutate(mutated, rng) or mutated
        content = bytearray(framed_datagrams(map(bytes, mutated)))
        for _ in range(rng.randrange(4)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        blob = bytearray(zlib.compress(content, 1))
        for _ in range(rng.choice([0, 0, 1, 5])):
            blob[rng.randrange(len(blob))] = rng.randrange(256)
        began = time.process_time()
        _read_or_refuse(bytes(blob[: rng.choice([len(blob), len(blob), rng.randrange(len(blob)) + 1])]))
        assert time.process_time() - began < _LONGEST_S, (seed, generation)


def _read_or_refuse(blob: bytes) -> Recording | None:
    try:
        result = read_recording(io.BytesIO(blob))
    except RecordingError as error:
        return _check_error(error)
    for table, content in zip(AMS2_TABLES, (result.laps, result.samples, result.timing), strict=True):
        assert without_race_id(table).violations(content) == []
    times = [time for time in result.laps["lap_time_s"].to_pylist() if time is not None]
    assert all(0 < time < 86_400 for time in times)
    left_out = sum(count for name, count in result.counts.items() if name.startswith("timings_"))
    assert result.counts["timings"] == (result.samples.num_rows - result.counts["samples_without_timings"] + left_out)
    return result


def _check_error(error: RecordingError) -> None:
    assert error.error_class
    assert error.hint
