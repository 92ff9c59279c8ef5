"""The end of a race, a hillclimb and other ends of a lap: the lap is found, and none is made of a lap given up."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from apex_pipeline.demo.race_packets import GENERATIONS, PacketOptions, packets
from apex_pipeline.demo.race_script import (
    FINISHED,
    FINISHES,
    FRONT_END,
    LENGTH_M,
    QUALIFYING,
    RACE,
    Frame,
    LapOptions,
    Script,
)
from apex_pipeline_tests.sources.ams2.reading import misread_laps, read, whole_laps

_WITHOUT_STATS = PacketOptions(sends_stats=False)


def _race(rate_hz: float, how: str, *, then: str) -> Script:
    script = Script(rate_hz)
    script.begin_session(RACE)
    script.stand(2.0, pit_mode=0)
    script.lap(21.34)
    script.finish(20.87, how)
    if then == "front end":
        script.stand(3.0, game_state=FRONT_END)
    return script


@pytest.mark.parametrize("then", ["the recording ends", "front end"])
@pytest.mark.parametrize("options", [PacketOptions(), _WITHOUT_STATS], ids=["stats", "no stats"])
@pytest.mark.parametrize("rate_hz", [1.0, 10.0, 60.0])
@pytest.mark.parametrize("how", FINISHES)
def test_the_last_lap_of_a_race_is_whole_whatever_its_clock_does(
    how: str, rate_hz: float, options: PacketOptions, then: str
) -> None:
    script = _race(rate_hz, how, then=then)
    result = read(packets(script.frames, options))
    assert misread_laps(script, result, tolerance_s=1 / rate_hz) == []


# The state is told right before the finish, and next when another session runs; or the race has one lap, and the
# participants of the next session are there soon after it.
_FOLLOWED_AT_ONCE = {"a state told late": (10.0, 5.0, [22.84]), "a race of one lap": (2.0, 0.5, [])}


@pytest.mark.parametrize("lag", [-1, 0, 1])
@pytest.mark.parametrize("case", _FOLLOWED_AT_ONCE)
@pytest.mark.parametrize("how", FINISHES)
def test_the_last_lap_is_whole_although_the_menus_and_a_new_session_follow_at_once(
    how: str, case: str, lag: int
) -> None:
    rate_hz, state_every_s, before_s = _FOLLOWED_AT_ONCE[case]
    script = Script(rate_hz)
    script.begin_session(RACE)
    script.stand(2.0, pit_mode=0)
    for seconds in before_s:
        script.lap(seconds)
    script.finish(20.87, how)
    script.stand(0.2 if before_s else 3.0, game_state=FRONT_END)
    script.begin_session(QUALIFYING)
    script.stand(2.0)
    script.out_lap(8.0)
    script.lap(19.9)
    script.lap(20.0, LapOptions(until_s=3.0, kind="partial"))
    sent = packets(_with_flag_moved(script.frames, lag), PacketOptions(sends_stats=False, state_every_s=state_every_s))
    assert misread_laps(script, read(sent), tolerance_s=1 / rate_hz) == []


@pytest.mark.parametrize("lag", [-1, 1])
@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("how", FINISHES)
def test_the_flag_may_come_a_sample_before_or_after_the_line(how: str, generation: str, lag: int) -> None:
    script = _race(10.0, how, then="front end")
    frames = _with_flag_moved(script.frames, lag)
    result = read(packets(frames, PacketOptions(generation, sends_stats=False)))
    assert misread_laps(script, result, tolerance_s=0.1) == []


def _with_flag_moved(frames: list[Frame], lag: int) -> list[Frame]:
    """Return the frames with the flag a frame before or after the line."""
    line = next(place for place, frame in enumerate(frames) if frame.race_state == FINISHED)
    moved, shifted = list(frames), min(line, line + lag)
    if lag:
        moved[shifted] = replace(frames[shifted], race_state=FINISHED if lag < 0 else frames[0].race_state)
    return moved


@pytest.mark.parametrize("how", ["runs on", "stops", "disappears"])
def test_a_session_that_runs_out_on_the_way_makes_no_lap(how: str) -> None:
    script = Script(10.0)
    script.begin_session(QUALIFYING)
    script.out_lap(8.0)
    script.lap(21.34)
    script.lap(22.0)
    change: dict[str, Callable[[Frame], Frame]] = {
        "runs on": lambda frame: frame,
        "stops": lambda frame: replace(frame, clock_s=15.0),
        "disappears": lambda frame: replace(frame, clock_s=-1.0),
    }
    flag_s = script.laps[-1].frames[150].time_s
    frames = [
        replace(change[how](frame), race_state=FINISHED) if frame.time_s >= flag_s else frame for frame in script.frames
    ]
    script.lap(20.0, LapOptions(until_s=3.0, kind="partial"))
    frames += [replace(frame, race_state=FINISHED) for frame in script.frames[len(frames) :]]
    found = [round(row["lap_time_s"], 2) for row in whole_laps(read(packets(frames, PacketOptions(sends_stats=False))))]
    assert found == ([21.34, 22.0] if how == "runs on" else [21.34])


@pytest.mark.parametrize(
    ("number", "options", "expected"),
    [
        (None, PacketOptions(), [20.2, 21.3, 19.9]),
        (None, _WITHOUT_STATS, [20.2, 21.3, 19.9]),
        (1, PacketOptions(), [20.2, 21.3, 19.9]),
        # A finish with neither a new lap number nor a time of the game is a reset.
        (1, _WITHOUT_STATS, []),
    ],
)
def test_a_hillclimb_ends_at_its_finish_and_begins_again_at_its_start(
    number: int | None, options: PacketOptions, expected: list[float]
) -> None:
    script = Script(10.0)
    script.begin_session(RACE)
    for seconds in (20.2, 21.3, 19.9):
        script.stand(2.0, pit_mode=0)
        script.lap(seconds)
    script.stand(6.0, pit_mode=0)
    frames = [replace(frame, lap=number or frame.lap) for frame in script.frames]
    found = [row["lap_time_s"] for row in whole_laps(read(packets(frames, options)))]
    assert found == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("left_out", [-1, 4])
def test_a_restart_just_before_the_line_is_not_a_lap(left_out: int) -> None:
    script = Script(10.0)
    script.begin_session(RACE)
    script.lap(20.0, LapOptions(until_s=19.0, kind="abandoned"))
    script.begin_session(RACE)
    script.lap(21.3)
    script.lap(20.0, LapOptions(until_s=5.0, kind="partial"))
    assert script.laps[0].frames[-1].distance_m > 0.9 * LENGTH_M
    sent = [packet for packet in packets(script.frames) if packet[10] != left_out]
    assert [round(row["lap_time_s"], 1) for row in whole_laps(read(sent))] == [21.3]
