"""The lake in an S3 bucket, of AWS or compatible.

Here belongs how a bucket keeps the promises of ``contract.py``. A PUT and a completed multipart upload are whole or
nothing by themselves. Not here: how the client is set up (``s3_client.py``), what errors mean (``s3_errors.py``).

What is stored under a digest has that digest: uploads read the file once, front to back, through a reader that hashes
and that refuses at the end of the file if the content is not the one announced. Both kinds of upload are completed only
after that end has been read, so a file edited at any moment leaves the object as it was (and an aborted upload).
"""

import hashlib
import logging
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

from boto3.s3.transfer import ProgressCallbackInvoker
from botocore.response import StreamingBody
from s3transfer.subscribers import BaseSubscriber

from apex_pipeline.errors import (
    ApexError,
    ObjectMissingError,
    StoreConfigError,
    StoreCorruptionError,
    StorePermissionError,
    StoreUnavailableError,
    VanishedFileError,
)
from apex_pipeline.progress import Progress
from apex_pipeline.storage.contract import ObjectStore, StoredObject
from apex_pipeline.storage.disk_errors import disk_errors
from apex_pipeline.storage.fingerprints import Fingerprints
from apex_pipeline.storage.hashing import BLOCK_BYTES, HashingReader
from apex_pipeline.storage.keys import check_key, check_prefix, is_legal_key
from apex_pipeline.storage.s3_client import S3Connection
from apex_pipeline.storage.s3_errors import CUT_OFF_ERRORS, error_code, s3_errors, translate
from apex_pipeline.storage.s3_ranges import RangedReader
from apex_pipeline.storage.s3_stream import VerifiedStream
from apex_pipeline.storage.scratch import own_scratch

if TYPE_CHECKING:  # stubs, installed for development only
    from s3transfer.futures import TransferFuture
    from types_boto3_s3.type_defs import CopySourceTypeDef

_LOG = logging.getLogger(__name__)
_Result = TypeVar("_Result")

# One CRC32 over the whole object, also of a multipart upload: the store checks it on arrival and returns it on reading.
# The default for multipart uploads is a checksum of checksums, which no reader of the whole object can verify.
_CHECKSUM = {"ChecksumAlgorithm": "CRC32", "ChecksumType": "FULL_OBJECT"}
_DIGEST = "sha256"
# More than this S3 does not copy in one request.
_COPY_IN_ONE_BYTES = 5 * 1024**3
# Pauses before reading an object again whose reply broke off.
_PAUSES_S = (0.5, 1.0, 2.0)
_CONTENT_TYPES = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".parquet": "application/vnd.apache.parquet",
    ".xml": "application/xml",
    ".gz": "application/gzip",
    ".zip": "application/zip",
    ".pdf": "application/pdf",
}


