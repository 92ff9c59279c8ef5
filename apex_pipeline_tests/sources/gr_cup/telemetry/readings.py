"""Writes raw telemetry files and converts them in one call, for several test modules."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from apex_pipeline.sources.base import FileIdentity, FileStatus
from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.sources.gr_cup.telemetry.chunks import TelemetryFile
from apex_pipeline.sources.gr_cup.telemetry.convert import convert_telemetry
from apex_pipeline.sources.gr_cup.telemetry.report import TelemetryReport
from apex_pipeline.sources.limits import DEFAULT_LIMITS, Limits
from apex_pipeline.sources.workspace import Workspace
from apex_pipeline.tables import LAPS
from apex_pipeline.tables.session_key import SessionKey

KEY = SessionKey("test_track", "R1")
CAR = "GR86-002-2"
NAME = "R1_test_telemetry.csv"

# The thirteen columns of the real files, in their order.
COLUMNS = (
    "expire_at",
    "lap",
    "meta_event",
    "meta_session",
    "meta_source",
    "meta_time",
    "original_vehicle_id",
    "outing",
    "telemetry_name",
    "telemetry_value",
    "timestamp",
    "vehicle_id",
    "vehicle_number",
)
# The ten columns of a file whose lines hold lists.
LISTED_COLUMNS = (
    "expire_at",
    "lap",
    "meta_event",
    "meta_session",
    "meta_source",
    "meta_time",
    "outing",
    "timestamp",
    "value",
    "vehicle_id",
)

RACE_START = datetime(2025, 9, 6, 18, 40, tzinfo=UTC)
# The clocks of the real cars are days behind.
CLOCK_BEHIND = timedelta(days=2, seconds=3)

Row = dict[str, str]


def moment(second: float) -> str:
    """Return the time this many seconds into the race, as formatted in the files."""
    return (RACE_START + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def car_moment(second: float) -> str:
    """Return the time that a car's clock shows at that moment."""
    return (RACE_START - CLOCK_BEHIND + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def reading(second: float = 0, channel: str = "speed", value: str = "100.5", **changes: str) -> Row:
    """Return one reading as a row; ``changes`` replaces individual columns."""
    return {
        "lap": "3",
        "meta_event": "I_R06_2025-09-07",
        "meta_session": "R1",
        "meta_source": "kafka:gr-raw",
        "meta_time": moment(second),
        "outing": "0",
        "telemetry_name": channel,
        "telemetry_value": value,
        "timestamp": car_moment(second),
        "vehicle_id": CAR,
    } | changes


def listed(second: float, value: str, **changes: str) -> Row:
    """Return a row whose ``value`` is a list of readings in JSON."""
    return reading(second, **changes) | {"value": value}


def csv_bytes(rows: Iterable[Row], columns: Sequence[str] = COLUMNS, delimiter: str = ",", end: str = "\n") -> bytes:
    """Return rows as CSV with a header; columns missing from a row are left empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", delimiter=delimiter, lineterminator=end)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def telemetry_file(
    path: Path, session: str | None = "R1", source_path: str | None = None, limits: Limits = DEFAULT_LIMITS
) -> TelemetryFile:
    """Wrap a local file for the conversion."""
    identity = FileIdentity(
        path=source_path or path.name,
        size=path.stat().st_size,
        kind=FileKind.TELEMETRY,
        track=KEY.track,
        track_name=None,
        session=session,
        season=None,
        event_code=None,
        version=None,
        rule="test",
        evidence=(),
        confidence=1.0,
        status=FileStatus.READY,
        reason=None,
    )
    return replace(TelemetryFile.from_path(path, identity), limits=limits)


def write_file(
    folder: Path, content: bytes, name: str = NAME, session: str | None = "R1", limits: Limits = DEFAULT_LIMITS
) -> TelemetryFile:
    """Write a raw telemetry file."""
    path = folder / name
    path.write_bytes(content)
    return telemetry_file(path, session, limits=limits)


def laps_table(*laps: tuple[str, int, float, float]) -> pa.Table:
    """Return a table ``laps`` from car, lap number, and the start and end of each lap in seconds into the race."""
    rows = [
        {
            "track": KEY.track,
            "session": KEY.session,
            "vehicle_id": car,
            "chassis": car,
            "lap_number": number,
            "lap_start_utc": RACE_START + timedelta(seconds=start),
            "lap_end_utc": RACE_START + timedelta(seconds=end),
            "is_valid": True,
            "flags": [],
        }
        for car, number, start, end in laps
    ]
    return pa.Table.from_pylist(rows, schema=LAPS.schema)


@dataclass(frozen=True)
class Converted:
    """Report and output of a conversion."""

    report: TelemetryReport
    path: Path

    @property
    def table(self) -> pa.Table:
        """The written table."""
        return pq.ParquetFile(self.path).read()

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The written rows, without null values."""
        return [{name: value for name, value in row.items() if value is not None} for row in self.table.to_pylist()]

    @property
    def refused(self) -> list[str]:
        """What is wrong with each file that was left out."""
        return [file.problem for file in self.report.unreadable]

    @property
    def samples(self) -> list[tuple[int | None, str]]:
        """Line and reason of every reject."""
        return [(reject.line, reject.reason) for reject in self.report.rejects]


def convert(
    folder: Path,
    *files: TelemetryFile,
    laps: pa.Table | None = None,
    metadata: Mapping[str, str] | None = None,
    memory_limit: int = 1_000_000_000,
    limits: Limits = DEFAULT_LIMITS,
) -> Converted:
    """Convert files to ``out.parquet`` in the folder."""
    output = folder / "out.parquet"
    workspace = Workspace(memory_limit, folder / "scratch", limits=limits)
    return Converted(convert_telemetry(KEY, files, laps, output, workspace, metadata), output)


def convert_rows(folder: Path, rows: Iterable[Row], laps: pa.Table | None = None) -> Converted:
    """Write rows to a file and convert it."""
    return convert(folder, write_file(folder, csv_bytes(rows)), laps=laps)
