"""Multipart uploads that any later process on this machine can resume.

An upload is recorded in the journal (journal.py) before it starts. The next upload of the same content to the same key
lists the parts in the store, compares each with the file, and sends only the missing ones. The object becomes visible
only after all parts have arrived and the content read is the content that was hashed: the file has not changed since,
and the combined CRC32 of its parts is that of the file. A second SHA-256 would cost 0.55 s of CPU per GB.

Why not s3transfer or obstore: neither resumes an upload from the parts that the store lists, nor compares the checksums
that the store returns. This code is as fast as boto3.
"""

import logging
import zlib
from collections.abc import Mapping
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from apex_pipeline.errors import ApexError, FileChangedError, StoreInterruptedError
from apex_pipeline.progress import Progress
from apex_pipeline.storage.block_checksums import combine_crc32
from apex_pipeline.storage.digest_cache import FileDigest
from apex_pipeline.storage.file_hashing import StableReader
from apex_pipeline.storage.s3.client import S3Connection
from apex_pipeline.storage.s3.errors import error_code
from apex_pipeline.storage.s3.upload.checksums import (
    ChecksumMode,
    ChecksumsRefusedError,
    RequestBody,
    encode_crc32,
    recorded_digest,
)
from apex_pipeline.storage.s3.upload.journal import JournalEntry, LockedEntry, ObjectAddress, UploadJournal
from apex_pipeline.storage.s3.upload.limits import part_bytes_of
from apex_pipeline.storage.s3.upload.requests import Reply, UploadRequests

_LOG = logging.getLogger(__name__)

# Replies of stores that accept the checksums of parts, but do not know one of the entire object: they find no parts
# with these checksums, compute another kind of checksum, or do not understand the request.
_REFUSALS_TO_COMPLETE = frozenset(
    {"InvalidPart", "InvalidRequest", "InvalidArgument", "MalformedXML", "BadDigest", "NotImplemented"}
)


@dataclass(frozen=True)
class LargeFile:
    """A file to be uploaded in parts.

    Attributes:
        path: The file.
        content: Expected size, digest and checksums of its content.
        key: Full key in the bucket.
        options: Content type, metadata and ACL as arguments for boto3.
        condition: ``IfMatch`` or ``IfNoneMatch`` for completing the upload, as for boto3; empty for none.
    """

    path: Path
    content: FileDigest
    key: str
    options: dict[str, Any]
    condition: Mapping[str, str] = field(default_factory=dict[str, str])


class MultipartUploader:
    """Uploads large files to one bucket. Safe to share between threads.

    Args:
        connection: How to reach the bucket.
        requests: Sends the requests.
        journal: Records the uploads.
    """

    def __init__(self, connection: S3Connection, requests: UploadRequests, journal: UploadJournal) -> None:
        self._connection = connection
        self._requests = requests
        self._journal = journal

    def send(self, file: LargeFile, progress: Progress | None) -> Reply:
        """Upload a file, resuming an interrupted upload of it, and return the store's reply.

        Raises:
            FileChangedError: The file is gone or its content is not as expected; the object is unchanged.
            StoreError: The store refuses it.
            StoreUnavailableError: It cannot be sent now; the next attempt resumes from the parts in the store.
        """
        address = ObjectAddress(self._connection.error_context.endpoint, self._connection.bucket, file.key)
        with self._journal.lock(address) as locked:
            entry, stored = self._resume(locked, file) or (self._start(locked, address, file), {})
            try:
                expected_crc32 = file.content.sums.whole
                sender = _PartSender(self._connection, self._requests, entry, stored, expected_crc32, progress)
                reply = self._complete(entry, sender.send(file.path), file)
            except ApexError as error:
                # The upload is kept if the next run can resume it, which is impossible after the file has changed.
                if error.is_permanent or isinstance(error, FileChangedError):
                    self._abort(entry, locked)
                raise
            locked.remove()
            return reply

    def abort_abandoned(self) -> None:
        """Abort the uploads in this machine's journal that cannot be resumed."""
        connection = self._connection
        for entry, locked in self._journal.abandoned(connection.error_context.endpoint, connection.bucket):
            _LOG.info("Aborting the abandoned upload of %s from %s.", entry.place.key, entry.path)
            self._abort(entry, locked)

    def _resume(self, locked: LockedEntry, file: LargeFile) -> tuple[JournalEntry, Mapping[int, Reply]] | None:
        """Return the journal entry and the parts in the store, or ``None`` if there is no upload of this content."""
        entry = locked.read()
        if entry is None:
            return None
        if entry.sha256 != file.content.sha256 or entry.upload_id is None:
            self._abort(entry, locked)
            return None
        stored = self._requests.list_parts(file.key, entry.upload_id)
        if stored is None:
            locked.remove()
            return None
        _LOG.info("Resuming the upload of %s: the store has %d parts.", file.key, len(stored))
        return entry, stored

    def _start(self, locked: LockedEntry, address: ObjectAddress, file: LargeFile) -> JournalEntry:
        with StableReader(file.path) as source:
            state = source.state
        entry = JournalEntry(
            address,
            path=str(file.path.absolute()),
            mark=state,
            sha256=file.content.sha256,
            part_bytes=part_bytes_of(file.content.size),
            dialect=self._connection.checksum_mode.value,
            upload_id=None,
            begun_s=self._journal.now_s(),
        )
        locked.write(entry)
        upload_id = self._requests.start_upload(file.key, file.options, ChecksumMode(entry.dialect))
        entry = replace(entry, upload_id=upload_id)
        locked.write(entry)
        return entry

    def _complete(self, entry: JournalEntry, parts: list[dict[str, Any]], file: LargeFile) -> Reply:
        checksum: dict[str, Any] = {}
        if entry.dialect == ChecksumMode.CRC32.value:
            checksum = {"ChecksumCRC32": encode_crc32(file.content.sums.whole), "ChecksumType": "FULL_OBJECT"}
        try:
            return self._requests.complete(file.key, str(entry.upload_id), parts, {**checksum, **file.condition})
        except ApexError as error:
            code = error_code(error)
            if checksum and code in _REFUSALS_TO_COMPLETE:
                raise ChecksumsRefusedError(error.problem, error.hint) from error
            # If the previous reply was lost, the upload is already complete: look for the object instead.
            if code != "NoSuchUpload":
                raise
            reply = self._requests.head(file.key)
            if recorded_digest(reply["Metadata"]) == file.content.sha256:
                return reply
            raise StoreInterruptedError(f"Another client aborted the upload of {file.key}.", "Run it again.") from error

    def _abort(self, entry: JournalEntry, locked: LockedEntry) -> None:
        """Abort an upload and remove its entry; if that fails now, the entry stays for the next attempt."""
        with suppress(ApexError):
            # Without an ID, the upload may have been started and the reply lost.
            upload_ids = [entry.upload_id] if entry.upload_id else self._requests.list_uploads(entry.place.key)
            for upload_id in upload_ids:
                self._requests.abort(entry.place.key, upload_id)
            locked.remove()


