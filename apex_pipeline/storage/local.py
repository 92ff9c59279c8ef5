"""Contains the object store that keeps a lake in a local folder; see ``base.py`` for its guarantees.

An object is a file whose path is the key, so any program can read the lake. A write goes to a temporary file in
``.incoming/`` on the same file system, is synced to disk and then renamed: readers see the old object or the new one,
even after a power cut.
"""

import errno
import hashlib
import logging
import os
import secrets
import stat
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from apex_pipeline.errors import (
    ConfigurationError,
    FileChangedError,
    ObjectMissingError,
    StoreConfigError,
    StoreCorruptionError,
)
from apex_pipeline.progress import Progress
from apex_pipeline.storage.base import IncompleteUpload, Inspect, ObjectInfo, ObjectStore
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.file_hashing import BLOCK_BYTES, HashingReader, file_state_of
from apex_pipeline.storage.keys import INCOMING, UnsafeKeyError, check_key, check_prefix, is_legal_key
from apex_pipeline.storage.lake_lock import LOCK_NAME, LakeLock, advance_mtime
from apex_pipeline.storage.limits import too_large
from apex_pipeline.storage.local_files import (
    copy_content,
    create_folder,
    files_below,
    kept_open,
    open_regular,
    regular_status,
    sync_file,
    sync_folder,
)
from apex_pipeline.storage.os_errors import from_os_error, translating_os_errors
from apex_pipeline.storage.processes import is_alive, process_scope
from apex_pipeline.storage.request_stats import RequestStats

_LOG = logging.getLogger(__name__)

# A running write modifies its file continuously, and none takes a day.
_ABANDONED_AFTER_S = 24 * 3600
# Nobody edits the same small object again and again within microseconds.
_READ_ATTEMPTS = 3


