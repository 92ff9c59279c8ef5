"""A lake in an S3 bucket, on AWS or a compatible store.

Contains the implementation of storage/base.py for a bucket. S3 guarantees that a PUT or a completed multipart upload is
atomic. See ``upload/`` and reader.py for verified transfers, client.py for the client and errors.py for the errors.
"""

import builtins
import logging
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC
from io import BytesIO
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from uuid import uuid4

from apex_pipeline.errors import (
    ApexError,
    ConfigurationError,
    FileChangedError,
    ObjectMissingError,
    StoreConfigError,
    StorePermissionError,
)
from apex_pipeline.process.interrupts import pause
from apex_pipeline.progress import Progress
from apex_pipeline.storage.base import IncompleteUpload, Inspect, ObjectInfo, ObjectStore
from apex_pipeline.storage.block_checksums import START_BYTES
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.keys import check_key, check_prefix, is_legal_key
from apex_pipeline.storage.layout import INTERNAL_PREFIX, digest_in_key
from apex_pipeline.storage.os_errors import translating_state_errors
from apex_pipeline.storage.request_stats import RequestStats
from apex_pipeline.storage.s3.client import S3Connection
from apex_pipeline.storage.s3.conditional import ConditionalWriter
from apex_pipeline.storage.s3.errors import UnexpectedReplyError, error_code, s3_errors
from apex_pipeline.storage.s3.reader import RemoteObject, S3Reader, describe
from apex_pipeline.storage.s3.upload.journal import UploadJournal
from apex_pipeline.storage.s3.upload.requests import etag_of, reply_time_utc
from apex_pipeline.storage.s3.upload.uploader import Target, Uploader, UploadResult
from apex_pipeline.storage.temp_dirs import process_temp_dir

if TYPE_CHECKING:  # stubs, installed for development only
    from types_boto3_s3.type_defs import CopySourceTypeDef

_LOG = logging.getLogger(__name__)

# S3's size limit for copying in one request.
_COPY_IN_ONE_BYTES = 5 * 1024**3
# A stream of at most this size is one request: a lookup and a range would be two, and as long as fetching it.
_SMALL_BYTES = 4 * 1024**2
# S3's limit for presigned URLs: 7 days.
_LONGEST_SHARE_S = 7 * 24 * 3600
_CONTENT_TYPES = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".parquet": "application/vnd.apache.parquet",
    ".xml": "application/xml",
    ".gz": "application/gzip",
    ".zst": "application/zstd",
    ".zip": "application/zip",
    ".pdf": "application/pdf",
}

# Descriptions of immutable objects that are kept, each with its block checksums of up to 1.4 kB.
_MOST_IMMUTABLE = 1_000


