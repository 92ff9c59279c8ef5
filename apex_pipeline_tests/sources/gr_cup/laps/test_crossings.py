"""Grouping triggers into crossings."""

import random
from dataclasses import replace

import pytest

from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.sources.gr_cup.laps.crossings import SAME_CROSSING_MS, Crossing, find_crossings
from apex_pipeline.sources.gr_cup.laps.triggers import Trigger
from apex_pipeline_tests.sources.gr_cup.lap_builder import trigger

END, START, TIME = FileKind.LAP_END, FileKind.LAP_START, FileKind.LAP_TIME
CAR = "GR86-002-2"


def sent(
    second: float, kind: FileKind = END, *, lap: int | None = 1, value_ms: int | None = None, line: int = 2
) -> Trigger:
    """Return a message of the car."""
    return replace(trigger(CAR, second, kind, lap), unit_value_ms=value_ms, line=line)


def only(*triggers: Trigger) -> Crossing:
    """Return the single crossing formed by these triggers."""
    ((crossing,),) = find_crossings(triggers).values()
    return crossing


def test_without_triggers_there_are_no_crossings() -> None:
    assert find_crossings([]) == {}


def test_the_three_kinds_of_message_are_one_crossing() -> None:
    crossing = only(sent(0.02, TIME, lap=4), sent(0.0, END, lap=4), sent(0.01, START, lap=5))
    assert (crossing.vehicle_id, crossing.utc_ms, len(crossing.triggers)) == (CAR, sent(0).trigger_utc_ms, 3)
    assert crossing.bounces == 0


@pytest.mark.parametrize(("gap_ms", "expected"), [(SAME_CROSSING_MS - 1, 1), (SAME_CROSSING_MS, 2)])
def test_triggers_five_seconds_apart_are_two_crossings(gap_ms: int, expected: int) -> None:
    assert len(find_crossings([sent(0), sent(gap_ms / 1000, lap=2)])[CAR]) == expected


def test_cars_are_kept_separate_and_sorted() -> None:
    found = find_crossings(
        [trigger(car, second, END, 1) for car, second in (("GR86-003-3", 0), ("GR86-001-1", 0.1), ("GR86-003-3", 90))]
    )
    assert {car: len(crossings) for car, crossings in found.items()} == {"GR86-001-1": 1, "GR86-003-3": 2}
    assert list(found) == sorted(found)


def test_a_bounce_is_counted_and_changes_neither_time_nor_lap() -> None:
    # As in real files: lap n, lap n + 1 with value 0, then lap n again with the milliseconds since then.
    first = sent(0.0, TIME, lap=21, value_ms=129_228)
    crossing = only(first, sent(0.001, TIME, lap=22, value_ms=0), sent(0.031, TIME, lap=21, value_ms=43))
    assert crossing.bounces == 2
    assert crossing.utc_ms == first.trigger_utc_ms
    assert crossing.ended_unit_lap == 21
    assert crossing.unit_lap_time_ms == 129_228


@pytest.mark.parametrize("value_ms", [None, 0, 43, SAME_CROSSING_MS - 1])
def test_a_value_shorter_than_a_crossing_is_not_a_lap_time(value_ms: int | None) -> None:
    assert only(sent(0, TIME, value_ms=value_ms)).unit_lap_time_ms is None


def test_a_duplicated_message_is_not_a_bounce() -> None:
    crossing = only(sent(0, line=9), sent(0, line=3))
    assert crossing.bounces == 0
    assert [item.line for item in crossing.triggers] == [3]


def test_a_message_about_the_next_lap_does_not_describe_the_ended_lap() -> None:
    crossing = only(sent(0, START, lap=8))
    assert (crossing.ended_unit_lap, crossing.has_lost_counter) == (None, False)
    assert crossing.evidence.kind is START


@pytest.mark.parametrize(
    ("end", "time", "expected"),
    [(None, None, (None, True)), (7, None, (7, False)), (None, 7, (7, False))],
    ids=["lost by both", "lost by lap_time", "lost by lap_end"],
)
def test_the_counter_is_lost_if_no_message_about_the_ended_lap_has_it(
    end: int | None, time: int | None, expected: tuple[int | None, bool]
) -> None:
    crossing = only(sent(0, END, lap=end), sent(0, TIME, lap=time), sent(0, START, lap=8))
    assert (crossing.ended_unit_lap, crossing.has_lost_counter) == expected


def test_the_source_of_a_lap_is_the_first_message_about_its_end() -> None:
    crossing = only(sent(0, START, line=5), sent(0.1, END, line=6), sent(0.2, TIME, line=7))
    assert (crossing.evidence.kind, crossing.evidence.line) == (END, 6)


def test_trigger_order_does_not_matter() -> None:
    triggers = [sent(at, kind, lap=at // 90) for at in range(0, 900, 90) for kind in (END, START, TIME)]
    shuffled = random.Random(3).sample(triggers, len(triggers))  # noqa: S311  -- a fixed shuffle, no secret
    assert find_crossings(shuffled) == find_crossings(triggers)
