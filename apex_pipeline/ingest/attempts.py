"""Decides whether work that was attempted before may be attempted again without anybody's doing.

A failure that would come again waits until the files or the code change, which makes it another version; what may go
well the next time is repeated after pauses that double. So no session is run for ever, and none is silently given up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class Outcome(StrEnum):
    """How a run ended."""

    DONE = "done"
    # It would fail again: a permanent error, a failed check, a defect.
    FAILED = "failed"
    # The store or another process was in the way.
    UNAVAILABLE = "unavailable"
    # Its process died: killed, out of memory, a restart of the machine.
    CRASHED = "crashed"
    # Somebody stopped it.
    STOPPED = "stopped"


@dataclass(frozen=True)
class Attempt:
    """A finished run.

    Attributes:
        outcome: How it ended.
        ended: When it ended.
    """

    outcome: Outcome
    ended: datetime


# Five minutes let a store recover; with six hours, one that stays away costs four runs a day.
FIRST_PAUSE = timedelta(minutes=5)
LONGEST_PAUSE = timedelta(hours=6)
# A session whose runs die this often in a row probably kills them, by the memory that it needs.
MOST_CRASHES = 5

_WAITS = {
    Outcome.FAILED: "it failed, and waits until its files or the code change",
    Outcome.STOPPED: "its run was stopped by hand; launch it by hand, or change its files",
}


def why_not_again(attempts: Sequence[Attempt], now: datetime) -> str | None:
    """Return why work may not be attempted again now; ``None`` if it may.

    Args:
        attempts: The finished runs at the same version of files and code, newest first.
        now: The time.
    """
    if not attempts:
        return None
    last = attempts[0]
    if last.outcome in _WAITS:
        return _WAITS[last.outcome]
    if _crashes(attempts) >= MOST_CRASHES:
        return f"its runs died {MOST_CRASHES} times; give them more memory and launch it by hand, or change its files"
    # A pause of 2^7 times five minutes is longer than the longest already; more doublings would only overflow.
    pause = min(FIRST_PAUSE * 2 ** min(len(attempts) - 1, 7), LONGEST_PAUSE)
    ready = last.ended + pause
    return f"it is attempted again after {ready:%Y-%m-%d %H:%M} UTC" if now < ready else None


def _crashes(attempts: Sequence[Attempt]) -> int:
    """Return how many of the newest attempts in a row crashed."""
    count = 0
    for attempt in attempts:
        if attempt.outcome is not Outcome.CRASHED:
            break
        count += 1
    return count
