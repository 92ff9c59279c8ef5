"""Contains limits that apply to all readers of a store; see ``s3/client.py`` for connection limits."""

from typing import Final

from apex_pipeline.errors import StoreCorruptionError

# Hides latencies of tens of milliseconds, and stays far below the client's 32 connections.
PARALLEL_LOOKUPS: Final = 8


def too_large(address: str, size: int, limit: int | None) -> StoreCorruptionError:
    """Return the error for an object that is larger than its kind can be, so that it is not read into memory.

    Args:
        address: The object's path or URI.
        size: Its size in bytes.
        limit: The largest accepted size in bytes.
    """
    return StoreCorruptionError(
        f"{address} is damaged: it has {size:,} bytes, at most {limit:,} were expected.",
        "Restore it from a backup or recreate it.",
    )
