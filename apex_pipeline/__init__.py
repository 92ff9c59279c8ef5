"""Race-data lake: raw race files in, correct lap and telemetry tables out.

The folders follow the data: ``sources`` identifies and parses raw files, ``ingest`` brings them into the lake,
``storage`` stores the bytes, ``orchestration`` runs every step in Dagster, and ``catalog`` is the API that readers use.
Importing this package needs no network, no credentials and no environment variables.
"""

__version__ = "0.1.0"

__all__ = ["__version__"]
