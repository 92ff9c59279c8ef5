"""How work deep inside a run tells a progress bar outside about bytes, without every function passing it on.

A sync sets the receiver for the length of a run; in a run started by Dagster itself nobody listens.
"""

from collections.abc import Generator
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


__all__ = ["current_progress", "listening"]
