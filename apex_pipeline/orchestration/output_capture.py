"""Says whether Dagster captures what the runs of this process print.

For each run that it captures, it starts four processes, which take longer than most steps of a small session. The runs
of a command print nothing: what their steps have to say is in the events.
"""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

_is_captured: ContextVar[bool] = ContextVar("is_captured", default=True)


@contextmanager
def uncaptured() -> Generator[None]:
    """Capture nothing within the block, where the Dagster home allows that."""
    before = _is_captured.set(False)
    try:
        yield
    finally:
        _is_captured.reset(before)


def is_captured() -> bool:
    """Return whether output is captured now."""
    return _is_captured.get()
