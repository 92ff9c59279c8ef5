"""Scans the user's folder of race files.

See ``source_bucket.py`` for a source in a bucket, ``discover.py`` for what the files are in a lake, and
``storage/copy.py`` for copying them.
"""

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from apex_pipeline.errors import ConfigurationError, FileChangedError, SourceError
from apex_pipeline.ingest.source_files import SourceFile, SourceListing, printable
from apex_pipeline.progress import Progress
from apex_pipeline.settings import Settings
from apex_pipeline.storage.copy import CopyItem
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.keys import UnsafeKeyError
from apex_pipeline.storage.layout import CURRENT_SNAPSHOT_KEY, raw_key

if TYPE_CHECKING:  # takes 0.2 s with Arrow, and copying a folder needs neither
    from apex_pipeline.sources.base import FileIdentity


@dataclass(frozen=True, slots=True)
class LocalFile(SourceFile):
    """A file below the source folder.

    Attributes:
        local_path: Path on this machine.
    """

    local_path: Path

    def read_head(self, length: int) -> bytes:
        """Return the first bytes."""
        try:
            with self.local_path.open("rb") as stream:
                return stream.read(length)
        except FileNotFoundError:
            raise FileChangedError(
                f"{self.path} was deleted during the scan.", "Run the sync again once the folder is complete."
            ) from None
        except OSError as error:
            raise SourceError(
                f"{self.path} cannot be read: {error.strerror}.", "Check the disk and the file's permissions."
            ) from error

    def sha256(self, digests: DigestCache, progress: Progress | None = None) -> str:
        """Return the digest; the file is read if it changed since it was cached."""
        return digests.sha256_of(self.local_path, progress)

    def known_sha256(self, digests: DigestCache) -> str | None:
        """Return the digest; reading a local file is cheap enough."""
        return self.sha256(digests)

    def copy_item(self, key: str, digests: DigestCache) -> CopyItem:
        """Return the copy of the file as it is."""
        del digests  # the copy has them
        return CopyItem(self.local_path, key)


@dataclass(frozen=True)
class SourceFolder(SourceListing):
    """The result of scanning a folder."""

    root: Path
    files: tuple[LocalFile, ...]


# Folders that operating systems and file servers create, and that other users may not read or remove.
_SYSTEM_FOLDERS = frozenset(
    {"lost+found", "System Volume Information", "$RECYCLE.BIN", ".Trashes", ".snapshot", ".zfs"}
)


def scan_source_folder(settings: Settings) -> SourceFolder:
    """List the configured source folder, without the lake and the state of this project that may lie in it.

    Raises:
        SourceError: As for :func:`scan_folder`.
        ConfigurationError: The source folder is the lake, or lies in it.
    """
    own = [settings.state_dir, settings.dagster_home, *([settings.cache_dir] if settings.cache_dir else [])]
    if not settings.use_s3_data:
        _require_outside(settings.source_dir, settings.lake_dir)
        own.append(settings.lake_dir)
    return scan_folder(settings.source_dir, [path.expanduser().absolute() for path in own])


def _require_outside(source: Path, lake: Path) -> None:
    inside = os.path.realpath(source.expanduser())
    outside = os.path.realpath(lake.expanduser())
    if os.path.commonpath([inside, outside]) == outside and Path(outside).is_dir():
        raise ConfigurationError(
            f"The source folder {source} is the lake {lake}, or lies in it.",
            "Name the folder with the race files as they came, or set APEX_LAKE_DIR to another folder.",
        )


def scan_folder(root: Path, own_folders: Iterable[Path] = ()) -> SourceFolder:
    """List a source folder.

    Args:
        root: The folder.
        own_folders: Absolute paths of folders that are left out wherever they lie: a lake, and this project's state.

    Raises:
        SourceError: The folder is missing, is not a folder, cannot be read or is empty.
    """
    root = root.expanduser()
    if not root.is_dir():
        state = "is a file" if root.is_file() else "does not exist"
        raise SourceError(f"The source folder {root} {state}.", "Specify the folder that contains the race files.")
    scan = _Scan(os.path.realpath(root), {os.path.realpath(path) for path in own_folders})
    scan.run()
    if not scan.files and not scan.refused:
        raise SourceError(f"The source folder {root} is empty.", "Add the race files, or specify another folder.")
    files = tuple(sorted(scan.files, key=lambda file: file.path))
    return SourceFolder(root, files, tuple(sorted(scan.refused)), tuple(sorted(scan.skipped)))


