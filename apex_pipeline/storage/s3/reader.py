"""Read objects from a bucket and verify every byte that is returned.

Contains all read requests; see store.py for the operations that use them. A complete object is verified against its
SHA-256, a range against the CRC32s of its blocks; ``upload/`` records both. Replies that break off, stall or arrive
damaged are requested again.

Why not fsspec or obstore: neither verifies the bytes of a ranged read against a recorded checksum.
"""

import hashlib
import zlib
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeVar, cast

from botocore.response import StreamingBody

from apex_pipeline.errors import (
    ApexError,
    FileChangedError,
    ObjectMissingError,
    StoreCorruptionError,
    StoreInterruptedError,
)
from apex_pipeline.storage.base import ObjectInfo
from apex_pipeline.storage.block_checksums import START_BYTES, BlockChecksums
from apex_pipeline.storage.file_hashing import BLOCK_BYTES
from apex_pipeline.storage.limits import too_large
from apex_pipeline.storage.os_errors import translating_state_errors
from apex_pipeline.storage.s3.client import S3Connection
from apex_pipeline.storage.s3.errors import UnexpectedReplyError, body_errors, error_code, s3_errors
from apex_pipeline.storage.s3.retry import retry
from apex_pipeline.storage.s3.upload.checksums import recorded_digest, recorded_sums
from apex_pipeline.storage.streams import RangedReader, VerifiedStream

if TYPE_CHECKING:  # stubs, installed for development only
    from types_boto3_s3.type_defs import GetObjectOutputTypeDef, HeadObjectOutputTypeDef

_Result = TypeVar("_Result")

# Objects above this size are fetched in ranges, each verified and retried separately.
_LARGE_BYTES: Final = 32 * 1024**2


@dataclass(frozen=True)
class RemoteObject:
    """An object as described by a reply from the store.

    Attributes:
        info: Key, size, time, ETag and digest.
        sums: CRC32s of its blocks; ``None`` for an object written by another tool.
        metadata: The object's user metadata.
    """

    info: ObjectInfo
    sums: BlockChecksums | None
    metadata: Mapping[str, str]

    @property
    def block_bytes(self) -> int:
        """Size of the blocks that can be verified separately; 1 if no checksums are recorded."""
        return 1 if self.sums is None else self.sums.block_bytes


