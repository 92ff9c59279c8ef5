"""Imports libraries without what they would load only to see whether it is there."""

import sys
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def absent(*names: str) -> Generator[None]:
    """Let imports within the block fail for these modules, as if they were not installed.

    Args:
        names: Full names of modules; one that has been imported already stays as it is.
    """
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  -- Python's own way to say so
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)
