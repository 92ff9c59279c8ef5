"""A folder or file that is handed on: there whole under its name, or not there at all.

Here belongs the way to the name. What is put in is made by ``sample.py``, ``bundle.py`` and ``export.py``.
"""

import secrets
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from apex_pipeline.errors import ConfigurationError
from apex_pipeline.storage.disk_errors import disk_errors


@contextmanager
def new_folder(target: Path) -> Generator[Path]:
    """Give an empty folder beside ``target`` to fill; it takes that name when the block ends without an error.

    Raises:
        ConfigurationError: Something is there already.
        StoreError: The disk refused it.
    """
    _require_free(target)
    unfinished = _unfinished(target)
    with disk_errors(f"Making {target}"):
        unfinished.mkdir(parents=True)
    try:
        yield unfinished
        with disk_errors(f"Making {target}"):
            if target.is_dir():
                target.rmdir()  # an empty one, see above
            unfinished.replace(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


@contextmanager
def new_file(target: Path) -> Generator[Path]:
    """Give a path beside ``target`` to write to; the file takes that name when the block ends without an error.

    Raises:
        ConfigurationError: Something is there already.
        StoreError: The disk refused it.
    """
    _require_free(target)
    unfinished = _unfinished(target)
    with disk_errors(f"Making {target}"):
        target.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield unfinished
        with disk_errors(f"Making {target}"):
            unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def require_apart(target: Path, source: Path) -> None:
    """Make sure that neither of two folders is in the other.

    Raises:
        ConfigurationError: One is; what is made would be taken for a part of what it is made from.
    """
    ours, theirs = target.resolve(), source.resolve()
    if ours.is_relative_to(theirs) or theirs.is_relative_to(ours):
        raise ConfigurationError(
            f"{target} and {source} are the same folder, or one in the other.", "Name a target somewhere else."
        )


def _require_free(target: Path) -> None:
    is_free = not any(target.iterdir()) if target.is_dir() else not target.exists()
    if not is_free:
        raise ConfigurationError(f"{target} is there already.", "Name a new target, or remove that one first.")


def _unfinished(target: Path) -> Path:
    return target.parent / f".{target.name}.{secrets.token_hex(4)}"


__all__ = ["new_file", "new_folder", "require_apart"]