class S3Reader:
    """Reads objects from one bucket. Safe to share between threads.

    Args:
        connection: How to reach the bucket.
        full_key: Maps a key in the lake to the key in the bucket.
        sleep: Waits between attempts.
    """

    def __init__(
        self, connection: S3Connection, full_key: Callable[[str], str], sleep: Callable[[float], None]
    ) -> None:
        self._connection = connection
        self._full_key = full_key
        self._sleep = sleep

    def find(self, key: str) -> RemoteObject:
        """Return an object's description in one request.

        Raises:
            ObjectMissingError: The object or the bucket does not exist; the reply has no body to distinguish them.
            StorePermissionError: Access is denied or the secret is wrong; the reply does not distinguish them either.
        """
        return self.find_with_time(key)[0]

    def find_with_time(self, key: str) -> tuple[RemoteObject, datetime | None]:
        """Return an object's description and the time of the reply by the store's clock, if it reports one.

        Errors as for :meth:`find`.
        """
        full, connection = self._full_key(key), self._connection

        def attempt() -> tuple[RemoteObject, datetime | None]:
            with s3_errors(connection.error_context, "Looking up", full):
                reply = connection.objects.head_object(Bucket=connection.bucket, Key=full)
            return _found(key, reply), store_time_utc(reply)

        return retry(attempt, self._sleep)

    def read(self, key: str) -> bytes:
        """Return the content of an object, verified."""
        return self._get(key, self._receive_all)

    def read_whole(self, key: str, limit: int | None = None) -> tuple[RemoteObject, bytes]:
        """Return an object's description and content, verified, from one request.

        Raises:
            ObjectMissingError: No object has this key.
            StoreCorruptionError: The object is larger than ``limit`` bytes, and was not read; or it is damaged.
        """
        found, content = self.read_small(key, limit)
        if content is None:
            raise too_large(self._address(key), found.info.size, limit)
        return found, content

    def read_small(self, key: str, limit: int | None) -> tuple[RemoteObject, bytes | None]:
        """Return an object's description and, if it has at most ``limit`` bytes, its content, from one request.

        Raises:
            ObjectMissingError: No object has this key.
            StoreCorruptionError: The content is damaged.
        """

        def receive(found: RemoteObject, body: StreamingBody) -> tuple[RemoteObject, bytes | None]:
            is_accepted = limit is None or found.info.size <= limit
            return found, self._receive_all(found, body) if is_accepted else None

        return self._get(key, receive)

    def read_head(self, key: str, length: int) -> bytes:
        """Return at most the first :data:`START_BYTES`, which have their own checksum, in one request."""

        def receive(found: RemoteObject, body: StreamingBody) -> bytes:
            content = body.read()
            if found.sums is not None and zlib.crc32(content) != found.sums.start:
                raise self._damaged(key, "the CRC32 of its first bytes differs from the recorded one")
            return content[:length]

        try:
            return self._get(key, receive, Range=f"bytes=0-{START_BYTES - 1}")
        except ApexError as error:
            if error_code(error) == "InvalidRange":  # an empty object has no valid range
                return b""
            raise

    def read_range(self, found: RemoteObject, start: int, length: int) -> bytes:
        """Return a range of this version of an object, verified if it starts at a block boundary.

        Raises:
            FileChangedError: The object was replaced or deleted in the meantime.
        """
        info = found.info

        def receive(_: RemoteObject, body: StreamingBody) -> bytes:
            content = body.read()
            self._check_range(found, start, length, content)
            return content

        condition = {"Range": f"bytes={start}-{start + length - 1}", "IfMatch": f'"{info.tag}"'}
        try:
            return self._get(info.key, receive, **condition)
        except ObjectMissingError as error:
            address = self._address(info.key)
            raise FileChangedError(f"{address} was deleted while being read.", "Look it up again.") from error

    def save(self, key: str, path: Path) -> None:
        """Download an object to a file and verify it; a large one is fetched range by range."""

        def receive(found: RemoteObject, body: StreamingBody) -> RemoteObject | bytes:
            return found if found.info.size > _LARGE_BYTES else self._receive_all(found, body)

        received = self._get(key, receive)
        if isinstance(received, bytes):
            _write(path, [received])
            return
        with self.stream(received) as stream:
            _write(path, iter(partial(stream.read, BLOCK_BYTES), b""))

    @contextmanager
    def stream(self, found: RemoteObject) -> Generator[BinaryIO]:
        """Yield a stream that fetches and verifies one range at a time, and the SHA-256 at the end."""
        info = found.info

        def verify(digest: str) -> None:
            self._verify(info, digest)

        with VerifiedStream(partial(self.read_range, found), info.size, found.block_bytes, verify) as stream:
            yield cast("BinaryIO", stream)

    @contextmanager
    def seekable(self, found: RemoteObject) -> Generator[BinaryIO]:
        """Yield a seekable stream that fetches the requested bytes, extended to complete blocks."""
        with RangedReader(partial(self.read_range, found), found.info.size, found.block_bytes) as reader:
            yield cast("BinaryIO", reader)

    def _get(self, key: str, receive: Callable[[RemoteObject, StreamingBody], _Result], **options: str) -> _Result:
        """Request an object and return the result of ``receive``; retry if the reply breaks off or is damaged."""
        full, connection = self._full_key(key), self._connection

        def attempt() -> _Result:
            with s3_errors(connection.error_context, "Reading", full):
                reply = connection.objects.get_object(
                    Bucket=connection.bucket, Key=full, **cast("dict[str, Any]", options)
                )
            with closing(reply["Body"]) as body, body_errors(connection.error_context, full):
                return receive(_found(key, reply), body)

        return retry(attempt, self._sleep)

    def _receive_all(self, found: RemoteObject, body: StreamingBody) -> bytes:
        content = body.read()
        self._verify(found.info, hashlib.sha256(content).hexdigest())
        return content

    def _check_range(self, found: RemoteObject, start: int, length: int, content: bytes) -> None:
        info = found.info
        if len(content) != length:
            problem = f"{self._address(info.key)} returned {len(content)} of {length} bytes."
            raise StoreInterruptedError(problem, "Run it again.")
        if found.sums is None or start % found.block_bytes:
            return
        position = found.sums.damaged_block(start, content, info.size)
        if position is not None:
            raise self._damaged(info.key, f"the CRC32 of the block at byte {position:,} differs from the recorded one")

    def _verify(self, info: ObjectInfo, digest: str) -> None:
        if info.sha256 is not None and digest != info.sha256:
            raise self._damaged(info.key, f"expected SHA-256 {info.sha256[:12]}…, received {digest[:12]}…")

    def _damaged(self, key: str, how: str) -> StoreCorruptionError:
        return StoreCorruptionError(f"{self._address(key)} is damaged: {how}.", "Write it again from its source.")

    def _address(self, key: str) -> str:
        return f"s3://{self._connection.bucket}/{self._full_key(key)}"


def describe(key: str, size: int, reply: Mapping[str, Any], sha256: str | None = None) -> ObjectInfo:
    """Return an object's description from a reply or from an entry of a listing.

    Raises:
        UnexpectedReplyError: A field is missing.
    """
    try:
        return ObjectInfo(key, size, reply["LastModified"].astimezone(UTC), reply["ETag"].strip('"'), sha256)
    except KeyError as error:
        raise UnexpectedReplyError(f"an entry without {error}") from error


def store_time_utc(reply: Mapping[str, Any]) -> datetime | None:
    """Return a reply's time (aware) by the store's clock; ``None`` if the reply has no readable date."""
    date = reply["ResponseMetadata"]["HTTPHeaders"].get("date", "")
    try:
        return parsedate_to_datetime(date).astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        return None


def _found(key: str, reply: "HeadObjectOutputTypeDef | GetObjectOutputTypeDef") -> RemoteObject:
    metadata = reply["Metadata"]
    # In the reply to a ranged request, the object's size follows the slash.
    size = int(reply.get("ContentRange", "").rpartition("/")[2] or reply["ContentLength"])
    info = describe(key, size, reply, recorded_digest(metadata))
    return RemoteObject(info, recorded_sums(metadata, size), metadata)


def _write(path: Path, blocks: Iterable[bytes]) -> None:
    operation = f"Writing a download to {path}"
    with translating_state_errors(operation):
        file = path.open("wb")
    with file:
        for block in blocks:
            with translating_state_errors(operation):
                file.write(block)
