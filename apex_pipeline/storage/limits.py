"""Contains limits for all readers of a store; see ``s3/client.py`` for those of a connection."""

from typing import Final

# Enough to hide a latency of tens of milliseconds, and far below the client's 32 connections.
PARALLEL_LOOKUPS: Final = 8
