"""One object on its way into a bucket, in one request or in parts.

What is stored under a digest has that digest: what is in memory is hashed there, and a file that is sent in parts is
read through a reader that refuses its end if the content is not the one announced. A file edited at any moment
therefore leaves the object as it was. Not here: which files are sent (``storage/copy.py``).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
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
from apex_pipeline.storage.s3.errors import error_code
from apex_pipeline.storage.s3.upload.checksums import REFUSALS_OF_CHECKSUMS, ChecksumMode, RequestBody, to_metadata
from apex_pipeline.storage.s3.upload.journal import UploadJournal
from apex_pipeline.storage.s3.upload.limits import PART_BYTES
from apex_pipeline.storage.s3.upload.multipart import LargeFile, MultipartUploader
from apex_pipeline.storage.s3.upload.requests import Reply, UploadRequests, answered_utc, tag_of


@dataclass(frozen=True)
class Target:
    """Where an object goes, and as what.

    Attributes:
        key: Full key in the bucket.
        content_type: Its MIME type.
        acl: Canned access list; ``None`` sends none, which every bucket accepts.
    """

    key: str
    content_type: str
    acl: str | None = None

    def options(self, digest: str, sums: BlockChecksums) -> dict[str, Any]:
        """Return what is sent with an object of this content, as boto3 calls it."""
        options: dict[str, Any] = {"ContentType": self.content_type, "Metadata": to_metadata(digest, sums)}
        return options if self.acl is None else options | {"ACL": self.acl}


@dataclass(frozen=True)
class UploadResult:
    """What is known of an object the store has now.

    Attributes:
        tag: Its version mark.
        written_utc: The store's clock when it answered.
        sha256: Digest of the content.
        size: Bytes.
    """

    tag: str
    written_utc: datetime
    sha256: str
    size: int


class Uploader:
    """Sends objects into one bucket; may be shared by threads.

    Args:
        connection: How to reach the bucket.
        fingerprints: Digests and sums of local files.
        journal: Where uploads in parts are noted.
        sleep: Waits between two tries.
    """

    def __init__(
        self,
        connection: S3Connection,
        fingerprints: DigestCache,
        journal: UploadJournal,
        sleep: Callable[[float], None],
    ) -> None:
        self._connection = connection
        self._fingerprints = fingerprints
        self._requests = UploadRequests(connection, sleep)
        self._parts = MultipartUploader(connection, self._requests, journal)

    def send(self, target: Target, content: bytes) -> UploadResult:
        """Send an object that is in memory, in one request.

        Raises:
            StoreError: The store refuses it.
            StoreUnavailableError: It could not be sent; the object is as it was.
        """
        return self._put(target, content, sha256(content).hexdigest(), sums_of(content))

    def send_file(self, target: Target, path: Path, expected: str | None, progress: Progress | None) -> UploadResult:
        """Send a file; one of more than 8 MiB in parts.

        Args:
            target: Where to.
            path: The file.
            expected: Digest its content must have; ``None`` takes any that holds still.
            progress: Told about bytes when the store has them.

        Raises:
            VanishedFileError: The file is gone, or is not what was expected; the object is as it was.
            SourceError: It cannot be read.
            StoreError: The store refuses it.
            StoreUnavailableError: It could not be sent now; what the store has of it is not sent again next time.
        """
        with HashingReader(path, expected) as source:
            if source.state.size <= PART_BYTES:
                with self._connection.upload_slots:
                    receipt = self._send_small(target, source, path)
                if progress is not None:
                    progress(receipt.size)
                return receipt
        content = self._fingerprints.digest_of(path)
        if expected not in {None, content.sha256}:
            raise FileChangedError(f"{path} changed since it was hashed.", "The next run takes the new content.")
        file = LargeFile(path, content, target.key, target.options(content.sha256, content.sums))
        reply = self._with_checksum_mode(partial(self._parts.send, file, progress))
        return UploadResult(tag_of(reply), answered_utc(reply), content.sha256, content.size)

    def _send_small(self, target: Target, source: HashingReader, path: Path) -> UploadResult:
        opened_ns, content = time.time_ns(), source.read()
        sums = sums_of(content)
        self._fingerprints.put(path, source.state, opened_ns, source.sha256, sums)
        return self._put(target, content, source.sha256, sums)

    def abort_abandoned(self) -> None:
        """Abort the uploads in parts noted on this machine that nobody will go on with."""
        self._parts.abort_abandoned()

    def _put(self, target: Target, content: bytes, digest: str, sums: BlockChecksums) -> UploadResult:
        put = partial(self._requests.put, target.key, RequestBody(content, sums.whole), target.options(digest, sums))
        reply = self._with_checksum_mode(put)
        return UploadResult(tag_of(reply), answered_utc(reply), digest, len(content))

    def _with_checksum_mode(self, send: Callable[[], Reply]) -> Reply:
        """Send once more as old stores want it, if the store turns out to be one."""
        try:
            return send()
        except ApexError as error:
            is_refused = error_code(error) in REFUSALS_OF_CHECKSUMS
            if not is_refused or not self._connection.set_checksum_mode(ChecksumMode.CONTENT_MD5):
                raise
        return send()
