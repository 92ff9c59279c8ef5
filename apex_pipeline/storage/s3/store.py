"""The lake in an S3 bucket, of AWS or compatible.

Here belongs how a bucket keeps the promises of ``storage/base.py``. A PUT and a completed multipart upload are whole or
nothing by themselves. Not here: how bytes are sent (``transfer/``) and read (``reader.py``) such that no damage
passes, how the client is set up (``client.py``), what errors mean (``errors.py``).
"""

import builtins
import logging
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from apex_pipeline.errors import (
    ApexError,
    ConfigurationError,
    ObjectMissingError,
    StoreConfigError,
    StorePermissionError,
)
from apex_pipeline.progress import Progress
from apex_pipeline.storage.base import IncompleteUpload, ObjectInfo, ObjectStore
from apex_pipeline.storage.block_checksums import START_BYTES
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.keys import check_key, check_prefix, is_legal_key
from apex_pipeline.storage.request_stats import RequestStats
from apex_pipeline.storage.s3.client import S3Connection
from apex_pipeline.storage.s3.errors import error_code, s3_errors
from apex_pipeline.storage.s3.reader import RemoteObject, S3Reader, describe
from apex_pipeline.storage.s3.upload.journal import UploadJournal
from apex_pipeline.storage.s3.upload.uploader import Target, Uploader, UploadResult
from apex_pipeline.storage.temp_dirs import process_temp_dir

if TYPE_CHECKING:  # stubs, installed for development only
    from types_boto3_s3.type_defs import CopySourceTypeDef

_LOG = logging.getLogger(__name__)

# More than this S3 does not copy in one request.
_COPY_IN_ONE_BYTES = 5 * 1024**3
# S3's limit for presigned addresses: 7 days.
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


