"""Finds the game's own time of a lap or a sector among the times it sent, by the time that the clock gives.

The game sends only each car's last lap and last sector, some seconds after the line and without saying which it was.
"""

from dataclasses import dataclass

from apex_pipeline.sources.ams2.game import History

# Two times of one value look like one; what the clock measures better than this is known to be the same.
_SAME_S = 0.002


@dataclass(frozen=True)
class Expected:
    """What is known of a time before the game's own one is looked for.

    Attributes:
        slot: Place of the car among the entries.
        after: Place of the last packet before the time can have been sent.
        until: Place of the last packet with which it can have been sent.
        lowest_s: Shortest that it can be.
        highest_s: Longest that it can be.
        clock_s: The time by the clock.
    """

    slot: int
    after: int
    until: int
    lowest_s: float
    highest_s: float
    clock_s: float


def official_time(times: History[int, float], expected: Expected) -> float | None:
    """Return the first of the game's times that is as expected; ``None`` if there is none.

    Args:
        times: The game's last times, by place of the car.
        expected: What is known of the time.
    """
    lowest, highest = max(expected.lowest_s, 0.0), expected.highest_s
    found = times.between(expected.slot, expected.after, expected.until)
    standing = times.at(expected.slot, expected.after)
    if not found and standing is not None and abs(standing - expected.clock_s) <= _SAME_S:
        return standing
    return next((value for value in found if value > 0 and lowest <= value <= highest), None)
