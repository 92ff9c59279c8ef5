"""Reading objects of a bucket such that nothing damaged is ever returned.

A whole object is compared with its digest, a part of it with the sums of the blocks it lies in; both were recorded when
it was written (``transfer/``). What breaks off, stalls or is damaged on the way is asked for again. Here belong all
requests that read; what is read for whom is told in ``store.py``.

Why not fsspec or obstore: neither checks the bytes of a ranged read against a recorded checksum.
"""

import hashlib
import zlib
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC
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
from apex_pipeline.storage.os_errors import translating_os_errors
from apex_pipeline.storage.s3.client import S3Connection
from apex_pipeline.storage.s3.errors import body_errors, error_code, s3_errors
from apex_pipeline.storage.s3.retry import retry
from apex_pipeline.storage.s3.upload.checksums import recorded_digest, recorded_sums
from apex_pipeline.storage.streams import RangedReader, VerifiedStream

if TYPE_CHECKING:  # stubs, installed for development only
    from types_boto3_s3.type_defs import GetObjectOutputTypeDef, HeadObjectOutputTypeDef

_Result = TypeVar("_Result")

# A larger object is fetched in pieces, each checked and asked for again by itself, instead of in one reply.
_LARGE_BYTES: Final = 32 * 1024**2


@dataclass(frozen=True)
class RemoteObject:
    """An object as a reply shows it.

    Attributes:
        stored: Its facts.
        sums: Sums of its blocks; ``None`` for an object of somebody else.
        metadata: All that is kept with it.
    """

    stored: ObjectInfo
    sums: BlockChecksums | None
    metadata: Mapping[str, str]

    @property
    def unit(self) -> int:
        """What begins and ends at multiples of this can be checked by itself."""
        return 1 if self.sums is None else self.sums.block_bytes