class S3Store(ObjectStore):
    """A lake in a bucket. Creating an instance sends no request.

    Args:
        connection: How to reach the bucket.
        prefix: Prefix of the lake's keys in the bucket, without leading or trailing slashes; may be empty.
        digests: Digest cache for local files to be written.
        state: Local folder for the upload journal and for downloads opened as files; created when needed.
        acl: Canned ACL for written objects; ``None`` sends none.
        may_create_bucket: Whether :meth:`check_access` may create a missing bucket.
            aborts_abandoned: Whether :meth:`check_access` aborts abandoned uploads of this machine.
        sleep: Waits between attempts; replaced in tests.
    """

    def __init__(
        self,
        connection: S3Connection,
        prefix: str,
        digests: DigestCache,
        *,
        state: Path = Path(".apex"),
        acl: str | None = None,
        may_create_bucket: bool = False,
        aborts_abandoned: bool = False,
        sleep: Callable[[float], None] = pause,
    ) -> None:
        self._connection = connection
        self._bucket = connection.bucket
        self._prefix = f"{check_key(prefix)}/" if prefix else ""
        self._downloads = state.absolute() / "downloads"
        self._acl = acl
        self._may_create_bucket = may_create_bucket
        self._aborts_abandoned = aborts_abandoned
        self._reader = S3Reader(connection, self._full, sleep)
        self._uploader = Uploader(connection, digests, UploadJournal(state.absolute() / "uploads"), sleep)
        self._conditional = ConditionalWriter(connection, self._reader, self._uploader, self._probe_target, sleep)
        self._is_bucket_seen = False
        # Objects named by their digest that were opened for reading ranges. Each request for a range names the version.
        self._immutable: dict[str, RemoteObject] = {}

    @property
    def uri(self) -> str:
        """``s3://bucket/prefix``."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def uri_of(self, key: str) -> str:
        """Return ``s3://bucket/prefix/key``."""
        return f"s3://{self._bucket}/{self._full(key)}"

    def check_access(self) -> None:
        """Check that the bucket can be listed; create it if it is missing and creation is allowed."""
        try:
            self._probe()
            if self._aborts_abandoned:
                self._uploader.abort_abandoned()
        except StoreConfigError as error:
            if not self._may_create_bucket or error_code(error) != "NoSuchBucket":
                raise
            self._create_bucket()

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects in key order, without digests; the entire listing is fetched first and sorted."""
        # AWS lists keys in byte order, SeaweedFS by folder.
        for stored in sorted(self.list_unchecked(prefix), key=lambda stored: stored.key):
            if stored.key.endswith("/"):  # a folder marker created by a web console
                continue
            if is_legal_key(stored.key):
                yield stored
            else:
                _LOG.warning("Skipping %r in the listing: it is not a valid key.", stored.key)

    def list_unchecked(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects, without digests, a page of 1,000 at a time."""
        start = self._prefix + check_prefix(prefix)
        with self._errors("Listing", start):
            pages = self._connection.client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=start):
                yield from map(self._describe_entry, cast("list[Any]", page.get("Contents", [])))

    def head(self, key: str) -> ObjectInfo | None:
        """Return the object's description in one request."""
        found = self._find(key)
        return None if found is None else found.info

    def read_bytes(self, key: str) -> bytes:
        """Return the entire object, verified."""
        return self._reader.read(key)

    def read_head(self, key: str, length: int) -> bytes:
        """Return the first bytes, verified; up to 64 KiB in one request, more in two."""
        if length <= START_BYTES:
            return self._reader.read_head(key, length)
        with self.open_seekable(key) as stream:
            return stream.read(length)

    @contextmanager
    def open_as_file(self, key: str) -> Generator[Path]:
        """Yield the path of a verified download, which is removed afterwards."""
        parent = process_temp_dir(self._downloads)
        with translating_state_errors(f"Creating a folder for a download in {parent}"):
            folder = TemporaryDirectory(prefix="download-", dir=parent)
        with folder:
            path = Path(folder.name, PurePosixPath(key).name)
            self._reader.save(key, path)
            yield path

    @contextmanager
    def open_stream(self, key: str, inspect: Inspect | None = None) -> Generator[BinaryIO]:
        """Yield a stream of ranges, each verified, and the SHA-256 at the end; a small object takes one request."""
        found, content = self._reader.read_small(key, _SMALL_BYTES)
        if inspect is not None:
            inspect(found.info)
        with BytesIO(content) if content is not None else self._reader.stream(found) as stream:
            yield stream

    @contextmanager
    def open_seekable(self, key: str) -> Generator[BinaryIO]:
        """Yield a stream that fetches ranges; an object replaced in the meantime raises ``FileChangedError``."""
        found = self._immutable.get(key) or self._look_up(key)
        if found.info.sha256 is not None and digest_in_key(key) == found.info.sha256:
            if len(self._immutable) == _MOST_IMMUTABLE:
                self._immutable.clear()
            self._immutable[key] = found
        try:
            with self._reader.seekable(found) as stream:
                yield stream
        except FileChangedError:
            self._immutable.pop(key, None)
            raise

    def write_bytes(self, key: str, content: bytes) -> ObjectInfo:
        """Write the object in one request."""
        return _info_of(key, self._uploader.send(self._target(key), content))

    def read_with_tag(self, key: str, limit: int | None = None) -> tuple[bytes, str] | None:
        """Return the content and the ETag of the same reply."""
        try:
            found, content = self._reader.read_whole(key, limit)
        except ObjectMissingError:
            return None
        return content, found.info.tag

    def write_if(self, key: str, content: bytes, expected_tag: str | None) -> ObjectInfo | None:
        """Write the object in one conditional request; on a store without these, after a lookup."""
        written = self._conditional.write_if(key, self._target(key), content, expected_tag)
        return _info_of(key, written) if isinstance(written, UploadResult) else written

    def delete_if(self, key: str, expected_tag: str) -> bool:
        """Look the object up, compare, and remove it; not atomic."""
        found = self._find(key)
        if found is None or found.info.tag != expected_tag:
            return False
        self.delete(key)
        return True

    def version_age_s(self, key: str, tag: str) -> float | None:
        """Compare the two times in the reply to one lookup."""
        try:
            found, now_utc = self._reader.find_with_time(key)
        except ObjectMissingError:
            return None
        if found.info.tag != tag or now_utc is None:
            return None
        return (now_utc - found.info.modified_utc).total_seconds()

    @property
    def has_conditional_writes(self) -> bool:
        """Whether the store compares and writes in one request."""
        return self._conditional.is_supported

    def write_file(
        self, key: str, path: Path, *, sha256: str | None = None, progress: Progress | None = None
    ) -> ObjectInfo:
        """Upload the file, in parts if it is large; resume an interrupted upload of the same content."""
        return _info_of(key, self._uploader.send_file(self._target(key), path, sha256, progress))

    def copy(self, source: str, target: str, *, source_info: ObjectInfo | None = None) -> ObjectInfo:
        """Copy on the server, with metadata: in one request if the source is described, else in two."""
        check_key(target)
        info = self._look_up(source).info if source_info is None else source_info
        try:
            if info.size > _COPY_IN_ONE_BYTES:
                return self._copy_in_parts(source, target, info.tag)
            return self._copy_in_one(source, target, info)
        except ObjectMissingError as error:  # it was there when it was described
            raise self._missing(source) from error

    def _copy_in_one(self, source: str, target: str, info: ObjectInfo) -> ObjectInfo:
        full = self._full(target)
        options: dict[str, Any] = {} if self._acl is None else {"ACL": self._acl}
        with self._errors("Copying to", full):
            reply = self._connection.client.copy_object(
                Bucket=self._bucket,
                Key=full,
                CopySource=self._origin(source),
                CopySourceIfMatch=f'"{info.tag}"',
                **options,
            )
        copied: Mapping[str, Any] = reply["CopyObjectResult"]
        return ObjectInfo(
            target,
            info.size,
            copied["LastModified"].astimezone(UTC) if "LastModified" in copied else reply_time_utc(reply),
            etag_of(copied),
            info.sha256,
        )

    def _copy_in_parts(self, source: str, target: str, tag: str) -> ObjectInfo:
        full = self._full(target)
        # A multipart copy is a new upload: S3 does not copy type and metadata.
        options: dict[str, Any] = {
            "ContentType": _content_type(target),
            "CopySourceIfMatch": f'"{tag}"',
            "MetadataDirective": "REPLACE",
            "Metadata": dict(self._look_up(source).metadata),
            **({} if self._acl is None else {"ACL": self._acl}),
        }
        with self._errors("Copying to", full):
            self._connection.transfers.copy(self._origin(source), self._bucket, full, extra_args=options).result()
        return self._look_up(target).info

    def _origin(self, source: str) -> "CopySourceTypeDef":
        return {"Bucket": self._bucket, "Key": self._full(source)}

    def delete(self, key: str) -> None:
        """Remove the object."""
        full = self._full(key)
        with self._errors("Deleting", full):
            self._connection.client.delete_object(Bucket=self._bucket, Key=full)

    def incomplete_uploads(self) -> "builtins.list[IncompleteUpload]":
        """Return the incomplete multipart uploads under the lake's prefix."""
        with self._errors("Listing the incomplete uploads of"):
            pages = self._connection.client.get_paginator("list_multipart_uploads")
            found = [
                IncompleteUpload(
                    upload["Key"].removeprefix(self._prefix), upload["Initiated"].astimezone(UTC), upload["UploadId"]
                )
                for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix)
                for upload in cast("list[dict[str, Any]]", page.get("Uploads", []))
            ]
        return sorted(found, key=lambda upload: (str(upload.key), upload.mark))

    def abort(self, upload: IncompleteUpload) -> None:
        """Abort the upload."""
        full = self._full(str(upload.key))
        try:
            with self._errors("Aborting an incomplete upload of", full):
                self._connection.client.abort_multipart_upload(Bucket=self._bucket, Key=full, UploadId=upload.mark)
        except ApexError as error:
            if error_code(error) != "NoSuchUpload":
                raise

    def presigned_url(self, key: str, expires_s: int) -> str:
        """Return a presigned URL (Signature V4)."""
        if not 0 < expires_s <= _LONGEST_SHARE_S:
            raise ConfigurationError(
                f"A URL cannot be shared for {expires_s} s.", "Choose 1 s to 7 days (604800 s), S3's limit."
            )
        with self._errors("Sharing", self._full(key)):
            return self._connection.client.generate_presigned_url(
                "get_object", Params={"Bucket": self._bucket, "Key": self._full(key)}, ExpiresIn=expires_s
            )

    @property
    def request_stats(self) -> RequestStats:
        """Request stats of this store's connection."""
        return self._connection.meter.stats

    def _full(self, key: str) -> str:
        return check_key(self._prefix + check_key(key))

    def _errors(self, operation: str, full_key: str | None = None) -> AbstractContextManager[None]:
        return s3_errors(self._connection.error_context, operation, full_key)

    def _probe(self) -> None:
        """List one entry: the cheapest request whose reply has an error code."""
        with self._errors("Listing"):
            self._connection.client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)
        self._is_bucket_seen = True

    def _describe_entry(self, entry: Mapping[str, Any]) -> ObjectInfo:
        try:
            key, size = str(entry["Key"]), int(entry["Size"])
        except KeyError as error:
            raise UnexpectedReplyError(f"an entry without {error}") from error
        return describe(key.removeprefix(self._prefix), size, entry)

    def _create_bucket(self) -> None:
        region = self._connection.region
        _LOG.info("Creating the bucket %s in %s", self._bucket, region)
        # S3 rejects us-east-1 as a location constraint: it is the default.
        options: dict[str, Any] = {}
        if region != "us-east-1":
            options["CreateBucketConfiguration"] = {"LocationConstraint": region}
        try:
            with self._errors("Creating the bucket"):
                self._connection.client.create_bucket(Bucket=self._bucket, **options)
        except ApexError as error:
            if error_code(error) != "BucketAlreadyOwnedByYou":  # by another process of the same account
                raise

    def _target(self, key: str) -> Target:
        return Target(self._full(key), _content_type(key), self._acl)

    def _probe_target(self) -> Target:
        return self._target(f"{INTERNAL_PREFIX}probe-{uuid4().hex}")

    def _find(self, key: str) -> RemoteObject | None:
        try:
            return self._reader.find(key)
        except (ObjectMissingError, StorePermissionError) as error:
            # A HEAD reply has no body: "404" may be a missing bucket, "403" a wrong secret. A listing shows which.
            if not self._is_bucket_seen:
                self._probe()
            if isinstance(error, StorePermissionError):
                raise
            return None

    def _look_up(self, key: str) -> RemoteObject:
        found = self._find(key)
        if found is None:
            raise self._missing(key)
        return found

    def _missing(self, key: str) -> ObjectMissingError:
        return ObjectMissingError(f"{self.uri_of(key)} does not exist.", "Run `apex sync`, or check the spelling.")


def _info_of(key: str, result: UploadResult) -> ObjectInfo:
    return ObjectInfo(key, result.size, result.written_utc, result.tag, result.sha256)


def _content_type(key: str) -> str:
    return _CONTENT_TYPES.get(PurePosixPath(key).suffix.lower(), "application/octet-stream")
