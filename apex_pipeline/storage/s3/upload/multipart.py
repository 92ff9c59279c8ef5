"""An upload in parts that any later process can go on with.

Before it begins it is noted on this machine (``journal.py``). Whoever sends the same content to the same key afterwards
asks the store which parts it has, compares each with the bytes at hand, and sends the rest. Nothing is visible before
the last part is there and what was read is found to be what was announced: the file has not been touched since it was
hashed, and the CRC32 of its parts, joined, is that of the whole. A second SHA-256 would cost 0.55 s of CPU per GB.

Why not s3transfer or obstore: neither resumes an upload from the parts that the store lists, nor compares the checksums
that the store returns. In speed the code here is level with boto3.
"""

import logging
import zlib
from collections.abc import Mapping
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from apex_pipeline.errors import ApexError, FileChangedError, StoreInterruptedError
from apex_pipeline.progress import Progress
from apex_pipeline.storage.block_checksums import combine_crc32
from apex_pipeline.storage.digest_cache import FileDigest
from apex_pipeline.storage.file_hashing import StableReader
from apex_pipeline.storage.s3.client import S3Connection
from apex_pipeline.storage.s3.errors import error_code
from apex_pipeline.storage.s3.upload.checksums import ChecksumMode, RequestBody, encode_crc32, recorded_digest
from apex_pipeline.storage.s3.upload.journal import JournalEntry, LockedEntry, ObjectAddress, UploadJournal
from apex_pipeline.storage.s3.upload.limits import part_bytes_of
from apex_pipeline.storage.s3.upload.requests import Reply, UploadRequests

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class LargeFile:
    """What is to be sent.

    Attributes:
        path: The file.
        content: What its content must be.
        key: Full key in the bucket.
        options: Type, metadata and access list, as boto3 calls them.
    """

    path: Path
    content: FileDigest
    key: str
    options: dict[str, Any]


class MultipartUploader:
    """Sends large files into one bucket; may be shared by threads.

    Args:
        connection: How to reach the bucket.
        requests: Sends to it.
        journal: Where uploads are noted.
    """

    def __init__(self, connection: S3Connection, requests: UploadRequests, journal: UploadJournal) -> None:
        self._connection = connection
        self._requests = requests
        self._journal = journal

    def send(self, file: LargeFile, progress: Progress | None) -> Reply:
        """Send a file, going on with what an earlier process sent of it; returns what the store said of the object.

        Raises:
            VanishedFileError: The file is gone, or is not what was announced; the object is as it was.
            StoreError: The store refuses it.
            StoreUnavailableError: It could not be sent now; what the store has of it is not sent again next time.
        """
        place = ObjectAddress(self._connection.error_context.endpoint, self._connection.bucket, file.key)
        with self._journal.hold(place) as held:
            note, stored = self._resume(held, file) or (self._begin(held, place, file), {})
            try:
                whole = file.content.sums.whole
                parts = _Parts(self._connection, self._requests, note, stored, whole, progress).send(file.path)
                reply = self._complete(note, parts, file)
            except ApexError as error:
                # What may go on next time is kept: a file that changed meanwhile is no such case.
                if error.is_permanent or isinstance(error, FileChangedError):
                    self._abort(note, held)
                raise
            held.remove()
            return reply

    def abort_abandoned(self) -> None:
        """Abort the uploads noted on this machine that nobody will go on with."""
        connection = self._connection
        for note, held in self._journal.abandoned(connection.error_context.endpoint, connection.bucket):
            _LOG.info("Aborting an upload of %s: %s is not the file any more it began with.", note.place.key, note.path)
            self._abort(note, held)

    def _resume(self, held: LockedEntry, file: LargeFile) -> tuple[JournalEntry, Mapping[int, Reply]] | None:
        """Return the noted upload and the parts the store has of it, if it is one of this content."""
        note = held.read()
        if note is None:
            return None
        if note.sha256 != file.content.sha256 or note.upload_id is None:
            self._abort(note, held)
            return None
        stored = self._requests.parts(file.key, note.upload_id)
        if stored is None:
            held.remove()
            return None
        _LOG.info("Going on with the upload of %s: the store has %d parts of it.", file.key, len(stored))
        return note, stored

    def _begin(self, held: LockedEntry, place: ObjectAddress, file: LargeFile) -> JournalEntry:
        with StableReader(file.path) as source:
            mark = source.state
        note = JournalEntry(
            place,
            path=str(file.path.absolute()),
            mark=mark,
            sha256=file.content.sha256,
            part_bytes=part_bytes_of(file.content.size),
            dialect=self._connection.checksum_mode.value,
            upload_id=None,
            begun_s=self._journal.now_s(),
        )
        held.write(note)
        note = replace(note, upload_id=self._requests.begin(file.key, file.options, ChecksumMode(note.dialect)))
        held.write(note)
        return note

    def _complete(self, note: JournalEntry, parts: list[dict[str, Any]], file: LargeFile) -> Reply:
        claims: dict[str, Any] = {}
        if note.dialect == ChecksumMode.CRC32.value:
            claims = {"ChecksumCRC32": encode_crc32(file.content.sums.whole), "ChecksumType": "FULL_OBJECT"}
        try:
            return self._requests.complete(file.key, str(note.upload_id), parts, claims)
        except ApexError as error:
            # The answer to the request before may have been lost: then there is no such upload, but the object.
            if error_code(error) != "NoSuchUpload":
                raise
            facts = self._requests.facts(file.key)
            if recorded_digest(facts["Metadata"]) == file.content.sha256:
                return facts
            raise StoreInterruptedError(f"Somebody else aborted the upload of {file.key}.", "Run it again.") from error

    def _abort(self, note: JournalEntry, held: LockedEntry) -> None:
        """Abort an upload and strike out its note; if that cannot be done now, the note stays for another time."""
        with suppress(ApexError):
            # Without a name it was begun, perhaps, without our hearing the answer.
            names = [note.upload_id] if note.upload_id else self._requests.uploads_to(note.place.key)
            for name in names:
                self._requests.abort(note.place.key, name)
            held.remove()