class _PartSender:
    """Sends the parts of one file that the store does not have, several at a time."""

    def __init__(
        self,
        connection: S3Connection,
        requests: UploadRequests,
        entry: JournalEntry,
        stored: Mapping[int, Reply],
        expected_crc32: int,
        progress: Progress | None,
    ) -> None:
        self._connection = connection
        self._requests = requests
        self._entry = entry
        self._stored = stored
        self._expected_crc32 = expected_crc32
        self._progress = progress
        self._crc32 = 0
        self._errors: list[BaseException] = []

    def send(self, path: Path) -> list[dict[str, Any]]:
        """Return the parts list that completes the upload; no request is pending when this returns or raises."""
        pending: list[Future[dict[str, Any]]] = []
        try:
            with StableReader(path) as source:
                while not self._errors and (part := self._send_next(source, len(pending) + 1)):
                    pending.append(part)
        except BaseException as error:
            self._errors.append(error)
            raise
        finally:
            wait(pending)
        if self._errors:
            raise self._errors[0]
        if self._crc32 != self._expected_crc32:
            raise source.changed()
        return [part.result() for part in pending]

    def _send_next(self, source: StableReader, number: int) -> "Future[dict[str, Any]] | None":
        """Read the next part and submit it; block while the limit of parts in memory is reached."""
        slots = self._connection.upload_slots
        slots.acquire()
        part: Future[dict[str, Any]] | None = None
        try:
            if content := source.read(self._entry.part_bytes):
                body = RequestBody(content, zlib.crc32(content))
                self._crc32 = combine_crc32(self._crc32, body.sum, len(content))
                part = self._connection.upload_pool.submit(self._send, number, body)
                part.add_done_callback(lambda _: slots.release())
            return part
        finally:
            if part is None:
                slots.release()

    def _send(self, number: int, body: RequestBody) -> dict[str, Any]:
        if self._errors:  # the upload has failed: skip this part
            return {}
        try:
            stored = self._stored.get(number)
            if stored is None or not body.matches_part(stored):
                entry = self._entry
                stored = self._requests.upload_part(
                    entry.place.key, str(entry.upload_id), number, body, ChecksumMode(entry.dialect)
                )
            if self._progress is not None:
                self._progress(len(body.content))
        except BaseException as error:
            self._errors.append(error)
            raise
        part = {"PartNumber": number, "ETag": stored["ETag"]}
        return part | ({"ChecksumCRC32": body.crc32} if self._entry.dialect == ChecksumMode.CRC32.value else {})
