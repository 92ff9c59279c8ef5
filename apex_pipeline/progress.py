"""Contains how work reports bytes: to a receiver set for the length of a run, and in lines to the run's own log.

A sync sets the receiver, so that not every function between it and the work has to pass it on. Runs that Dagster starts
have none; what people see there is the log. See ``cli/console.py`` for the bars.
"""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar

# Called with the number of bytes just moved or read. May be negative when a retry rewinds.
Progress = Callable[[int], None]

_receiver: ContextVar[Progress | None] = ContextVar("apex_progress", default=None)

# A line of a run's log is an entry in Dagster's database: one per ten seconds is enough to follow a long job, and a
# short one needs none.
_SECONDS_PER_LINE = 10.0


@contextmanager
def progress_to(receiver: Progress) -> Generator[None]:
    """Send the progress of everything inside to ``receiver``."""
    token = _receiver.set(receiver)
    try:
        yield
    finally:
        _receiver.reset(token)


def current_progress() -> Progress | None:
    """Return the receiver set by :func:`progress_to`, if there is one."""
    return _receiver.get()


class ByteProgressLog:
    """Logs how far work on a known number of bytes is, and passes every step on to the current receiver.

    Args:
        doing: What is done, in one word: ``read``.
        total: Bytes there are.
        log: Takes a line.
        clock: Seconds from any start, for tests.
    """

    def __init__(
        self, doing: str, total: int, log: Callable[[str], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._doing = doing
        self._total = total
        self._log = log
        self._clock = clock
        self._receiver = current_progress()
        self._started = self._logged = clock()
        self.done = 0

    def __call__(self, moved: int) -> None:
        """Count bytes; may be called from any thread, but from one at a time."""
        self.done += moved
        if self._receiver:
            self._receiver(moved)
        now = self._clock()
        if now - self._logged >= _SECONDS_PER_LINE:
            self._logged = now
            share = self.done / self._total if self._total else 1.0
            amount = f"{self.done / 1e6:,.0f} of {self._total / 1e6:,.0f} MB"
            self._log(f"{amount} {self._doing} ({share:.0%}), {self._rate():,.0f} MB/s")

    def facts(self) -> dict[str, float | int]:
        """Return bytes, seconds and speed as metadata of the run."""
        seconds = self._clock() - self._started
        return {"raw_bytes": self.done, "conversion_s": round(seconds, 3), "raw_mb_per_s": round(self._rate(), 1)}

    def _rate(self) -> float:
        return self.done / 1e6 / max(self._clock() - self._started, 1e-3)
