"""How a store is told what the bytes should be, and how it confirms what it got.

Stores of today check a CRC32 sent along and return it: one for each part, and one for the whole object. Stores of the
old kind (MinIO's front end of before 2022, radosgw) know none, refuse requests with one, or pass over it silently; they
check a Content-MD5 and answer with an ETag that is the MD5. Which kind a store is, shows at the first write.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any

from apex_pipeline.errors import StoreInterruptedError
from apex_pipeline.storage.block_checksums import BlockChecksums, parse_sums

# What stores answer that do not know the request's checksums (411: they want no checksum after the body).
REFUSALS_OF_CHECKSUMS = frozenset({"NotImplemented", "MissingContentLength", "MissingContentMD5", "411"})


class ChecksumMode(Enum):
    """How a store talks about checksums."""

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
        """CRC32 as S3 writes it: base64 of four bytes."""
        return encode_crc32(self.sum)

    @cached_property
    def md5(self) -> bytes:
        """MD5 digest; old stores know nothing better."""
        return hashlib.md5(self.content, usedforsecurity=False).digest()

    def checksum_headers(self, dialect: ChecksumMode) -> dict[str, Any]:
        """Return what is sent along, for the store to check."""
        if dialect is ChecksumMode.CRC32:
            return {"ChecksumCRC32": self.crc32}
        return {"ContentMD5": base64.b64encode(self.md5).decode()}

    def check(self, reply: Mapping[str, Any], address: str) -> ChecksumMode:
        """Make sure that the store got these bytes, and return how it says so.

        Args:
            reply: Its answer to a PUT of an object or a part.
            address: Of the object, for the error.

        Raises:
            StoreInterruptedError: It confirms other bytes.
        """
        confirmed = reply.get("ChecksumCRC32")
        if confirmed is not None:
            dialect, is_same = ChecksumMode.CRC32, confirmed == self.crc32
        else:
            dialect, is_same = ChecksumMode.CONTENT_MD5, str(reply["ETag"]).strip('"') == self.md5.hex()
        if not is_same:
            raise StoreInterruptedError(
                f"{address} was damaged on the way: the store confirms other bytes than were sent.", "Run it again."
            )
        return dialect

    def matches_part(self, part: Mapping[str, Any]) -> bool:
        """Tell whether a part that the store lists holds these bytes."""
        if part["Size"] != len(self.content):
            return False
        listed = part.get("ChecksumCRC32")
        return listed == self.crc32 if listed else str(part["ETag"]).strip('"') == self.md5.hex()


def encode_crc32(crc32: int) -> str:
    """Return a CRC32 as S3 writes it."""
    return base64.b64encode(crc32.to_bytes(4, "big")).decode()


_DIGEST = "sha256"
_SUMS = "crc32-blocks"


def to_metadata(sha256: str, sums: BlockChecksums) -> dict[str, str]:
    """Return the metadata of an object."""
    return {_DIGEST: sha256, _SUMS: sums.to_text()}


def recorded_digest(metadata: Mapping[str, str]) -> str | None:
    """Return the SHA-256 an object was written with; ``None`` for an object of somebody else."""
    return metadata.get(_DIGEST)


def recorded_sums(metadata: Mapping[str, str], size: int) -> BlockChecksums | None:
    """Return the sums of an object's blocks; ``None`` for an object of somebody else."""
    return parse_sums(metadata.get(_SUMS), size)
