"""Part sizes of multipart uploads.

Contains S3's limits and the sizes chosen within them; needs no client, so the requests of an upload can be estimated
offline.
"""

from typing import Final

_MIB: Final = 1024 * 1024
# The default of boto3 too. Larger parts are not sent any faster, and one part per connection is held in memory. A file
# of at most this size is sent in one request.
PART_BYTES: Final = 8 * _MIB
# S3's limit. Files over 80 GB use larger parts.
MOST_PARTS: Final = 10_000


def part_bytes_of(size: int) -> int:
    """Return the part size for a file of this size, in bytes: whole MiB, large enough for S3's limit on parts."""
    return max(PART_BYTES, -(-size // MOST_PARTS // _MIB) * _MIB)
