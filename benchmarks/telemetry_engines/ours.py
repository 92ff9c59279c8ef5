"""Runs our engine as for a session of the lake, including checks, counts and clock corrections, but without laps.

Run as ``python -m telemetry_engines.ours SOURCE OUTPUT``; the counts needed for the comparison are printed as JSON.
"""

import csv
import json
import sys
import tempfile
from pathlib import Path

from apex_pipeline.sources.base import FileIdentity, FileStatus
from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.sources.gr_cup.telemetry.chunks import TelemetryFile
from apex_pipeline.sources.gr_cup.telemetry.convert import convert_telemetry
from apex_pipeline.sources.workspace import Workspace
from apex_pipeline.tables.session_key import SessionKey

# The default of APEX_MEMORY_LIMIT.
_MEMORY_LIMIT = 1_000_000_000
_TRACK = "benchmark"


def convert(source: Path, output: Path) -> dict[str, object]:
    """Write the wide Parquet of a telemetry file.

    Returns:
        The counts, and the cars with frozen clocks (their rows have receive times, unlike in the other engines).
    """
    identity = _identity(source)
    key = SessionKey(_TRACK, str(identity.session))
    with tempfile.TemporaryDirectory(dir=output.parent) as scratch:
        workspace = Workspace(_MEMORY_LIMIT, Path(scratch))
        report = convert_telemetry(key, [TelemetryFile.from_path(source, identity)], None, output, workspace)
    return {
        "readings": report.counts.readings_in,
        "exact_duplicates": report.counts.exact_duplicates,
        "repeat_rows": report.counts.repeat_rows,
        "rejected": report.counts.rejected,
        "frozen_cars": [clock.vehicle_id for clock in report.clocks if clock.is_frozen],
    }


def _identity(source: Path) -> FileIdentity:
    """Return the identity of the file, with the session of its first reading."""
    with source.open(encoding="utf-8", newline="") as stream:
        first = next(csv.DictReader(stream))
    return FileIdentity(
        path=source.name,
        size=source.stat().st_size,
        kind=FileKind.TELEMETRY,
        track=_TRACK,
        track_name=None,
        session=first["meta_session"],
        season=None,
        event_code=first["meta_event"],
        version=None,
        rule="benchmark",
        evidence=(),
        confidence=1.0,
        status=FileStatus.READY,
        reason=None,
    )


if __name__ == "__main__":
    print(json.dumps(convert(*map(Path, sys.argv[1:]))))