class LocalStore(ObjectStore):
    """A lake in a local folder. Creating the instance does not access the disk.

    Args:
        root: The lake's folder; need not exist.
        digests: Cache of the digests of the objects.
    """

    def __init__(self, root: Path, digests: DigestCache) -> None:
        # Resolved once, so that a later chdir does not change the lake.
        self._root = root.resolve()
        self._digests = digests
        self._lock = LakeLock(self._root / INCOMING / LOCK_NAME)

    @property
    def uri(self) -> str:
        """The path of the lake's folder."""
        return str(self._root)

    def uri_of(self, key: str) -> str:
        """Return the path of the object's file."""
        return str(self._path_of(key))

    def prepare_for_writing(self) -> None:
        """Create the lake's folder if it does not exist, and remove the leftovers of interrupted writes.

        Raises:
            StorePermissionError: This user may not write there.
            StoreConfigError: The lake's path is a file.
        """
        incoming = self._root / INCOMING
        if self._root.exists() and not self._root.is_dir():
            raise StoreConfigError(
                f"The lake path {self._root} is a file, not a folder.", "Set APEX_LAKE_DIR to a folder."
            )
        with translating_os_errors(f"Preparing the lake {self._root}"):
            create_folder(incoming)
            for leftover in _unfinished_files(incoming):
                if _is_abandoned(leftover):
                    _LOG.info("Removing the leftover of an interrupted write: %s", leftover)
                    leftover.unlink(missing_ok=True)

    def check_access(self) -> None:
        """Check that the folder exists and is readable; :meth:`prepare_for_writing` checks that it is writable."""
        if not self._root.is_dir():
            raise StoreConfigError(
                f"There is no lake at {self._root}.",
                "Run `apex sync` to create one, or set APEX_LAKE_DIR to its folder.",
            )
        with translating_os_errors(f"Reading the lake {self._root}"):
            os.listdir(self._root)  # noqa: PTH208  -- iterdir() is lazy before 3.13 and would not access the folder

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects in key order, with their cached digests; missing digests are not computed."""
        # Files and folders interleave in key order ("a-b" is before "a/b"), so sort all paths together.
        for key, path in sorted(self._paths_below(prefix)):
            if not is_legal_key(key):
                _LOG.warning("Not listed because its name is not a valid key: %r", key)
            elif (status := _status_unless_link(path)) is not None:
                yield _describe(key, status, self._digests.get(path, file_state_of(status)))

    def list_unchecked(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects as the folders are read, without digests."""
        for key, path in self._paths_below(prefix):
            if (status := _status_unless_link(path)) is not None:
                yield _describe(key, status, None)

    def head(self, key: str) -> ObjectInfo | None:
        """Return the object's metadata; a digest that is not cached is computed, which reads the file."""
        path = self._path_of(key)
        try:
            with self._open_at(path, key) as file:
                status = os.fstat(file.fileno())
            digest = self._digests.sha256_of(path)
            was_replaced = file_state_of(path.stat()) != file_state_of(status)
        except (ObjectMissingError, FileNotFoundError):
            return None
        except FileChangedError:
            if path.exists():
                raise
            return None
        return self.head(key) if was_replaced else _describe(key, status, digest)

    def distrust(self, key: str) -> None:
        """Drop the cached digest; damage by a disk changes neither the size nor the times of a file."""
        self._digests.forget(self._path_of(key))

    def read_bytes(self, key: str) -> bytes:
        """Return the object's content; raise if it is damaged but the file state is unchanged."""
        path = self._path_of(key)
        with self._open_at(path, key) as file, translating_os_errors(f"Reading {key}"):
            content = file.read()
            self._require_undamaged(path, os.fstat(file.fileno()), content)
        return content

    def read_head(self, key: str, length: int) -> bytes:
        """Return the first bytes of the file."""
        with self._open(key) as file, translating_os_errors(f"Reading {key}"):
            return file.read(length)

    @contextmanager
    def open_as_file(self, key: str) -> Generator[Path]:
        """Provide the object's own file, for reading only; nothing is transferred, so nothing is verified."""
        with self._open(key):
            pass  # raises here if the file cannot be opened
        yield self._path_of(key)

    @contextmanager
    def open_stream(self, key: str, inspect: Inspect | None = None) -> Generator[BinaryIO]:
        """Open the object's file; nothing is transferred, so nothing is verified."""
        with self._open(key) as file:
            if inspect is None:
                yield file
                return
            with kept_open(file) as descriptor:
                inspect(_describe(key, os.fstat(descriptor), None))
                yield file
                inspect(_describe(key, os.fstat(descriptor), None))

    @contextmanager
    def open_seekable(self, key: str) -> Generator[BinaryIO]:
        """Open the object's file."""
        with self._open(key) as file:
            yield file

    def write_bytes(self, key: str, content: bytes) -> ObjectInfo:
        """Write the object; it is synced to disk when this returns."""

        def write(file: BinaryIO) -> str:
            file.write(content)
            return hashlib.sha256(content).hexdigest()

        return self._replace(key, write)

    def read_with_tag(self, key: str, limit: int | None = None) -> tuple[bytes, str] | None:
        """Return the content and the tag of the same open file."""
        for _ in range(_READ_ATTEMPTS):
            try:
                with self._open(key) as file, translating_os_errors(f"Reading {key}"):
                    before = os.fstat(file.fileno())
                    if limit is not None and before.st_size > limit:
                        raise too_large(self.uri_of(key), before.st_size, limit)
                    content = file.read(before.st_size + 1)
                    after = os.fstat(file.fileno())
            except ObjectMissingError:
                return None
            if len(content) == before.st_size and _tag(before) == _tag(after):
                self._require_undamaged(self._path_of(key), after, content)
                return content, _tag(after)
        raise _replaced(self.uri_of(key))

    def write_if(self, key: str, content: bytes, expected_tag: str | None) -> ObjectInfo | None:
        """Write the object under the lake's lock; it is synced to disk when this returns."""
        target = self._path_of(key)
        with self._unfinished(key) as incoming:
            with incoming.open("xb") as file:
                file.write(content)
                sync_file(file)
            with self._lock.hold() as lock:
                present = regular_status(target)
                if (None if present is None else _tag(present)) != expected_tag:
                    return None
                status = lock.advance_mtime(incoming, present)
                create_folder(target.parent)
                incoming.replace(target)
            sync_folder(target.parent)
        digest = hashlib.sha256(content).hexdigest()
        self._digests.put_trusted(target, file_state_of(status), digest)
        return _describe(key, status, digest)

    def delete_if(self, key: str, expected_tag: str) -> bool:
        """Compare and remove the object's file under the lake's lock."""
        path = self._path_of(key)
        with translating_os_errors(f"Deleting {key}"):
            if not path.is_file():  # also in a lake that does not exist, where no lock can be created
                return False
            with self._lock.hold():
                present = regular_status(path)
                if present is None or _tag(present) != expected_tag:
                    return False
                path.unlink()
            sync_folder(path.parent)
        return True

    def version_age_s(self, key: str, tag: str) -> float | None:
        """Compare the object's time with that of a new file: on a network share, both are by the server's clock."""
        path = self._path_of(key)
        if regular_status(path) is None:  # also in a lake that does not exist
            return None
        with self._unfinished(key) as incoming:
            incoming.touch()
            now = incoming.stat()
            present = regular_status(path)
        if present is None or _tag(present) != tag:
            return None
        return (now.st_mtime_ns - present.st_mtime_ns) / 1e9

    @property
    def has_conditional_writes(self) -> bool:
        """Always: writes are serialized by a lock."""
        return True

    def write_file(
        self, key: str, path: Path, *, sha256: str | None = None, progress: Progress | None = None
    ) -> ObjectInfo:
        """Copy the file while hashing it; the object is synced to disk when this returns."""

        def write(file: BinaryIO) -> str:
            opened_ns = time.time_ns()
            with HashingReader(path, sha256) as source:
                while block := source.read(BLOCK_BYTES):
                    file.write(block)
                    if progress is not None:
                        progress(len(block))
            self._digests.put(path, source.state, opened_ns, source.sha256, None)
            return source.sha256

        return self._replace(key, write)

    def copy(self, source: str, target: str, *, source_info: ObjectInfo | None = None) -> ObjectInfo:
        """Share the blocks of the object's file, or copy and verify them; synced to disk when this returns."""
        check_key(target)
        # A hard link would be cheaper, but an edit of one name in place would change both.
        with self._open(source) as file:
            before = os.fstat(file.fileno())
            if source_info is not None and _tag(before) != source_info.tag:
                raise _replaced(self.uri_of(source))
            recorded = self._digests.get(self._path_of(source), file_state_of(before))
            if recorded is None and source_info is not None:
                recorded = source_info.sha256

            def write(new: BinaryIO) -> str:
                digest = copy_content(file, new, recorded)
                if _tag(os.fstat(file.fileno())) != _tag(before):
                    raise _replaced(self.uri_of(source))
                if digest != (recorded or digest):
                    raise _damaged(self.uri_of(source))
                return digest

            return self._replace(target, write)

    def delete(self, key: str) -> None:
        """Remove the object's file; folders stay."""
        path = self._path_of(key)
        with translating_os_errors(f"Deleting {key}"):
            if path.is_file():  # a folder is not an object
                path.unlink(missing_ok=True)
                sync_folder(path.parent)

    def incomplete_uploads(self) -> "list[IncompleteUpload]":
        """Return the unfinished files of this lake."""
        incoming = self._root / INCOMING
        with translating_os_errors(f"Listing {incoming}"):
            found = sorted(_unfinished_files(incoming)) if incoming.is_dir() else []
            return [_describe_incomplete(path) for path in found if path.is_file()]

    def abort(self, upload: IncompleteUpload) -> None:
        """Remove the unfinished file."""
        path = self._path_below_incoming(upload.mark)
        with translating_os_errors(f"Removing {path}"):
            path.unlink(missing_ok=True)

    def presigned_url(self, key: str, expires_s: int) -> str:
        """Raise: only objects in a bucket have presigned URLs."""
        del expires_s
        raise ConfigurationError(
            f"{self.uri_of(key)} is a file on this machine, which has no URL to share.",
            "Share the file itself, or keep the lake in S3 (USE_S3_DATA=true).",
        )

    @property
    def request_stats(self) -> RequestStats:
        """All zero: a folder receives no requests."""
        return RequestStats()

    def _path_below_incoming(self, name: str) -> Path:
        if not name or Path(name).name != name:
            raise UnsafeKeyError(f"{name!r} is not an unfinished file.", "Pass one returned by incomplete_uploads().")
        return self._root / INCOMING / name

    def _replace(self, key: str, write: Callable[[BinaryIO], str]) -> ObjectInfo:
        """Atomically replace the object with the content that ``write`` writes; ``write`` returns its digest."""
        target = self._path_of(key)
        with self._unfinished(key) as incoming:
            with incoming.open("xb") as file:
                digest = write(file)
                sync_file(file)
            present = regular_status(target)
            status = advance_mtime(incoming, 0 if present is None else present.st_mtime_ns)
            create_folder(target.parent)
            incoming.replace(target)
            sync_folder(target.parent)
        self._digests.put_trusted(target, file_state_of(status), digest)
        return _describe(key, status, digest)

    @contextmanager
    def _unfinished(self, key: str) -> Generator[Path]:
        """Yield the path of a new file to become the object; removed at the end if it is still there."""
        with translating_os_errors(f"Writing {key} to {self._root}"):
            if self._path_of(key).is_dir():
                raise IsADirectoryError(errno.EISDIR, "there is a folder with this name")
            create_folder(self._root / INCOMING)
            incoming = self._root / INCOMING / f"{process_scope()}.{os.getpid()}.{secrets.token_hex(8)}"
            try:
                yield incoming
            finally:
                incoming.unlink(missing_ok=True)

    def _require_undamaged(self, path: Path, status: os.stat_result, content: bytes) -> None:
        recorded = self._digests.get(path, file_state_of(status))
        if recorded is not None and hashlib.sha256(content).hexdigest() != recorded:
            raise _damaged(path)

    def _open(self, key: str) -> AbstractContextManager[BinaryIO]:
        return self._open_at(self._path_of(key), key)

    @contextmanager
    def _open_at(self, path: Path, key: str) -> Generator[BinaryIO]:
        try:
            file = open_regular(path)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise ObjectMissingError(
                f"{key} is not in the lake {self._root}.", "Run `apex sync`, or check the spelling."
            ) from error
        except OSError as error:
            raise from_os_error(error, f"Reading {key} in {self._root}") from error
        with file:
            yield file

    def _paths_below(self, prefix: str) -> Iterator[tuple[str, Path]]:
        """Yield key and path of each entry whose key starts with ``prefix``."""
        check_prefix(prefix)
        folder = self._root / prefix[: prefix.rfind("/") + 1]
        with translating_os_errors(f"Listing {folder}"):
            for path in files_below(folder):
                key = path.relative_to(self._root).as_posix()
                if key.startswith(prefix) and not key.startswith(f"{INCOMING}/"):
                    yield key, path

    def _path_of(self, key: str) -> Path:
        path = self._root / check_key(key)
        try:
            target = path.resolve()
        except RuntimeError:  # a link that leads to itself: there is no file, and a write replaces the link
            target = path
        # A symbolic link in the lake must not lead outside.
        if not target.is_relative_to(self._root):
            raise UnsafeKeyError(f"The key {key!r} leads outside the lake {self._root}.", "Remove the symbolic link.")
        return path


