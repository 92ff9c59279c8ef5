"""Contains the asset of the race files in the source folder, which Dagster observes and never materializes.

The data version of a session is a hash of the contents of its files, reported by a sync before it copies them. See
``ingest/source_folder.py`` for scanning the folder.
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
