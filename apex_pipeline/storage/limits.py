"""Contains limits shared by everything that reads a store; see ``s3/client.py`` for those of a connection."""

from typing import Final

# Enough to hide a store's latency of tens of milliseconds; far below the client's 32 connections.
PARALLEL_LOOKUPS: Final = 8