class S3Store(ObjectStore):
    """A lake in a bucket. Making the object sends nothing.

    Args:
        connection: How to reach the bucket.
        prefix: What the lake's keys begin with inside the bucket, without slashes at the ends; may be empty.
        fingerprints: Gives the digest of local files to be written.
        state: Folder of this machine for downloads that are opened as files and for notes on uploads; made when needed.
        acl: Canned access list for what is written; ``None`` sends none.
        may_create_bucket: Let :meth:`check_access` create a missing bucket.
        takes_back: Let :meth:`check_access` abort uploads of this machine that nobody will go on with.
        sleep: Waits between two tries, for tests.
    """

    def __init__(
        self,
        connection: S3Connection,
        prefix: str,
        fingerprints: DigestCache,
        *,
        state: Path = Path(".apex"),
        acl: str | None = None,
        may_create_bucket: bool = False,
        takes_back: bool = False,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._connection = connection
        self._bucket = connection.bucket
        self._prefix = f"{check_key(prefix)}/" if prefix else ""
        self._downloads = state.absolute() / "downloads"
        self._acl = acl
        self._may_create_bucket = may_create_bucket
        self._takes_back = takes_back
        self._reader = S3Reader(connection, self._full, sleep)
        self._uploader = Uploader(connection, fingerprints, UploadJournal(state.absolute() / "uploads"), sleep)
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
            if self._takes_back:
                self._uploader.abort_abandoned()
        except StoreConfigError as error:
            if not self._may_create_bucket or error_code(error) != "NoSuchBucket":
                raise
            self._create_bucket()

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects in key order, without digests; the whole listing is fetched first to be sorted."""
        start = self._prefix + check_prefix(prefix)
        found: list[ObjectInfo] = []
        with self._errors("Listing", start):
            pages = self._connection.client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=start):
                for entry in cast("list[dict[str, Any]]", page.get("Contents", [])):
                    key = entry["Key"].removeprefix(self._prefix)
                    found.append(describe(key, entry["Size"], entry))
        # AWS sorts by bytes, SeaweedFS by folder.
        for stored in sorted(found, key=lambda stored: stored.key):
            if stored.key.endswith("/"):  # a folder marker made by a web console
                continue
            if is_legal_key(stored.key):
                yield stored
            else:
                _LOG.warning("Left out of the listing, its name cannot be a key: %r", stored.key)

    def head(self, key: str) -> ObjectInfo | None:
        """Return the object's facts in one request."""
        found = self._find(key)
        return None if found is None else found.stored

    def read_bytes(self, key: str) -> bytes:
        """Return the object whole, verified."""
        return self._reader.read(key)

    def read_head(self, key: str, length: int) -> bytes:
        """Return the first bytes, checked; up to 64 KiB in one request, more in two."""
        if length <= START_BYTES:
            return self._reader.read_head(key, length)
        with self.open_seekable(key) as stream:
            return stream.read(length)

    @contextmanager
    def open_as_file(self, key: str) -> Generator[Path]:
        """Give a verified download, removed afterwards."""
        with TemporaryDirectory(prefix="download-", dir=process_temp_dir(self._downloads)) as folder:
            path = Path(folder, PurePosixPath(key).name)
            self._reader.save(key, path)
            yield path

    @contextmanager
    def open_stream(self, key: str) -> Generator[BinaryIO]:
        """Give a stream that fetches ranges one after the other and verifies each, and the whole."""
        with self._reader.stream(self._look_up(key)) as stream:
            yield stream

    @contextmanager
    def open_seekable(self, key: str) -> Generator[BinaryIO]:
        """Give a stream that fetches ranges; an object replaced meanwhile raises ``FileChangedError``."""
        with self._reader.seekable(self._look_up(key)) as stream:
            yield stream

    def write_bytes(self, key: str, content: bytes) -> ObjectInfo:
        """Write the object in one request."""
        return _stored(key, self._uploader.send(self._target(key), content))

    def write_file(
        self, key: str, path: Path, *, sha256: str | None = None, progress: Progress | None = None
    ) -> ObjectInfo:
        """Upload the file, in parts if it is large, going on with what an interrupted upload left in the store."""
        return _stored(key, self._uploader.send_file(self._target(key), path, sha256, progress))

    def copy(self, source: str, target: str) -> ObjectInfo:
        """Copy on the server, with metadata; what is copied is the object as it was looked up."""
        full = self._full(target)
        origin: CopySourceTypeDef = {"Bucket": self._bucket, "Key": self._full(source)}
        found = self._look_up(source)
        stored = found.stored
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
                    "MetadataDirective": "REPLACE",
                    "Metadata": dict(found.metadata),
                }
                self._connection.transfers.copy(origin, self._bucket, full, extra_args=options).result()
        return self._look_up(target).stored

    def delete(self, key: str) -> None:
        """Remove the object."""
        full = self._full(key)
        with self._errors("Deleting", full):
            self._connection.client.delete_object(Bucket=self._bucket, Key=full)

    def incomplete_uploads(self) -> "builtins.list[IncompleteUpload]":
        """Return the uploads in parts that were begun below the lake's prefix."""
        with self._errors("Listing the unfinished uploads of"):
            pages = self._connection.client.get_paginator("list_multipart_uploads")
            found = [
                IncompleteUpload(
                    upload["Key"].removeprefix(self._prefix), upload["Initiated"].astimezone(UTC), upload["UploadId"]
                )
                for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix)
                for upload in cast("list[dict[str, Any]]", page.get("Uploads", []))
            ]
        return sorted(found, key=lambda write: (str(write.key), write.mark))

    def abort(self, upload: IncompleteUpload) -> None:
        """Abort the upload."""
        full = self._full(str(upload.key))
        try:
            with self._errors("Aborting an unfinished upload of", full):
                self._connection.client.abort_multipart_upload(Bucket=self._bucket, Key=full, UploadId=upload.mark)
        except ApexError as error:
            if error_code(error) != "NoSuchUpload":
                raise

    def presigned_url(self, key: str, expires_s: int) -> str:
        """Return a presigned address (Signature V4)."""
        if not 0 < expires_s <= _LONGEST_SHARE_S:
            raise ConfigurationError(
                f"An address cannot be shared for {expires_s} s.", "Choose 1 s to 7 days (604800 s), S3's own limit."
            )
        with self._errors("Sharing", self._full(key)):
            return self._connection.client.generate_presigned_url(
                "get_object", Params={"Bucket": self._bucket, "Key": self._full(key)}, ExpiresIn=expires_s
            )

    @property
    def traffic(self) -> RequestStats:
        """What this store's connection has sent."""
        return self._connection.meter.traffic

    def _full(self, key: str) -> str:
        return check_key(self._prefix + check_key(key))

    def _errors(self, operation: str, full_key: str | None = None) -> AbstractContextManager[None]:
        return s3_errors(self._connection.error_context, operation, full_key)

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

    def _target(self, key: str) -> Target:
        return Target(self._full(key), _content_type(key), self._acl)

    def _find(self, key: str) -> RemoteObject | None:
        try:
            return self._reader.find(key)
        except (ObjectMissingError, StorePermissionError) as error:
            # A HEAD has no body: "404" may be a missing bucket and "403" a wrong secret. A listing says which.
            if not self._is_bucket_seen:
                self._probe()
            if isinstance(error, StorePermissionError):
                raise
            return None

    def _look_up(self, key: str) -> RemoteObject:
        found = self._find(key)
        if found is None:
            raise ObjectMissingError(f"{self.uri_of(key)} is not there.", "Run `apex sync`, or check the spelling.")
        return found


def _stored(key: str, receipt: UploadResult) -> ObjectInfo:
    return ObjectInfo(key, receipt.size, receipt.written_utc, receipt.tag, receipt.sha256)


def _content_type(key: str) -> str:
    return _CONTENT_TYPES.get(PurePosixPath(key).suffix.lower(), "application/octet-stream")
