"""Decides which files are finished: nobody is writing to them any more.

A file is finished when its name, size and time have not changed for the settle time, as seen from here: the clock of a
file server need not be right. One that was renamed into the folder and ends where its own syntax says is taken at once.
"""

import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from apex_pipeline.events.folder import EventFile
from apex_pipeline.events.syntax import LARGEST_CHECKED_BYTES, Syntax, check_syntax

# A file that a process has open for writing is not finished, however still it stands. After this many settle times it
# is taken anyway: some producers never close a file.
_LONGEST_OPEN_SETTLES = 12
# A file that is still being written holds later ones back, for the order, for this many settle times.
_LONGEST_HOLD_SETTLES = 2
_NS_PER_S = 1_000_000_000


@dataclass
class _Sighting:
    """How long a file has stood still.

    Attributes:
        state: Size and time of the last edit.
        first_s: When the file was first seen.
        still_since_s: Since when it has not changed.
        is_whole: Whether it arrived whole; ``None`` until that was looked at.
    """

    state: tuple[int, int]
    first_s: float
    still_since_s: float
    is_whole: bool | None = None


class SettleWatch:
    """Watches the files of a folder from one listing to the next.

    Args:
        settle_s: The settle time in seconds.
        keeps_order: Whether a file that is still being written holds back the later ones.
        now_s: A clock that is never set; in seconds.
        wall_ns: The clock of this machine, in nanoseconds since 1970.
    """

    def __init__(
        self,
        settle_s: float,
        *,
        keeps_order: bool = True,
        now_s: Callable[[], float] = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._settle_s = settle_s
        self._keeps_order = keeps_order
        self._now_s = now_s
        self._wall_ns = wall_ns
        self._sightings: dict[str, _Sighting] = {}
        self._last_listing_s: float | None = None
        self.next_due_s: float | None = None

    def finished(self, files: Iterable[EventFile]) -> tuple[list[EventFile], list[EventFile]]:
        """Return the files of a listing that are finished, and those to wait for, both in the given order.

        Afterwards, :attr:`next_due_s` is how many seconds later the next file may be finished, if any.
        """
        now_s = self._now_s()
        finished: list[EventFile] = []
        waiting: list[EventFile] = []
        seen: dict[str, _Sighting] = {}
        held_back = False
        self.next_due_s = None
        for file in files:
            if file.is_claimed:
                finished.append(file)
                continue
            sighting = seen[file.name] = self._sighting_of(file, now_s)
            is_finished = self._is_finished(file, sighting, now_s)
            (finished if is_finished and not held_back else waiting).append(file)
            held_back |= not is_finished and self._holds_back(file, sighting, now_s)
        self._sightings, self._last_listing_s = seen, now_s
        return finished, waiting

    def _sighting_of(self, file: EventFile, now_s: float) -> _Sighting:
        known = self._sightings.get(file.name)
        if known is not None and known.state == file.state:
            return known
        first_s = now_s if known is None else known.first_s
        return _Sighting(file.state, first_s, self._changed_s(file, now_s))

    def _changed_s(self, file: EventFile, now_s: float) -> float:
        """Return when a file was last changed: as its time says if that lies between two listings, else now."""
        changed_s = now_s - (self._wall_ns() - file.mtime_ns) / _NS_PER_S
        is_possible = self._last_listing_s is not None and self._last_listing_s <= changed_s <= now_s
        return changed_s if is_possible else now_s

    def _is_finished(self, file: EventFile, sighting: _Sighting, now_s: float) -> bool:
        if not file.size:  # a producer that buffers has opened it, and not yet written to it
            return False
        still_s = now_s - sighting.still_since_s
        if still_s < self._settle_s and not self._is_whole(file, sighting):
            self._note_due(self._settle_s - still_s)
            return False
        if still_s < _LONGEST_OPEN_SETTLES * self._settle_s and is_open_for_writing(file.path):
            self._note_due(self._settle_s)
            return False
        return True

    def _is_whole(self, file: EventFile, sighting: _Sighting) -> bool:
        """Return whether a file was renamed into the folder, and is one whole document."""
        if sighting.is_whole is None:
            # A rename changes the ctime alone. A file that was written here has both times of its last write.
            is_renamed = file.ctime_ns > file.mtime_ns and file.size <= LARGEST_CHECKED_BYTES
            sighting.is_whole = is_renamed and _is_one_document(file)
        return sighting.is_whole

    def _holds_back(self, file: EventFile, sighting: _Sighting, now_s: float) -> bool:
        is_new = now_s - sighting.first_s < _LONGEST_HOLD_SETTLES * self._settle_s
        return self._keeps_order and is_new and file.size > 0

    def _note_due(self, seconds: float) -> None:
        self.next_due_s = seconds if self.next_due_s is None else min(self.next_due_s, seconds)


def may_be_finished(file: EventFile, settle_s: float, *, wall_ns: Callable[[], int] = time.time_ns) -> bool:
    """Return whether one look at a file, without an earlier one, leaves it possible that it is finished.

    A time in the future says nothing about when a file was written, so such a file may be.

    Args:
        file: The file.
        settle_s: The settle time in seconds.
        wall_ns: The clock of this machine, in nanoseconds since 1970.
    """
    if not file.size:
        return False
    still_s = (wall_ns() - file.mtime_ns) / _NS_PER_S
    if file.is_claimed or still_s < -settle_s:
        return True
    if still_s < settle_s:
        return False
    return still_s >= _LONGEST_OPEN_SETTLES * settle_s or not is_open_for_writing(file.path)


def is_open_for_writing(path: Path) -> bool:
    """Return whether a process has a file open for writing; ``False`` where the system cannot tell.

    Linux refuses a read lease on such a file. A lease that is granted is given back at once; a process that opens the
    file in that moment waits for it, and this one is sent a signal that it ignores by default.
    """
    lease, signal_option = getattr(fcntl, "F_SETLEASE", None), getattr(fcntl, "F_SETSIG", None)
    if lease is None or signal_option is None:
        return False
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.fcntl(handle, signal_option, signal.SIGURG)
        fcntl.fcntl(handle, lease, fcntl.F_RDLCK)
        fcntl.fcntl(handle, lease, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:  # another user's file, or a file system without leases
        return False
    finally:
        os.close(handle)
    return False


def _is_one_document(file: EventFile) -> bool:
    with suppress(OSError):
        handle = os.open(file.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        with open(handle, "rb") as stream:  # noqa: PTH123  -- a handle, opened so that a pipe does not block
            content = stream.read(LARGEST_CHECKED_BYTES + 1)
        return len(content) == file.size and check_syntax(file.name, content) is Syntax.COMPLETE
    return False
