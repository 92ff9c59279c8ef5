"""Upload one object, in one request or in parts.

The recorded digest always matches the stored content: content in memory is hashed directly, and a file sent in parts is
completed only if its content is the one that was hashed. A file edited during its upload therefore leaves the object
unchanged. See storage/copy.py for which files are sent.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from apex_pipeline.errors import ApexError, FileChangedError
from apex_pipeline.progress import Progress
from apex_pipeline.storage.block_checksums import BlockChecksums, sums_of
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.file_hashing import HashingReader
from apex_pipeline.storage.s3.client import S3Connection
from apex_pipeline.storage.s3.errors import is_refusal_of_checksums, may_be_refusal_of_checksums
from apex_pipeline.storage.s3.upload.checksums import (
    ChecksumMode,
    ChecksumsRefusedError,
    RequestBody,
    to_metadata,
    write_id_metadata,
)
from apex_pipeline.storage.s3.upload.journal import UploadJournal
from apex_pipeline.storage.s3.upload.limits import PART_BYTES
from apex_pipeline.storage.s3.upload.multipart import LargeFile, MultipartUploader
from apex_pipeline.storage.s3.upload.requests import Reply, UploadRequests, etag_of, reply_time_utc


@dataclass(frozen=True)
class Target:
    """Key and settings of an object to be written.

    Attributes:
        key: Full key in the bucket.
        content_type: Its MIME type.
        acl: Canned ACL; ``None`` sends none, which every bucket accepts.
        metadata: The caller's own metadata, in ASCII, stored with digest and checksums.
    """

    key: str
    content_type: str
    acl: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])

    def options(self, digest: str, sums: BlockChecksums) -> dict[str, Any]:
        """Return content type, metadata and ACL for an object with this content, as arguments for boto3."""
        metadata = {**self.metadata, **to_metadata(digest, sums)}
        options: dict[str, Any] = {"ContentType": self.content_type, "Metadata": metadata}
        return options if self.acl is None else options | {"ACL": self.acl}


@dataclass(frozen=True)
class UploadResult:
    """A written object.

    Attributes:
        tag: Its ETag.
        written_utc: Time of the store's reply.
        sha256: Digest of the content.
        size: Size in bytes.
    """

    tag: str
    written_utc: datetime
    sha256: str
    size: int


class Uploader:
    """Uploads objects to one bucket. Safe to share between threads.

    Args:
        connection: How to reach the bucket.
        digests: Cache of the digests and checksums of local files.
        journal: Records multipart uploads.
        sleep: Waits between attempts.
    """

    def __init__(
        self,
        connection: S3Connection,
        digests: DigestCache,
        journal: UploadJournal,
        sleep: Callable[[float], None],
    ) -> None:
        self._connection = connection
        self._digests = digests
        self._requests = UploadRequests(connection, sleep)
        self._parts = MultipartUploader(connection, self._requests, journal)

    def send(self, target: Target, content: bytes, condition: Mapping[str, str] | None = None) -> UploadResult:
        """Upload content from memory in one request.

        Args:
            target: The object to write.
            content: Its content.
            condition: ``IfMatch`` or ``IfNoneMatch``, as for boto3; ``None`` writes in any case.

        Raises:
            FileChangedError: The condition does not hold.
            StoreError: The store refuses it.
            StoreUnavailableError: It cannot be sent now; the object is unchanged.
        """
        return self._put(target, content, sha256(content).hexdigest(), sums_of(content), condition)

    def send_if(self, target: Target, content: bytes, write_id: str, condition: Mapping[str, str]) -> UploadResult:
        """Upload content from memory in one request that the store refuses unless the condition holds.

        The checksum mode must be known: :meth:`send` tries it out, but here a refusal is the caller's to interpret.

        Args:
            target: The object to write.
            content: Its content.
            write_id: Recorded in the metadata, so that the caller recognizes its own write after a lost reply.
            condition: ``IfMatch`` or ``IfNoneMatch``, as for boto3.

        Raises:
            FileChangedError: The condition does not hold.
            ObjectMissingError: As above, on AWS: the object to be replaced does not exist.
            StoreError: The store refuses it.
            StoreUnavailableError: It cannot be sent now; whether it was written is unknown.
        """
        digest, sums = sha256(content).hexdigest(), sums_of(content)
        options: dict[str, Any] = {**target.options(digest, sums), **condition}
        options["Metadata"] |= write_id_metadata(write_id)
        reply = self._requests.put(target.key, RequestBody(content, sums.whole), options)
        return UploadResult(etag_of(reply), reply_time_utc(reply), digest, len(content))

    def send_file(
        self,
        target: Target,
        path: Path,
        expected: str | None,
        progress: Progress | None,
        condition: Mapping[str, str] | None = None,
    ) -> UploadResult:
        """Upload a file; in parts if it is larger than 8 MiB.

        Args:
            target: The object to write.
            path: The file.
            expected: Required SHA-256 of its content; ``None`` accepts any content that does not change while read.
            progress: Called with the number of bytes that the store has acknowledged.
            condition: As for :meth:`send`; compared when the last part has arrived.

        Raises:
            FileChangedError: The file is gone or its content is not as expected, or the condition does not hold; the
                object is unchanged.
            SourceError: The file cannot be read.
            StoreError: The store refuses it.
            StoreUnavailableError: It cannot be sent now; the next attempt resumes from the parts in the store.
        """
        with HashingReader(path, expected) as source:
            if source.state.size <= PART_BYTES:
                with self._connection.upload_slots:
                    result = self._send_small(target, source, path, condition)
                if progress is not None:
                    progress(result.size)
                return result
        content = self._digests.digest_of(path)
        if expected not in {None, content.sha256}:
            raise FileChangedError(f"{path} changed since it was hashed.", "The next run will upload the new content.")
        file = LargeFile(path, content, target.key, target.options(content.sha256, content.sums), condition or {})
        reply = self._with_checksum_mode(partial(self._parts.send, file, progress))
        return UploadResult(etag_of(reply), reply_time_utc(reply), content.sha256, content.size)

    def _send_small(
        self, target: Target, source: HashingReader, path: Path, condition: Mapping[str, str] | None
    ) -> UploadResult:
        opened_ns, content = time.time_ns(), source.read()
        sums = sums_of(content)
        self._digests.put(path, source.state, opened_ns, source.sha256, sums)
        return self._put(target, content, source.sha256, sums, condition)

    def abort_abandoned(self) -> None:
        """Abort the multipart uploads in this machine's journal that cannot be resumed."""
        self._parts.abort_abandoned()

    def _put(
        self,
        target: Target,
        content: bytes,
        digest: str,
        sums: BlockChecksums,
        condition: Mapping[str, str] | None = None,
    ) -> UploadResult:
        options = {**target.options(digest, sums), **(condition or {})}
        put = partial(self._requests.put, target.key, RequestBody(content, sums.whole), options)
        reply = self._with_checksum_mode(put)
        return UploadResult(etag_of(reply), reply_time_utc(reply), digest, len(content))

    def _with_checksum_mode(self, send: Callable[[], Reply]) -> Reply:
        """Send; if the store refuses CRC32 checksums, send again with Content-MD5.

        There are as many codes for it as stores, so any refusal may be one until the store has confirmed a CRC32. If it
        refuses Content-MD5 as well, it was not because of the checksum.
        """
        connection = self._connection
        is_crc32 = connection.checksum_mode is ChecksumMode.CRC32  # another thread may be switching it
        try:
            return send()
        except ChecksumsRefusedError:  # of an upload that may have been started by an earlier process
            connection.set_checksum_mode(ChecksumMode.CONTENT_MD5)
            return send()
        except ApexError as error:
            if not is_crc32 or not self._may_refuse_checksums(error):
                raise
            connection.try_checksum_mode(ChecksumMode.CONTENT_MD5)
            try:
                reply = send()
            except ApexError:
                connection.try_checksum_mode(ChecksumMode.CRC32)
                raise error from None
        connection.set_checksum_mode(ChecksumMode.CONTENT_MD5)
        return reply

    def _may_refuse_checksums(self, error: ApexError) -> bool:
        return is_refusal_of_checksums(error) or (
            not self._connection.has_confirmed_crc32 and may_be_refusal_of_checksums(error)
        )
