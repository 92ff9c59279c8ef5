"""A bucket in which objects are written once, and never replaced: for files that others deliver under chosen names.

Contains the two operations that a delivery needs beyond the contract of a lake: an object with the caller's metadata,
and a write that fails if the key is taken. Bytes, checksums and resumption are those of ``upload/``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from apex_pipeline.errors import FileChangedError, StoreError
from apex_pipeline.progress import Progress
from apex_pipeline.storage.base import ObjectInfo
from apex_pipeline.storage.s3.errors import error_code
from apex_pipeline.storage.s3.store import S3Store
from apex_pipeline.storage.s3.upload.uploader import Target

if TYPE_CHECKING:  # stubs, installed for development only
    from types_boto3_s3 import S3Client

_IF_ABSENT = {"IfNoneMatch": "*"}
# The key is taken. AWS replies with the conflict if another client is writing the object at this moment.
_TAKEN = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict"})


@dataclass(frozen=True)
class StoredObject:
    """An object with its metadata.

    Attributes:
        info: Key, size, time, ETag and digest.
        metadata: The metadata of the object, by name in lower case.
    """

    info: ObjectInfo
    metadata: Mapping[str, str]


class WriteOnceStore(S3Store):
    """A bucket whose objects are written once. Arguments as for :class:`S3Store`."""

    @property
    def client(self) -> "S3Client":
        """boto3's client, created at the first use.

        Raises:
            StoreError: The settings or the credentials cannot be used.
        """
        return self._connection.client

    def check_bucket(self) -> None:
        """Check by HEAD that the bucket exists and these credentials may use it.

        Raises:
            StoreError: They may not, or it does not. The reply to HEAD has no body; a listing says why.
            StoreUnavailableError: The store cannot be reached at the moment.
        """
        try:
            with self._errors("Looking up"):
                self.client.head_bucket(Bucket=self._bucket)
        except StoreError:
            self._probe()
            raise

    def find(self, key: str) -> StoredObject | None:
        """Return an object with its metadata in one request, or ``None`` if it does not exist."""
        found = self._find(key)
        return None if found is None else StoredObject(found.info, found.metadata)

    def keys_after(self, prefix: str, start: str, most: int) -> list[str]:
        """Return the first keys with this prefix that come after ``start``, at most ``most``, in one request.

        Args:
            prefix: Prefix of the keys.
            start: Any text; it need not be a key.
            most: At most 1,000, S3's limit.
        """
        with self._errors("Listing", prefix):
            reply = self.client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, StartAfter=start, MaxKeys=most)
        return [entry["Key"] for entry in reply.get("Contents", []) if "Key" in entry]

    def write_once(
        self,
        key: str,
        source: bytes | Path,
        metadata: Mapping[str, str],
        *,
        sha256: str | None = None,
        progress: Progress | None = None,
    ) -> ObjectInfo | None:
        """Write an object unless the key is taken.

        A store without conditional writes (see :attr:`has_conditional_writes`) is not asked: there, the caller looks
        the key up before, under a lock.

        Args:
            key: Key of the object.
            source: Its content, or a file; a file over 8 MiB is sent in parts, and resumed after an interruption.
            metadata: Metadata of the object, in ASCII.
            sha256: Required digest of the file.
            progress: Called with the number of bytes that the store has acknowledged.

        Returns:
            The object's description; ``None`` if the key is taken. After a lost reply, ``None`` may also mean that
            this very call has written the object.

        Raises:
            FileChangedError: The file is gone, or its content is not as expected; nothing was written.
            StoreError: The store refuses it.
            StoreUnavailableError: It cannot be sent now; the next call resumes.
        """
        target = replace(self._target(key), metadata=metadata)
        condition = _IF_ABSENT if self.has_conditional_writes else None
        try:
            return self._write(key, target, source, condition, sha256, progress)
        except FileChangedError as error:  # also the translation of a condition that does not hold
            if error_code(error) not in _TAKEN:
                raise
            return None

    def _write(
        self,
        key: str,
        target: Target,
        source: bytes | Path,
        condition: Mapping[str, str] | None,
        sha256: str | None,
        progress: Progress | None,
    ) -> ObjectInfo:
        if isinstance(source, bytes):
            result = self._uploader.send(target, source, condition)
        else:
            result = self._uploader.send_file(target, source, sha256, progress, condition)
        return ObjectInfo(key, result.size, result.written_utc, result.tag, result.sha256)
