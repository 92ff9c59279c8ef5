"""How large the parts of an upload are.

Here belong S3's limits and our choice within them; whoever foresees the requests of an upload needs no client for it.
"""

from typing import Final

_MIB: Final = 1024 * 1024
# What boto3 takes too: larger parts are sent no faster, and as many as there are connections are held in memory. What
# is not larger than one part is sent in one request.
PART_BYTES: Final = 8 * _MIB
# S3's limit. Files over 80 GB get larger parts.
MOST_PARTS: Final = 10_000


def part_bytes_of(size: int) -> int:
    """Return how large the parts of a file of this size are: whole MiB, and not more of them than S3 takes."""
    return max(PART_BYTES, -(-size // MOST_PARTS // _MIB) * _MIB)
