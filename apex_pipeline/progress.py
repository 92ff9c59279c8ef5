"""How work tells about bytes: one word shared by everything that moves or reads them."""

from collections.abc import Callable

# Called with the number of bytes just moved, for progress bars. May be negative when a retry rewinds.
Progress = Callable[[int], None]

__all__ = ["Progress"]
