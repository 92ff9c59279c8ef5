"""How work deep inside a run tells about bytes: to a progress bar outside, and in lines to the run's own log.

A sync sets the receiver for the length of a run, so that not every function has to pass it on. In a run started by
Dagster itself nobody listens; what people see there is the log.
"""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar

from apex_pipeline.progress import Progress

_receiver: ContextVar[Progress | None] = ContextVar("apex_progress", default=None)


@contextmanager
def listening(receiver: Progress) -> Generator[None]:
    """Send the progress of everything inside to ``receiver``."""
    token = _receiver.set(receiver)
    try:
        yield
    finally:
        _receiver.reset(token)


def current_progress() -> Progress | None:
    """Return who listens at the moment, if anybody."""
    return _receiver.get()


# A line of a run's log is an entry of Dagster's database: of a long job, one per ten seconds is enough to see
# that it goes on, and a short one needs none.
_SECONDS_PER_LINE = 10.0


class ByteLog:
    """Says in lines how far work on a known number of bytes is, and hands every step on to who listens outside.

    Args:
        doing: What is done, in one word: ``read``.
        total: Bytes there are.
        say: Takes a line.
        clock: Seconds from any beginning, for tests.
    """

    def __init__(
        self, doing: str, total: int, say: Callable[[str], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._doing = doing
        self._total = total
        self._say = say
        self._clock = clock
        self._outside = current_progress()
        self._started = self._said = clock()
        self.done = 0

    def __call__(self, moved: int) -> None:
        """Count bytes; may be called from any thread, by one at a time."""
        self.done += moved
        if self._outside:
            self._outside(moved)
        now = self._clock()
        if now - self._said >= _SECONDS_PER_LINE:
            self._said = now
            share = self.done / self._total if self._total else 1.0
            amount = f"{self.done / 1e6:,.0f} of {self._total / 1e6:,.0f} MB"
            self._say(f"{amount} {self._doing} ({share:.0%}), {self._rate():,.0f} MB/s")

    def facts(self) -> dict[str, float | int]:
        """Return bytes, seconds and speed as metadata of the run."""
        seconds = self._clock() - self._started
        return {"raw_bytes": self.done, "conversion_s": round(seconds, 3), "raw_mb_per_s": round(self._rate(), 1)}

    def _rate(self) -> float:
        return self.done / 1e6 / max(self._clock() - self._started, 1e-3)


__all__ = ["ByteLog", "current_progress", "listening"]