class S3Reader:
    """Reads objects of one bucket; may be shared by threads.

    Args:
        connection: How to reach the bucket.
        full_key: Gives the key in the bucket of a key in the lake.
        sleep: Waits between two tries.
    """

    def __init__(
        self, connection: S3Connection, full_key: Callable[[str], str], sleep: Callable[[float], None]
    ) -> None:
        self._connection = connection
        self._full_key = full_key
        self._sleep = sleep

    def find(self, key: str) -> RemoteObject:
        """Return an object's facts in one request.

        Raises:
            ObjectMissingError: There is none, or no such bucket: the reply has no body to tell.
            StorePermissionError: It may not be looked up, or the secret is wrong: as above.
        """
        full = self._full_key(key)
        with s3_errors(self._connection.error_context, "Looking up", full):
            return _found(key, self._connection.client.head_object(Bucket=self._connection.bucket, Key=full))

    def read(self, key: str) -> bytes:
        """Return an object, verified."""
        return self._get(key, self._receive_whole)

    def read_head(self, key: str, length: int) -> bytes:
        """Return at most the first :data:`START_BYTES`, which have a sum of their own, in one request."""

        def receive(found: RemoteObject, body: StreamingBody) -> bytes:
            content = body.read()
            if found.sums is not None and zlib.crc32(content) != found.sums.start:
                raise self._damaged(key, "its first bytes have another CRC32 than was recorded")
            return content[:length]

        try:
            return self._get(key, receive, Range=f"bytes=0-{START_BYTES - 1}")
        except ApexError as error:
            if error_code(error) == "InvalidRange":  # an empty object has no first byte
                return b""
            raise

    def read_range(self, found: RemoteObject, start: int, length: int) -> bytes:
        """Return a part of this version of an object, checked if it begins with a block.

        Raises:
            VanishedFileError: The object was replaced or deleted meanwhile.
        """
        stored = found.stored

        def receive(_: RemoteObject, body: StreamingBody) -> bytes:
            content = body.read()
            self._check_part(found, start, length, content)
            return content

        wanted = {"Range": f"bytes={start}-{start + length - 1}", "IfMatch": f'"{stored.tag}"'}
        try:
            return self._get(stored.key, receive, **wanted)
        except ObjectMissingError as error:
            address = self._address(stored.key)
            raise FileChangedError(f"{address} was deleted while it was read.", "Look it up again.") from error

    def save(self, key: str, path: Path) -> None:
        """Write an object to a file, verified; a large one in pieces that are asked for one by one."""

        def receive(found: RemoteObject, body: StreamingBody) -> RemoteObject | bytes:
            return found if found.stored.size > _LARGE_BYTES else self._receive_whole(found, body)

        received = self._get(key, receive)
        if isinstance(received, bytes):
            _write(path, [received])
            return
        with self.stream(received) as stream:
            _write(path, iter(partial(stream.read, BLOCK_BYTES), b""))

    @contextmanager
    def stream(self, found: RemoteObject) -> Generator[BinaryIO]:
        """Give a stream that fetches pieces one after the other and verifies each, and the whole at its end."""
        stored = found.stored

        def verify(digest: str) -> None:
            self._verify(stored, digest)

        with VerifiedStream(partial(self.read_range, found), stored.size, found.unit, verify) as stream:
            yield cast("BinaryIO", stream)

    @contextmanager
    def seekable(self, found: RemoteObject) -> Generator[BinaryIO]:
        """Give a stream that fetches what is read, with the rest of the blocks it lies in."""
        with RangedReader(partial(self.read_range, found), found.stored.size, found.unit) as reader:
            yield cast("BinaryIO", reader)

    def _get(self, key: str, receive: Callable[[RemoteObject, StreamingBody], _Result], **options: str) -> _Result:
        """Return what ``receive`` makes of a reply; ask again if it breaks off or is damaged."""
        full, connection = self._full_key(key), self._connection

        def attempt() -> _Result:
            with s3_errors(connection.error_context, "Reading", full):
                reply = connection.client.get_object(
                    Bucket=connection.bucket, Key=full, **cast("dict[str, Any]", options)
                )
            with closing(reply["Body"]) as body, body_errors(connection.error_context, full):
                return receive(_found(key, reply), body)

        return retry(attempt, self._sleep)

    def _receive_whole(self, found: RemoteObject, body: StreamingBody) -> bytes:
        content = body.read()
        self._verify(found.stored, hashlib.sha256(content).hexdigest())
        return content

    def _check_part(self, found: RemoteObject, start: int, length: int, content: bytes) -> None:
        stored = found.stored
        if len(content) != length:
            problem = f"{self._address(stored.key)} gave {len(content)} of {length} bytes."
            raise StoreInterruptedError(problem, "Run it again.")
        if found.sums is None or start % found.unit:
            return
        at = found.sums.damaged_block(start, content, stored.size)
        if at is not None:
            raise self._damaged(stored.key, f"the block at byte {at:,} has another CRC32 than was recorded")

    def _verify(self, stored: ObjectInfo, digest: str) -> None:
        if stored.sha256 is not None and digest != stored.sha256:
            raise self._damaged(stored.key, f"SHA-256 {stored.sha256[:12]}… was recorded, {digest[:12]}… received")

    def _damaged(self, key: str, how: str) -> StoreCorruptionError:
        return StoreCorruptionError(f"{self._address(key)} is damaged: {how}.", "Write it again from its source.")

    def _address(self, key: str) -> str:
        return f"s3://{self._connection.bucket}/{self._full_key(key)}"


def describe(key: str, size: int, reply: Mapping[str, Any], sha256: str | None = None) -> ObjectInfo:
    """Return an object's facts from a reply, or from an entry of a listing."""
    return ObjectInfo(key, size, reply["LastModified"].astimezone(UTC), reply["ETag"].strip('"'), sha256)


def _found(key: str, reply: "HeadObjectOutputTypeDef | GetObjectOutputTypeDef") -> RemoteObject:
    metadata = reply["Metadata"]
    # The reply to a ranged request tells the size of the whole behind the slash.
    size = int(reply.get("ContentRange", "").rpartition("/")[2] or reply["ContentLength"])
    stored = describe(key, size, reply, recorded_digest(metadata))
    return RemoteObject(stored, recorded_sums(metadata, size), metadata)


def _write(path: Path, blocks: Iterable[bytes]) -> None:
    doing = f"Writing a download to {path}"
    with translating_os_errors(doing):
        file = path.open("wb")
    with file:
        for block in blocks:
            with translating_os_errors(doing):
                file.write(block)
