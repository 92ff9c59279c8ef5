"""Station 1: the race files as they lie in the source folder. Observed, never made here.

The data version of a session is the fingerprint of its files' contents, reported by a sync before it copies. Here
belongs the description of the asset only; looking at the folder is ``ingest/source_folder.py``.
"""

import dagster as dg

from apex_pipeline.orchestration.partitions import sessions

raw_files = dg.AssetSpec(
    key=["raw", "files"],
    group_name="raw",
    description="Race files of one session in the source folder: lap triggers, telemetry, official timing.",
    partitions_def=sessions,
    kinds={"csv"},
)
