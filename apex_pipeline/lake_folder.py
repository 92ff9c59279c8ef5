"""Finds the lake on disk that is meant if no setting names one: the nearest in this folder or above it.

An application that was shipped with a folder ``data`` of race files needs no lake: the folder around ``data`` has the
layout of one that nothing has been published in.
"""

from pathlib import Path

DEFAULT_LAKE = Path("lake")
# What every published lake has; storage/layout.py defines it.
_PUBLISHED = Path("catalog", "current.json")


def nearest_lake(start: Path) -> Path:
    """Return the folder ``lake`` of the nearest folder that has a published one, else ``lake`` in ``start``.

    A folder that cannot be looked into has none.

    Args:
        start: Where to begin, an absolute path.
    """
    if (start / DEFAULT_LAKE).exists():
        return DEFAULT_LAKE
    return next((above for folder in start.parents if _is_lake(above := folder / DEFAULT_LAKE)), DEFAULT_LAKE)


def folder_with_data(start: Path) -> Path | None:
    """Return the nearest folder, at or above one, that has a folder ``data`` with race files; ``None`` without one.

    Args:
        start: Where to begin, an absolute path.
    """
    return next((folder for folder in (start, *start.parents) if _has_tracks(folder / "data")), None)


def _has_tracks(data: Path) -> bool:
    """Return whether a folder has a folder with a file that looks like race data: data/TRACK/…csv."""
    try:
        return any(next(track.rglob("*.[cC][sS][vV]*"), None) for track in data.iterdir() if track.is_dir())
    except OSError:
        return False


def _is_lake(folder: Path) -> bool:
    try:
        return (folder / _PUBLISHED).is_file()
    except OSError:
        return False
