"""What is kept with every object beside its bytes: their digest and the sums of their blocks.

Here belong the names in the object's metadata, for the one who writes and the one who reads.
"""

from collections.abc import Mapping

from apex_pipeline.storage.block_sums import BlockChecksums, parse_sums

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


__all__ = ["recorded_digest", "recorded_sums", "to_metadata"]
