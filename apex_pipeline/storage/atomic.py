"""Contains context managers that create a file or folder atomically; export/ uses them for its output.

The content is written next to the target under a hidden name and renamed at the end, which is atomic within one file
system.
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
    with translating_os_errors(f"Creating {target}"):
        unfinished.mkdir(parents=True)
    try:
        yield unfinished
        with translating_os_errors(f"Creating {target}"):
            if target.is_dir():
                target.rmdir()  # empty, as checked by _require_free
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
    with translating_os_errors(f"Creating {target}"):
        target.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield unfinished
        with translating_os_errors(f"Creating {target}"):
            unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def require_apart(target: Path, source: Path) -> None:
    """Require that neither of two folders contains the other.

    Raises:
        ConfigurationError: One contains the other, so the output would become part of its own input.
    """
    resolved_target, resolved_source = target.resolve(), source.resolve()
    if resolved_target.is_relative_to(resolved_source) or resolved_source.is_relative_to(resolved_target):
        raise ConfigurationError(
            f"{target} and {source} are the same folder, or one contains the other.",
            f"Choose a target outside {source}.",
        )


def _require_free(target: Path) -> None:
    is_free = not any(target.iterdir()) if target.is_dir() else not target.exists()
    if not is_free:
        raise ConfigurationError(f"{target} already exists.", "Choose a new target, or remove the existing one first.")


def _unfinished(target: Path) -> Path:
    return target.parent / f".{target.name}.{secrets.token_hex(4)}"
