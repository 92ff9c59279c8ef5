"""Contains new files and folders that appear complete or not at all; see export/ for what is written into them.

They are written next to the target under a hidden name and renamed at the end, which is atomic on one file system.
"""

import secrets
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from apex_pipeline.errors import ConfigurationError
from apex_pipeline.storage.os_errors import translating_os_errors


@contextmanager
def new_folder(target: Path) -> Generator[Path]:
    """Yield an empty folder next to ``target``, and rename it to ``target`` if the block succeeds.

    Raises:
        ConfigurationError: The target exists.
        StoreError: The file system refused an operation.
    """
    _require_free(target)
    unfinished = _unfinished(target)
    with translating_os_errors(f"Making {target}"):
        unfinished.mkdir(parents=True)
    try:
        yield unfinished
        with translating_os_errors(f"Making {target}"):
            if target.is_dir():
                target.rmdir()  # an empty one, see above
            unfinished.replace(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


@contextmanager
def new_file(target: Path) -> Generator[Path]:
    """Yield a path next to ``target`` to write to, and rename it to ``target`` if the block succeeds.

    Raises:
        ConfigurationError: The target exists.
        StoreError: The file system refused an operation.
    """
    _require_free(target)
    unfinished = _unfinished(target)
    with translating_os_errors(f"Making {target}"):
        target.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield unfinished
        with translating_os_errors(f"Making {target}"):
            unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def require_apart(target: Path, source: Path) -> None:
    """Require that neither of two folders lies in the other.

    Raises:
        ConfigurationError: One does: the output would become part of its own input.
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