def _status_unless_link(path: Path) -> os.stat_result | None:
    """Return the status of a file; ``None`` if it was removed since its folder was listed, or is something else."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _describe(key: str, status: os.stat_result, sha256: str | None) -> ObjectInfo:
    return ObjectInfo(
        key=key,
        size=status.st_size,
        modified_utc=datetime.fromtimestamp(status.st_mtime, UTC),
        tag=_tag(status),
        sha256=sha256,
    )


def _damaged(path: Path | str) -> StoreCorruptionError:
    return StoreCorruptionError(
        f"{path} is damaged: its content differs from what was written.", "Restore it from a backup or recreate it."
    )


def _replaced(path: Path | str) -> FileChangedError:
    return FileChangedError(f"{path} was changed or replaced meanwhile.", "Run it again to get the new content.")


def _tag(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}-{status.st_ino}"


def _describe_incomplete(path: Path) -> IncompleteUpload:
    status = path.stat()
    return IncompleteUpload(None, datetime.fromtimestamp(status.st_mtime, UTC), path.name, status.st_size)


def _unfinished_files(incoming: Path) -> Iterator[Path]:
    return (path for path in incoming.iterdir() if path.name != LOCK_NAME)


def _is_abandoned(incoming: Path) -> bool:
    """Return whether the process that wrote this unfinished file has ended."""
    try:
        age_s = time.time() - incoming.stat().st_mtime
    except FileNotFoundError:
        return False
    owner, _, pid = incoming.name.rpartition(".")[0].rpartition(".")
    # Processes on other machines and in other containers are not visible here, so their files count as abandoned once
    # they are old enough.
    has_owner_ended = owner == process_scope() and pid.isascii() and pid.isdigit() and not is_alive(int(pid))
    return age_s > _ABANDONED_AFTER_S or has_owner_ended
