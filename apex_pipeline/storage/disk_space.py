"""How much room a disk has, asked about a folder that may not exist yet."""

import shutil
from pathlib import Path
from typing import NamedTuple


class DiskSpace(NamedTuple):
    """Room on the disk behind a folder.

    Attributes:
        folder: The folder that was asked, or its nearest parent that exists.
        free: Bytes free there.
    """

    folder: Path
    free: int


def disk_space(folder: Path) -> DiskSpace:
    """Return the room where ``folder`` is, or would be."""
    wanted = folder.expanduser().absolute()
    existing = next(place for place in (wanted, *wanted.parents) if place.is_dir())
    return DiskSpace(existing, shutil.disk_usage(existing).free)


__all__ = ["DiskSpace", "disk_space"]
