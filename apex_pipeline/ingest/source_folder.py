"""The user's folder of race files: which files are there, and what each one is.

Here belongs looking at a folder on disk. Not here: copying it (``storage/copy.py``), deciding what changed
(``plan.py``), or the meaning of names (``sources``).
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
        on_disk: Where it is.
        size: Bytes.
        mtime_ns: Time of the last change, to notice one.
    """

    path: str
    local_path: Path
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class SourceFolder:
    """What a look at the source folder found.

    Attributes:
        root: The folder.
        files: Readable files, sorted by path.
        refused: Path (made printable) and reason of what is not read: no permission, a link that leads out of the
            folder or to another one, a name the lake cannot hold.
    """

    root: Path
    files: tuple[SourceFile, ...]
    refused: tuple[tuple[str, str], ...]

    @property
    def bytes(self) -> int:
        """Size of all files together."""
        return sum(file.size for file in self.files)


def scan_folder(root: Path) -> SourceFolder:
    """List the source folder.

    Raises:
        SourceError: The folder is missing, is no folder, cannot be read or is empty.
    """
    root = root.expanduser()
    if not root.is_dir():
        state = "is a file" if root.is_file() else "does not exist"
        raise SourceError(f"The source folder {root} {state}.", "Name the folder that holds the race files.")
    refused: list[tuple[str, str]] = []
    files = sorted(_walk(root.resolve(), refused), key=lambda file: file.path)
    if not files and not refused:
        raise SourceError(f"The source folder {root} is empty.", "Put the race files there, or name another folder.")
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
            on_disk = Path(folder, name)
            path = _relative(on_disk, root)
            reason = _reason_to_refuse(on_disk, root)
            if reason:
                refused.append((_printable(path), reason))
                continue
            status = on_disk.stat()
            yield SourceFile(path, on_disk, status.st_size, status.st_mtime_ns)


def _reason_to_refuse(on_disk: Path, root: Path) -> str | None:
    # A link out of the folder could publish any file of the machine under the name of a race file.
    if on_disk.is_symlink() and not on_disk.resolve().is_relative_to(root):
        return "it is a link that leads out of the source folder"
    if not on_disk.exists():
        return "it is a link to nothing"
    if not on_disk.is_file():
        return "it is no regular file"
    if not os.access(on_disk, os.R_OK):
        return "it cannot be read (no permission)"
    # One such name must stop neither the others nor the catalog, which holds the names of all files.
    try:
        raw_key(_relative(on_disk, root))
    except UnsafeKeyError as error:
        return error.problem
    return None


def _printable(path: str) -> str:
    """Show bytes that are no text and characters that move a terminal's cursor by their numbers."""
    return path if path.isprintable() else repr(path)[1:-1]


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def identify(folder: SourceFolder, settings: Settings) -> list[FileIdentity]:
    """Return what each file of the folder is, sorted by path.

    The answer is kept for the last folder asked about: every session's run asks again, and reading the start of
    4,000 files for each of 400 sessions would take minutes.

    Raises:
        ConfigurationError: The user's file of tracks cannot be read.
        VanishedFileError: A file went away while it was looked at.
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
                f"{self._file.path} was there a moment ago and is gone.", "Run the sync again once copying has ended."
            ) from None
        except OSError as error:
            raise SourceError(
                f"{self._file.path} cannot be read: {error.strerror}.", "Check the disk and the file's permissions."
            ) from error
