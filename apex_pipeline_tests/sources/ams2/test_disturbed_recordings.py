"""Loss, disorder, duplicates and restarts of the packet counter: no lap is lost, none is invented."""

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.demo.race_packets import GENERATIONS, PacketOptions, packets
from apex_pipeline.demo.race_script import PRACTICE, RACE, LapOptions, Script, planted_race
from apex_pipeline_tests.examples import at_least
from apex_pipeline_tests.sources.ams2.reading import misread_laps, read, whole_laps

_RATE_HZ = 5.0
_SCRIPT = planted_race(_RATE_HZ)
_SENT = {
    (name, stats): tuple(packets(_SCRIPT.frames, PacketOptions(name, sends_stats=stats)))
    for name in GENERATIONS
    for stats in (False, True)
}


@given(st.sampled_from(sorted(_SENT)), st.integers(0, 10**6), st.floats(0, 0.02), st.integers(0, 12))
@at_least(30)
def test_loss_disorder_and_duplicates_cost_no_lap(
    sent: tuple[str, bool], seed: int, loss: float, disorder: int
) -> None:
    rng = random.Random(seed)  # noqa: S311  -- a test that can be repeated
    kept = [packet for packet in _SENT[sent] if rng.random() >= loss]
    kept = [packet for packet in kept for _ in range(1 + (rng.random() < loss))]
    order = sorted(range(len(kept)), key=lambda place: place + rng.random() * disorder)
    result = read(kept[place] for place in order)
    # Two packets in a row may be lost at the line.
    assert misread_laps(_SCRIPT, result, tolerance_s=3 / _RATE_HZ) == []


@pytest.mark.parametrize("rate_hz", [60.0, 20.0, 2.0, 1.0])
@pytest.mark.parametrize("generation", GENERATIONS)
def test_every_rate_gives_every_lap_within_one_sampling_interval(generation: str, rate_hz: float) -> None:
    script = Script(rate_hz)
    script.begin_session(PRACTICE)
    script.lap(30.013, LapOptions(from_s=11.3, kind="partial"))
    script.lap(20.207)
    script.lap(15.0, LapOptions(until_s=9.0, kind="abandoned"))
    script.stand(2.0)
    script.out_lap(12.0)
    script.lap(19.871)
    script.lap(20.444, LapOptions(pause_at_s=7.0))
    script.lap(20.0, LapOptions(until_s=4.0, kind="partial"))
    result = read(packets(script.frames, PacketOptions(generation, sends_stats=False)))
    assert misread_laps(script, result, tolerance_s=1 / rate_hz) == []


def test_duplicates_are_dropped_and_counted() -> None:
    sent = _SENT["AMS2", True]
    result = read(packet for packet in sent for _ in range(2))
    assert result.counts["datagrams_duplicate"] == len(sent)
    assert result.samples == read(sent).samples


@pytest.mark.parametrize("first", [2**32 - 500, 2**31 - 500])
def test_packet_numbers_may_overflow(first: int) -> None:
    result = read(packets(_SCRIPT.frames, PacketOptions(first_number=first)))
    assert misread_laps(_SCRIPT, result, 0.0011) == []
    assert result.samples == read(_SENT["AMS2", True]).samples


def test_packets_without_numbers_keep_their_recorded_order() -> None:
    result = read(bytes(8) + packet[8:] for packet in _SENT["patch 5", True])
    assert misread_laps(_SCRIPT, result, 0.0011) == []
    assert result.samples["speed_mps"].null_count == read(_SENT["patch 5", True]).samples["speed_mps"].null_count


def test_a_game_that_restarts_begins_a_session() -> None:
    script = Script(_RATE_HZ)
    script.begin_session(RACE)
    script.lap(12.34)
    script.lap(12.0, LapOptions(until_s=5.0, kind="abandoned"))
    sent = list(packets(script.frames, PacketOptions(first_number=100_000)))
    result = read([*sent, *packets(script.frames, PacketOptions(first_number=1))])
    kinds = [(row["session_index"], row["kind"]) for row in result.laps.to_pylist()]
    assert kinds == [(0, "flying"), (0, "abandoned"), (1, "flying"), (1, "partial")]


@pytest.mark.parametrize("first", [1, 100_000])
def test_short_recordings_joined_are_not_mixed(first: int) -> None:
    def script(seconds: float) -> Script:
        made = Script(1.0)
        made.begin_session(RACE)
        made.lap(seconds)
        made.lap(20.0, LapOptions(until_s=5.0, kind="partial"))
        return made

    sent = [*packets(script(20.3).frames, PacketOptions(first_number=first)), *packets(script(24.7).frames)]
    laps = [(row["session_index"], round(row["lap_time_s"], 1)) for row in whole_laps(read(sent))]
    assert laps == [(0, 20.3), (1, 24.7)]


def test_one_damaged_packet_number_changes_nothing() -> None:
    sent = [bytearray(packet) for packet in _SENT["AMS2", True]]
    for place, number in ((900, 4_000_000_000), (1_200, 3), (1_500, 2**31)):
        struct.pack_into("<I", sent[place], 0, number)
    assert read(map(bytes, sent)).samples == read(_SENT["AMS2", True]).samples


def test_a_counter_that_means_nothing_is_not_followed() -> None:
    rng = random.Random(3)  # noqa: S311  -- a test that can be repeated
    sent = [struct.pack("<I", rng.randrange(2**32)) + packet[4:] for packet in _SENT["AMS2", True]]
    assert read(sent).laps.num_rows > 0


@pytest.mark.parametrize("missing", [0, 1, 2, 4, 7, 8])
def test_laps_do_not_need_the_other_packets(missing: int) -> None:
    script = Script(_RATE_HZ)
    script.begin_session(RACE)
    script.lap(12.34)
    script.lap(11.87)
    script.lap(12.0, LapOptions(until_s=5.0, kind="partial"))
    result = read(packet for packet in packets(script.frames) if packet[10] != missing)
    assert misread_laps(script, result, 1 / _RATE_HZ) == []


def test_the_physics_of_a_lost_packet_of_timings_is_a_sample_without_a_clock() -> None:
    sent = list(_SENT["AMS2", True])
    lost = [place for place, packet in enumerate(sent) if packet[10] == 3][100]
    result = read(sent[:lost] + sent[lost + 1 :])
    assert result.counts["samples_without_timings"] == 1
    row = result.samples.to_pylist()[100]
    assert row["current_time_s"] is None
    assert row["speed_mps"] is not None
