"""Reports progress in bytes: to a receiver set for the duration of a run, and as lines in the run's log.

A sync sets the receiver in a context variable, so the functions in between do not have to pass it along. Runs started
from Dagster have no receiver; their progress is visible in the log. See ``console.py`` for the progress bars.
"""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar

# Called with the number of bytes just copied or read; negative when a retry rewinds.
Progress = Callable[[int], None]

_receiver: ContextVar[Progress | None] = ContextVar("apex_progress", default=None)

# Each line of a run's log is a row in Dagster's database: one every ten seconds is enough for a long job, and a short
# job needs none.
_SECONDS_PER_LINE = 10.0


@contextmanager
def progress_to(receiver: Progress) -> Generator[None]:
    """Send all progress reported inside the block to ``receiver``."""
    token = _receiver.set(receiver)
    try:
        yield
    finally:
        _receiver.reset(token)


def current_progress() -> Progress | None:
    """Return the receiver set by :func:`progress_to`, or ``None``."""
    return _receiver.get()


class ByteProgressLog:
    """Logs the progress of work on a known number of bytes and forwards each step to the current receiver.

    Args:
        doing: Verb for the log line, as a past participle such as ``read``.
        total: Total number of bytes.
        log: Called with each log line.
        clock: Monotonic clock in seconds; tests pass their own.
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
        """Count bytes. May be called from any thread, but not concurrently."""
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
        """Return bytes, seconds and MB/s as metadata of the run."""
        seconds = self._clock() - self._started
        return {"raw_bytes": self.done, "conversion_s": round(seconds, 3), "raw_mb_per_s": round(self._rate(), 1)}

    def _rate(self) -> float:
        return self.done / 1e6 / max(self._clock() - self._started, 1e-3)