class _Scan:
    """One listing of a folder, which follows no links to folders and needs one stat per file.

    Args:
        root: Real path of the folder.
        own: Real paths of folders that are left out.
    """

    def __init__(self, root: str, own: set[str]) -> None:
        self._root = root
        self._own = own
        self.files: list[LocalFile] = []
        self.refused: list[tuple[str, str]] = []
        self.skipped: list[tuple[str, str]] = []

    def run(self) -> None:
        """List the folder, however deep it is."""
        folders = [self._root]
        while folders:
            folder = folders.pop()
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        folders += self._look_at(entry)
            except OSError as error:
                self._refuse_folder(folder, error)

    def _look_at(self, entry: os.DirEntry[str]) -> list[str]:
        """Note one entry, and return the folder to be listed if it is one."""
        try:
            if entry.is_dir(follow_symlinks=False):
                return self._folder(entry)
            reason = self._reason_to_refuse(entry)
            if reason is None:
                self._file(entry)
            else:
                self.refused.append((self._shown(entry.path), reason))
        except FileNotFoundError:
            self.skipped.append((self._shown(entry.path), "it vanished while the folder was listed"))
        except OSError as error:
            self.refused.append((self._shown(entry.path), f"it cannot be read ({error.strerror})"))
        return []

    def _folder(self, entry: os.DirEntry[str]) -> list[str]:
        if entry.path in self._own:
            self.skipped.append((self._shown(entry.path), "it belongs to the lake or to the state of this program"))
        elif os.path.isfile(os.path.join(entry.path, *CURRENT_SNAPSHOT_KEY.split("/"))):  # noqa: PTH113, PTH118  -- 10 times as fast
            self.skipped.append((self._shown(entry.path), "it is a lake"))
        else:
            return [entry.path]
        return []

    def _file(self, entry: os.DirEntry[str]) -> None:
        status = entry.stat()
        if not stat.S_ISREG(status.st_mode):
            self.skipped.append((self._shown(entry.path), "it is a pipe, a socket or a device"))
            return
        path = self._path(entry.path)
        self.files.append(LocalFile(path, status.st_size, status.st_mtime_ns, Path(entry.path)))

    def _reason_to_refuse(self, entry: os.DirEntry[str]) -> str | None:
        if entry.is_symlink():
            reason = self._reason_against_link(entry)
            if reason:
                return reason
        if not stat.S_ISREG(entry.stat().st_mode):
            return None
        if not os.access(entry.path, os.R_OK):
            return "it cannot be read (no permission)"
        # One unsafe name must not block the other files or the catalog, which lists every file name.
        try:
            raw_key(self._path(entry.path))
        except UnsafeKeyError as error:
            return error.problem
        return None

    def _reason_against_link(self, entry: os.DirEntry[str]) -> str | None:
        # A link that points outside the folder could publish any file on this machine under a race file's name.
        target = os.path.realpath(entry.path)
        if os.path.isdir(entry.path):  # noqa: PTH112  -- as above
            return "it is a link to a folder"
        if not os.path.exists(entry.path):  # noqa: PTH110  -- as above
            is_loop = os.path.islink(target)  # noqa: PTH114  -- as above
            return "it is a link that leads back to itself" if is_loop else "it is a broken link"
        if os.path.commonpath([target, self._root]) != self._root:
            return "it is a link that points outside the source folder"
        return None

    def _refuse_folder(self, folder: str, error: OSError) -> None:
        shown = self._shown(folder)
        if isinstance(error, FileNotFoundError) and folder != self._root:
            self.skipped.append((shown, "it vanished while the folder was listed"))
        elif os.path.basename(folder) in _SYSTEM_FOLDERS:  # noqa: PTH119  -- as above
            self.skipped.append((shown, "it is a folder of the operating system"))
        else:
            self.refused.append((shown, f"the folder cannot be read ({error.strerror})"))

    def _path(self, path: str) -> str:
        return Path(path).relative_to(self._root).as_posix()

    def _shown(self, path: str) -> str:
        return printable(self._path(path))


def identify(folder: SourceListing, settings: Settings) -> "list[FileIdentity]":
    """Return the identity of each file in the folder, sorted by path.

    Raises:
        ConfigurationError: The user's file of tracks cannot be read.
        FileChangedError: A file was deleted after the folder was scanned.
        SourceError: A file cannot be read.
    """
    from apex_pipeline.sources import identify_files  # noqa: PLC0415  -- see above
    from apex_pipeline.sources.base import FoundFile  # noqa: PLC0415  -- see above

    return identify_files([FoundFile(file.path, file.size, file.read_head) for file in folder.files], settings)
