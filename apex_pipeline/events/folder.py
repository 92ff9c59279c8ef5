"""Lists a folder of rotated files: which are events, and which entries cannot be shipped and why.

Contains one level-triggered listing. Nothing here depends on notifications of the system or on inode numbers.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from apex_pipeline.errors import SourceError
from apex_pipeline.sources.events.rotation import content_kind, is_event_name, order_of

DONE_FOLDER = "done"


class EventFile(NamedTuple):
    """One file that may be an event file; a tuple, because a listing makes 100,000 of them.

    Attributes:
        name: Its name, in which bytes that are no text are surrogates.
        location: Path of it, as text.
        size: Size in bytes.
        mtime_ns: Time of its last edit in nanoseconds since 1970.
        ctime_ns: Time of its last edit, move or change of rights.
        is_claimed: Whether a shipper has already taken it.
    """

    name: str
    location: str
    size: int
    mtime_ns: int
    ctime_ns: int
    is_claimed: bool = False

    @property
    def path(self) -> Path:
        """Where it lies; made when it is needed, because that takes longer than listing the file."""
        return Path(self.location)

    @property
    def order(self) -> tuple[int, str, bool]:
        """Its place in the order of shipping; of two files with one name, the claimed one is the older."""
        return *order_of(self.name, self.mtime_ns), not self.is_claimed

    @property
    def state(self) -> tuple[int, int]:
        """Size and time of the last edit: a file in the same state has not been written to."""
        return self.size, self.mtime_ns

    @property
    def shown(self) -> str:
        """The name for people, without characters that would move a cursor."""
        return shown_name(self.name)


@dataclass(frozen=True)
class Listing:
    """What a folder holds.

    Attributes:
        files: Files that may be events, in the order of shipping.
        refused: Entries that cannot be shipped, each with the reason, sorted by name.
    """

    files: tuple[EventFile, ...]
    refused: tuple[tuple[str, str], ...]


def list_folder(folder: Path, *, is_claimed: bool = False) -> Listing:
    """List a folder, not what is below it.

    Raises:
        SourceError: It is missing, is not a folder, or cannot be read.
    """
    files: list[EventFile] = []
    refused: list[tuple[str, str]] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name == DONE_FOLDER or not is_event_name(entry.name):  # also where it is a link elsewhere
                    continue
                found = _look_at(entry, is_claimed=is_claimed)
                if isinstance(found, EventFile):
                    files.append(found)
                elif found is not None:
                    refused.append((shown_name(entry.name), found))
    except OSError as error:
        raise _cannot_list(folder, error) from error
    return Listing(tuple(sorted(files, key=lambda file: file.order)), tuple(sorted(refused)))


def look_at(file: EventFile) -> EventFile | None:
    """Return a file as it is now, or ``None`` if it is gone."""
    try:
        status = os.stat(file.location, follow_symlinks=False)  # noqa: PTH116  -- as fast as a listing of 100,000 needs it
    except OSError:
        return None
    return EventFile(file.name, file.location, status.st_size, status.st_mtime_ns, status.st_ctime_ns, file.is_claimed)


def shown_name(name: str) -> str:
    """Return a name for people, with bytes that are no text and control characters escaped."""
    return name if name.isprintable() else repr(name)[1:-1]


def _look_at(entry: os.DirEntry[str], *, is_claimed: bool) -> EventFile | str | None:
    """Return a file, the reason why an entry is refused, or ``None`` for one that is no event and no mistake."""
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:  # it vanished since the listing
        return None
    except OSError as error:
        return f"it cannot be looked at ({error.strerror})"
    if stat.S_ISREG(status.st_mode):
        return EventFile(entry.name, entry.path, status.st_size, status.st_mtime_ns, status.st_ctime_ns, is_claimed)
    if stat.S_ISLNK(status.st_mode):
        return "it is a link; only the file itself is shipped"
    if stat.S_ISDIR(status.st_mode):
        return "it is a folder with the name of a file" if content_kind(entry.name) else None
    return "it is a pipe, a socket or a device"


def _cannot_list(folder: Path, error: OSError) -> SourceError:
    if isinstance(error, FileNotFoundError):
        return SourceError(
            f"The folder {folder} does not exist.", "Name the folder in which the event files are rotated."
        )
    if isinstance(error, NotADirectoryError):
        return SourceError(f"{folder} is not a folder.", "Name the folder in which the event files are rotated.")
    return SourceError(f"The folder {folder} cannot be read: {error.strerror}.", "Let this user read it.")
