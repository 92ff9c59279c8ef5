"""Checksums sent with uploads, acknowledged by the store, and kept in an object's metadata.

Current stores verify a CRC32 sent with the request and return it: one for each part and one for the entire object. Old
stores (MinIO's front end before 2022, radosgw) do not support CRC32 and refuse or ignore it, some of them only when an
upload is completed; they verify a Content-MD5 and reply with an ETag that is the MD5. The first write shows which
checksum mode a store supports.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any

from apex_pipeline.errors import StoreError, StoreInterruptedError
from apex_pipeline.storage.block_checksums import BlockChecksums, parse_sums


class ChecksumsRefusedError(StoreError):
    """The store accepted the checksums of an upload's parts, but cannot complete the upload with them."""


class ChecksumMode(Enum):
    """Which checksum a store verifies and returns."""

    CRC32 = "crc32"
    CONTENT_MD5 = "md5"


@dataclass(frozen=True)
class RequestBody:
    """The bytes of one request.

    Attributes:
        content: The bytes.
        sum: Their CRC32.
    """

    content: bytes
    sum: int

    @property
    def crc32(self) -> str:
        """CRC32 in the format of S3: base64 of four bytes."""
        return encode_crc32(self.sum)

    @cached_property
    def md5(self) -> bytes:
        """MD5 digest, for stores without CRC32 support."""
        return hashlib.md5(self.content, usedforsecurity=False).digest()

    def checksum_headers(self, mode: ChecksumMode) -> dict[str, Any]:
        """Return the boto3 arguments with the checksum that the store verifies."""
        if mode is ChecksumMode.CRC32:
            return {"ChecksumCRC32": self.crc32}
        return {"ContentMD5": base64.b64encode(self.md5).decode()}

    def check(self, reply: Mapping[str, Any], address: str) -> ChecksumMode:
        """Check that the store received these bytes, and return the checksum mode of its reply.

        Args:
            reply: Reply to the PUT of an object or a part.
            address: Address of the object, for the error message.

        Raises:
            StoreInterruptedError: The acknowledged checksum differs.
        """
        acknowledged = reply.get("ChecksumCRC32")
        if acknowledged is not None:
            mode, is_same = ChecksumMode.CRC32, acknowledged == self.crc32
        else:
            mode, is_same = ChecksumMode.CONTENT_MD5, str(reply["ETag"]).strip('"') == self.md5.hex()
        if not is_same:
            raise StoreInterruptedError(
                f"{address} was damaged in transit: the store received different bytes.", "Run it again."
            )
        return mode

    def matches_part(self, part: Mapping[str, Any]) -> bool:
        """Return whether a part listed by the store contains these bytes."""
        if part["Size"] != len(self.content):
            return False
        listed = part.get("ChecksumCRC32")
        return listed == self.crc32 if listed else str(part["ETag"]).strip('"') == self.md5.hex()


def encode_crc32(crc32: int) -> str:
    """Return a CRC32 in the format of S3: base64 of four bytes, big-endian."""
    return base64.b64encode(crc32.to_bytes(4, "big")).decode()


_DIGEST = "sha256"
_SUMS = "crc32-blocks"
_WRITE_ID = "write-id"


def to_metadata(sha256: str, sums: BlockChecksums) -> dict[str, str]:
    """Return the metadata to store with an object."""
    return {_DIGEST: sha256, _SUMS: sums.to_text()}


def recorded_digest(metadata: Mapping[str, str]) -> str | None:
    """Return the SHA-256 recorded with an object; ``None`` for an object written by another tool."""
    return metadata.get(_DIGEST)


def recorded_sums(metadata: Mapping[str, str], size: int) -> BlockChecksums | None:
    """Return the recorded CRC32s of an object's blocks; ``None`` for an object written by another tool."""
    return parse_sums(metadata.get(_SUMS), size)


def write_id_metadata(write_id: str) -> dict[str, str]:
    """Return the metadata that identifies one write, so that its writer recognizes the object after a lost reply."""
    return {_WRITE_ID: write_id}


def recorded_write_id(metadata: Mapping[str, str]) -> str | None:
    """Return the identifier of the write that made an object; ``None`` if it was not a conditional write."""
    return metadata.get(_WRITE_ID)
