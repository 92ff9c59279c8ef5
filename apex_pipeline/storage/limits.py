"""Contains limits that apply to all readers of a store; see ``s3/client.py`` for connection limits."""

from typing import Final

# Hides latencies of tens of milliseconds, and stays far below the client's 32 connections.
PARALLEL_LOOKUPS: Final = 8