class _Parts:
    """Sends the parts of one file that the store has not, several at a time."""

    def __init__(
        self,
        connection: S3Connection,
        requests: UploadRequests,
        note: JournalEntry,
        stored: Mapping[int, Reply],
        announced: int,
        progress: Progress | None,
    ) -> None:
        self._connection = connection
        self._requests = requests
        self._note = note
        self._stored = stored
        self._announced = announced
        self._progress = progress
        self._sum = 0
        self._errors: list[BaseException] = []

    def send(self, path: Path) -> list[dict[str, Any]]:
        """Return what completes the upload; when this ends, with an error too, nothing is on its way any more."""
        pending: list[Future[dict[str, Any]]] = []
        try:
            with StableReader(path) as source:
                while not self._errors and (part := self._next(source, len(pending) + 1)):
                    pending.append(part)
        except BaseException as error:
            self._errors.append(error)
            raise
        finally:
            wait(pending)
        if self._errors:
            raise self._errors[0]
        if self._sum != self._announced:
            raise source.changed()
        return [part.result() for part in pending]

    def _next(self, source: StableReader, number: int) -> "Future[dict[str, Any]] | None":
        """Read the next part and have it sent; waits while as much is in memory as may be."""
        slots = self._connection.upload_slots
        slots.acquire()
        part: Future[dict[str, Any]] | None = None
        try:
            if content := source.read(self._note.part_bytes):
                body = RequestBody(content, zlib.crc32(content))
                self._sum = combine_crc32(self._sum, body.sum, len(content))
                part = self._connection.upload_pool.submit(self._send, number, body)
                part.add_done_callback(lambda _: slots.release())
            return part
        finally:
            if part is None:
                slots.release()

    def _send(self, number: int, body: RequestBody) -> dict[str, Any]:
        if self._errors:  # the first one is told; this part need not be sent any more
            return {}
        try:
            stored = self._stored.get(number)
            if stored is None or not body.matches_part(stored):
                note = self._note
                stored = self._requests.part(
                    note.place.key, str(note.upload_id), number, body, ChecksumMode(note.dialect)
                )
            if self._progress is not None:
                self._progress(len(body.content))
        except BaseException as error:
            self._errors.append(error)
            raise
        part = {"PartNumber": number, "ETag": stored["ETag"]}
        return part | ({"ChecksumCRC32": body.crc32} if self._note.dialect == ChecksumMode.CRC32.value else {})
