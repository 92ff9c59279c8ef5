"""Turns begin in the order in which they were taken, however their holders are scheduled."""

import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from apex_pipeline.events.turns import Turn, Turns


@pytest.mark.parametrize("width", [1, 3])
def test_turns_are_under_way_within_their_width_and_in_order(width: int) -> None:
    turns, begun, under_way, most = Turns(width), list[int](), set[int](), 0
    chance = random.Random(3)  # noqa: S311  -- repeatable

    def work(number: int, turn: Turn, before_s: float, within_s: float) -> None:
        nonlocal most
        try:
            time.sleep(before_s)
            if number % 5 == 4:
                return  # one that never begins
            turn.wait()
            begun.append(number)
            under_way.add(number)
            most = max(most, len(under_way))
            time.sleep(within_s)
            under_way.remove(number)
        finally:
            turn.end()

    with ThreadPoolExecutor(width + 1) as pool:
        for number in range(40):
            pool.submit(work, number, turns.take(), chance.uniform(0, 0.004), chance.uniform(0, 0.004))
    assert sorted(begun) == [number for number in range(40) if number % 5 != 4]
    assert most <= width
    assert width > 1 or begun == sorted(begun)


def test_a_turn_that_ends_twice_lets_one_other_begin() -> None:
    turns = Turns(1)
    first, second, third = turns.take(), turns.take(), turns.take()
    first.wait()
    first.end()
    first.end()
    second.wait()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(third.wait)
        with pytest.raises(TimeoutError):
            waiting.result(timeout=0.05)
        second.end()
        waiting.result(timeout=5)