class S3Store(ObjectStore):
    """A lake in a bucket. Making the object sends nothing.

    Args:
        connection: How to reach the bucket.
        prefix: What the lake's keys begin with inside the bucket, without slashes at the ends; may be empty.
        fingerprints: Gives the digest of local files to be written.
        scratch: Folder for downloads that are opened as files; ``None`` is the system's own.
        may_create_bucket: Let :meth:`check_access` create a missing bucket.
        sleep: Waits between two tries, for tests.
    """

    def __init__(
        self,
        connection: S3Connection,
        prefix: str,
        fingerprints: Fingerprints,
        *,
        scratch: Path | None = None,
        may_create_bucket: bool = False,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._connection = connection
        self._bucket = connection.bucket
        self._prefix = f"{check_key(prefix)}/" if prefix else ""
        self._fingerprints = fingerprints
        self._scratch = scratch
        self._may_create_bucket = may_create_bucket
        self._sleep = sleep
        self._is_bucket_seen = False

    @property
    def uri(self) -> str:
        """``s3://bucket/prefix``."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def uri_of(self, key: str) -> str:
        """Return ``s3://bucket/prefix/key``."""
        return f"s3://{self._bucket}/{self._full(key)}"

    def check_access(self) -> None:
        """Make sure the bucket can be listed; create it if it is missing and that is allowed."""
        try:
            self._probe()
        except StoreConfigError as error:
            if not self._may_create_bucket or error_code(error) != "NoSuchBucket":
                raise
            self._create_bucket()

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Yield the objects in key order, without digests; the whole listing is fetched first to be sorted."""
        start = self._prefix + check_prefix(prefix)
        found: list[StoredObject] = []
        with self._errors("Listing", start):
            pages = self._connection.client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=start):
                for entry in cast("list[dict[str, Any]]", page.get("Contents", [])):
                    key = entry["Key"].removeprefix(self._prefix)
                    found.append(_describe(key, entry["Size"], entry["LastModified"], entry["ETag"]))
        # AWS sorts by bytes, SeaweedFS by folder.
        for stored in sorted(found, key=lambda stored: stored.key):
            if stored.key.endswith("/"):  # a folder marker made by a web console
                continue
            if is_legal_key(stored.key):
                yield stored
            else:
                _LOG.warning("Left out of the listing, its name cannot be a key: %r", stored.key)

    def head(self, key: str) -> StoredObject | None:
        """Return the object's facts in one request."""
        full = self._full(key)
        try:
            with self._errors("Looking up", full):
                reply = self._connection.client.head_object(Bucket=self._bucket, Key=full)
        except (ObjectMissingError, StorePermissionError) as error:
            # A HEAD has no body: "404" may be a missing bucket and "403" a wrong secret. A listing says which.
            if not self._is_bucket_seen:
                self._probe()
            if isinstance(error, StorePermissionError):
                raise
            return None
        digest = reply["Metadata"].get(_DIGEST)
        return _describe(key, reply["ContentLength"], reply["LastModified"], reply["ETag"], digest)

    def read_bytes(self, key: str) -> bytes:
        """Return the object whole, verified, read again if the reply broke off."""

        def receive(body: StreamingBody, recorded: str | None) -> bytes:
            content = body.read()
            self._verify(key, hashlib.sha256(content).hexdigest(), recorded)
            return content

        return self._download(key, receive, {})

    def read_start(self, key: str, length: int) -> bytes:
        """Return the first bytes by a ranged request."""

        def receive(body: StreamingBody, _: str | None) -> bytes:
            return body.read(length)

        try:
            return self._download(key, receive, {"Range": f"bytes=0-{max(length, 1) - 1}"})
        except ApexError as error:
            if error_code(error) == "InvalidRange":  # an empty object has no first byte
                return b""
            raise

    @contextmanager
    def open_local(self, key: str) -> Generator[Path]:
        """Give a verified download, removed afterwards."""
        scratch = None if self._scratch is None else own_scratch(self._scratch)
        with TemporaryDirectory(prefix="download-", dir=scratch) as folder:
            path = Path(folder, PurePosixPath(key).name)

            def receive(body: StreamingBody, recorded: str | None) -> None:
                digest = hashlib.sha256()
                with disk_errors(f"Opening {path}"):
                    file = path.open("wb")
                with file:
                    while block := body.read(BLOCK_BYTES):
                        digest.update(block)
                        with disk_errors(f"Writing the download of {key} to {path}"):
                            file.write(block)
                self._verify(key, digest.hexdigest(), recorded)

            self._download(key, receive, {})
            yield path

    @contextmanager
    def open_stream(self, key: str) -> Generator[BinaryIO]:
        """Give a stream that fetches ranges one after the other and verifies the whole."""
        stored = self._look_up(key)

        def verify(digest: str) -> None:
            self._verify(key, digest, stored.sha256)

        with VerifiedStream(self._fetch(stored), stored.size, verify) as stream:
            yield cast("BinaryIO", stream)

    @contextmanager
    def open_random(self, key: str) -> Generator[BinaryIO]:
        """Give a stream that fetches ranges; an object replaced meanwhile raises ``VanishedFileError``."""
        stored = self._look_up(key)
        with RangedReader(self._fetch(stored), stored.size) as reader:
            yield cast("BinaryIO", reader)

    def write_bytes(self, key: str, content: bytes) -> StoredObject:
        """Write the object in one request."""
        full = self._full(key)
        with self._errors("Writing", full):
            self._connection.client.put_object(
                Bucket=self._bucket,
                Key=full,
                Body=content,
                ContentType=_content_type(key),
                Metadata={_DIGEST: hashlib.sha256(content).hexdigest()},
                ChecksumAlgorithm="CRC32",
            )
        return self._written(key)

    def write_file(
        self, key: str, path: Path, *, sha256: str | None = None, progress: Progress | None = None
    ) -> StoredObject:
        """Upload the file, in parts if it is large; without ``sha256`` it is read twice, once to hash it."""
        full = self._full(key)
        digest = sha256 or self._fingerprints.sha256_of(path)
        options = {"ContentType": _content_type(key), "Metadata": {_DIGEST: digest}, **_CHECKSUM}
        with HashingReader(path, digest) as source, self._errors("Writing", full):
            subscribers: list[BaseSubscriber] = [_KnownSize(source.mark.size)]
            if progress is not None:
                subscribers.append(ProgressCallbackInvoker(progress))
            upload = self._connection.transfers.upload(
                cast("Any", source), self._bucket, full, extra_args=options, subscribers=subscribers
            )
            upload.result()
        return self._written(key)

    def copy(self, source: str, target: str) -> StoredObject:
        """Copy on the server, with metadata; what is copied is the object as it was looked up."""
        full = self._full(target)
        origin: CopySourceTypeDef = {"Bucket": self._bucket, "Key": self._full(source)}
        stored = self._look_up(source)
        with self._errors("Copying to", full):
            if stored.size <= _COPY_IN_ONE_BYTES:
                self._connection.client.copy_object(
                    Bucket=self._bucket, Key=full, CopySource=origin, CopySourceIfMatch=f'"{stored.tag}"'
                )
            else:
                # A copy in parts is a new upload to the store, which takes nothing over by itself.
                options: dict[str, Any] = {
                    "ContentType": _content_type(target),
                    "CopySourceIfMatch": f'"{stored.tag}"',
                    "ChecksumAlgorithm": "CRC32",
                    "MetadataDirective": "REPLACE",
                    "Metadata": {} if stored.sha256 is None else {_DIGEST: stored.sha256},
                }
                self._connection.transfers.copy(origin, self._bucket, full, extra_args=options).result()
        return self._written(target)

    def delete(self, key: str) -> None:
        """Remove the object."""
        full = self._full(key)
        with self._errors("Deleting", full):
            self._connection.client.delete_object(Bucket=self._bucket, Key=full)

    def _full(self, key: str) -> str:
        return check_key(self._prefix + check_key(key))

    def _errors(self, operation: str, full_key: str | None = None) -> AbstractContextManager[None]:
        return s3_errors(self._connection.place, operation, full_key)

    def _probe(self) -> None:
        """Ask for one entry of the listing: the cheapest request whose reply says what is wrong."""
        with self._errors("Listing"):
            self._connection.client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)
        self._is_bucket_seen = True

    def _create_bucket(self) -> None:
        region = self._connection.region
        _LOG.info("Creating the bucket %s in %s", self._bucket, region)
        # us-east-1 is the place without a name: naming it is an error.
        options: dict[str, Any] = {}
        if region != "us-east-1":
            options["CreateBucketConfiguration"] = {"LocationConstraint": region}
        try:
            with self._errors("Creating the bucket"):
                self._connection.client.create_bucket(Bucket=self._bucket, **options)
        except ApexError as error:
            if error_code(error) != "BucketAlreadyOwnedByYou":  # somebody else of ours was faster
                raise

    def _download(
        self,
        key: str,
        receive: Callable[[StreamingBody, str | None], _Result],
        options: dict[str, Any],
        pauses_s: tuple[float, ...] = _PAUSES_S,
    ) -> _Result:
        """Return what ``receive`` makes of the body and the recorded digest; read again what broke off or is damaged.

        boto3 repeats a request that got no good answer, but not one whose body breaks off after a good start.
        """
        full = self._full(key)
        with self._errors("Reading", full):
            reply = self._connection.client.get_object(Bucket=self._bucket, Key=full, **options)
        try:
            with closing(reply["Body"]) as body:
                return receive(body, reply["Metadata"].get(_DIGEST))
        except CUT_OFF_ERRORS as error:
            failure = translate(error, self._connection.place, "Reading", full)
        except StoreCorruptionError as error:
            failure = error
        if not pauses_s:
            raise failure
        _LOG.warning("%s Trying again in %s s.", failure.problem, pauses_s[0])
        self._sleep(pauses_s[0])
        return self._download(key, receive, options, pauses_s[1:])

    def _look_up(self, key: str) -> StoredObject:
        stored = self.head(key)
        if stored is None:
            raise _missing(self.uri_of(key))
        return stored

    def _fetch(self, stored: StoredObject) -> Callable[[int, int], bytes]:
        """Return what reads ranges of this version of an object."""

        def fetch(start: int, length: int) -> bytes:
            return self._read_range(stored.key, stored.tag, start, length)

        return fetch

    def _read_range(self, key: str, tag: str, start: int, length: int) -> bytes:
        def receive(body: StreamingBody, _: str | None) -> bytes:
            return body.read(length)

        try:
            content = self._download(
                key, receive, {"Range": f"bytes={start}-{start + length - 1}", "IfMatch": f'"{tag}"'}
            )
        except ObjectMissingError as error:
            raise VanishedFileError(
                f"{self.uri_of(key)} was deleted while it was read.", "Look it up again."
            ) from error
        if len(content) != length:
            raise StoreUnavailableError(f"{self.uri_of(key)} gave {len(content)} of {length} bytes.", "Run it again.")
        return content

    def _verify(self, key: str, digest: str, recorded: str | None) -> None:
        if recorded is not None and digest != recorded:
            raise StoreCorruptionError(
                f"{self.uri_of(key)} is damaged: SHA-256 {recorded[:12]}… was recorded, {digest[:12]}… received.",
                "Write it again from its source.",
            )

    def _written(self, key: str) -> StoredObject:
        """Look up what was just written: a PUT tells neither time nor size, and this proves it can be seen."""
        stored = self.head(key)
        if stored is None:
            raise StoreUnavailableError(f"{self.uri_of(key)} was written but cannot be seen.", "Run it again.")
        return stored


class _KnownSize(BaseSubscriber):
    """Tells s3transfer the size, which it needs to choose parts large enough for files over 80 GB."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size

    def on_queued(self, future: "TransferFuture", **_: object) -> None:
        future.meta.provide_transfer_size(self._size)


def _describe(key: str, size: int, modified: datetime, etag: str, sha256: str | None = None) -> StoredObject:
    return StoredObject(key, size, modified.astimezone(UTC), etag.strip('"'), sha256)


def _missing(uri: str) -> ObjectMissingError:
    return ObjectMissingError(f"{uri} is not there.", "Run `apex sync`, or check the spelling.")


def _content_type(key: str) -> str:
    return _CONTENT_TYPES.get(PurePosixPath(key).suffix.lower(), "application/octet-stream")


__all__ = ["S3Store"]
