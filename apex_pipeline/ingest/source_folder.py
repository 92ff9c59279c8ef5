"""Scans the user's folder of race files and identifies them.

See ``sources/__init__.py`` for the identification of files, ``plan.py`` for detecting changes, and ``storage/copy.py``
for copying.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from apex_pipeline.errors import FileChangedError, SourceError
from apex_pipeline.settings import Settings
from apex_pipeline.sources import identify_files
from apex_pipeline.sources.base import FileIdentity, FoundFile
from apex_pipeline.storage.keys import UnsafeKeyError
from apex_pipeline.storage.layout import raw_key


@dataclass(frozen=True)
class SourceFile:
    """A file below the source folder.

    Attributes:
        path: POSIX path relative to the folder.
        local_path: Path on this machine.
        size: Size in bytes.
        mtime_ns: Modification time in nanoseconds, used to detect changes.
    """

    path: str
    local_path: Path
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class SourceFolder:
    """The result of scanning the source folder.

    Attributes:
        root: The folder.
        files: Readable files, sorted by path.
        refused: Path (escaped for printing) and reason of each entry that is skipped: no permission, a link that points
            outside the folder or to another folder, or a name that cannot be an object key.
    """

    root: Path
    files: tuple[SourceFile, ...]
    refused: tuple[tuple[str, str], ...]

    @property
    def bytes(self) -> int:
        """Total size of all files in bytes."""
        return sum(file.size for file in self.files)


def scan_folder(root: Path) -> SourceFolder:
    """List the source folder.

    Raises:
        SourceError: The folder is missing, is not a folder, cannot be read or is empty.
    """
    root = root.expanduser()
    if not root.is_dir():
        state = "is a file" if root.is_file() else "does not exist"
        raise SourceError(f"The source folder {root} {state}.", "Specify the folder that contains the race files.")
    refused: list[tuple[str, str]] = []
    files = sorted(_walk(root.resolve(), refused), key=lambda file: file.path)
    if not files and not refused:
        raise SourceError(f"The source folder {root} is empty.", "Add the race files, or specify another folder.")
    return SourceFolder(root, tuple(files), tuple(sorted(refused)))


def _walk(root: Path, refused: list[tuple[str, str]]) -> Iterator[SourceFile]:
    def refuse_folder(error: OSError) -> None:
        refused.append(
            (_printable(_relative(Path(error.filename), root)), f"the folder cannot be read ({error.strerror})")
        )

    for folder, folders, names in os.walk(root, onerror=refuse_folder):
        links = (Path(folder, name) for name in folders if Path(folder, name).is_symlink())
        refused.extend((_printable(_relative(link, root)), "it is a link to a folder") for link in links)
        for name in names:
            local_path = Path(folder, name)
            path = _relative(local_path, root)
            reason = _reason_to_refuse(local_path, root)
            if reason:
                refused.append((_printable(path), reason))
                continue
            status = local_path.stat()
            yield SourceFile(path, local_path, status.st_size, status.st_mtime_ns)


def _reason_to_refuse(local_path: Path, root: Path) -> str | None:
    # A link that points outside the folder could publish any file on this machine under a race file's name.
    if local_path.is_symlink() and not local_path.resolve().is_relative_to(root):
        return "it is a link that points outside the source folder"
    if not local_path.exists():
        return "it is a broken link"
    if not local_path.is_file():
        return "it is not a regular file"
    if not os.access(local_path, os.R_OK):
        return "it cannot be read (no permission)"
    # One unsafe name must not block the other files or the catalog, which lists every file name.
    try:
        raw_key(_relative(local_path, root))
    except UnsafeKeyError as error:
        return error.problem
    return None


def _printable(path: str) -> str:
    """Return the path with undecodable bytes and terminal control characters escaped."""
    return path if path.isprintable() else repr(path)[1:-1]


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def identify(folder: SourceFolder, settings: Settings) -> list[FileIdentity]:
    """Return the identity of each file in the folder, sorted by path.

    The result for the last folder is cached: each session's run needs it again, and reading the start of 4,000
    files for each of 400 sessions would take minutes.

    Raises:
        ConfigurationError: The user's file of tracks cannot be read.
        FileChangedError: A file was deleted after the folder was scanned.
        SourceError: A file cannot be read.
    """
    return list(_identify_once(folder, settings))  # pyright: ignore[reportArgumentType]  -- frozen, so pydantic hashes it


@lru_cache(maxsize=1)
def _identify_once(folder: SourceFolder, settings: Settings) -> tuple[FileIdentity, ...]:
    found = [FoundFile(file.path, file.size, _reader(file)) for file in folder.files]
    return tuple(identify_files(found, settings))


class _reader:  # noqa: N801  -- used as a function; a class so that it can be compared and cached
    def __init__(self, file: SourceFile) -> None:
        self._file = file

    def __call__(self, length: int) -> bytes:
        try:
            with self._file.local_path.open("rb") as stream:
                return stream.read(length)
        except FileNotFoundError:
            raise FileChangedError(
                f"{self._file.path} was deleted during the scan.", "Run the sync again once the folder is complete."
            ) from None
        except OSError as error:
            raise SourceError(
                f"{self._file.path} cannot be read: {error.strerror}.", "Check the disk and the file's permissions."
            ) from error
