"""Computes the metrics of a published snapshot, for people and for monitoring; see prometheus.py for the text format.

They come from the snapshot, the catalog and file metadata; no telemetry is read.
"""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from apex_pipeline.lake.catalog_tables import CatalogTables
from apex_pipeline.lake.objects import table_file_key
from apex_pipeline.lake.published_session import PublishedSession
from apex_pipeline.lake.reconciliation import read_counts
from apex_pipeline.lake.snapshot import Snapshot
from apex_pipeline.lake.tables import session_table
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.limits import PARALLEL_LOOKUPS
from apex_pipeline.storage.request_stats import RequestStats
from apex_pipeline.tables import LAPS, QUALITY, TELEMETRY, is_rejects_table
from apex_pipeline.tables.model import Table


@dataclass(frozen=True)
class Readings:
    """Reconciliation of a session's telemetry readings; ``readings_in`` is the sum of the other three."""

    readings_in: int
    cells_out: int
    exact_duplicates: int
    rejected: int


@dataclass(frozen=True)
class SessionMetrics:
    """Metrics of a published session.

    Attributes:
        track: Track slug.
        session: Session.
        laps: Laps, including invalid ones.
        telemetry_rows: Rows of the table ``telemetry``.
        readings: Readings in and out; ``None`` where the file does not record them.
        rejected_rows: Rows listed in the tables of rejects.
        table_bytes: Size of its tables in bytes.
        quality: Overall score, 0 to 100; ``None`` without one.
    """

    track: str
    session: str
    laps: int
    telemetry_rows: int
    readings: Readings | None
    rejected_rows: int
    table_bytes: int
    quality: float | None


@dataclass(frozen=True)
class LakeMetrics:
    """Metrics of a lake.

    Attributes:
        lake: Address of the lake.
        snapshot: Id of the published snapshot.
        published_utc: Time of publication, timezone-aware.
        files: Number of raw files by status.
        raw_bytes: Size of the raw files in the lake, in bytes.
        sessions: The published sessions.
        traffic: Requests sent to compute these metrics.
    """

    lake: str
    snapshot: str
    published_utc: datetime
    files: dict[str, int]
    raw_bytes: int
    sessions: tuple[SessionMetrics, ...]
    traffic: RequestStats


def measure_lake(store: ObjectStore, snapshot: Snapshot) -> LakeMetrics:
    """Compute the metrics of a published snapshot.

    Raises:
        ObjectMissingError: A published table is missing from the lake.
    """
    files: list[dict[str, Any]] = CatalogTables(snapshot).files.to_pylist()
    with ThreadPoolExecutor(PARALLEL_LOOKUPS) as pool:
        sessions = tuple(pool.map(partial(_measure_session, store), snapshot.sessions))
    return LakeMetrics(
        lake=store.uri,
        snapshot=snapshot.id,
        published_utc=datetime.fromisoformat(snapshot.created_utc),
        files=dict(sorted(Counter(row["status"] for row in files).items())),
        raw_bytes=sum(row["bytes"] for row in files if row["store_tag"] is not None),
        sessions=sessions,
        traffic=store.request_stats,
    )


def _measure_session(store: ObjectStore, record: PublishedSession) -> SessionMetrics:
    return SessionMetrics(
        track=record.track,
        session=record.session,
        laps=_rows(record, LAPS),
        telemetry_rows=_rows(record, TELEMETRY),
        readings=_readings(store, record),
        rejected_rows=sum(table.rows for name, table in record.tables.items() if is_rejects_table(name)),
        table_bytes=sum(table.bytes for table in record.tables.values()),
        quality=_quality(store, record),
    )


def _rows(record: PublishedSession, table: Table) -> int:
    """Return the number of rows of a table, 0 if the session's source has no such table."""
    return record.tables[table.name].rows if table.name in record.tables else 0


def _readings(store: ObjectStore, record: PublishedSession) -> Readings | None:
    if TELEMETRY.name not in record.tables:
        return None
    with store.open_seekable(table_file_key(store, record.tables[TELEMETRY.name])) as stream:
        counts = read_counts(stream)
    return None if counts is None else Readings(**{name: counts[name] for name in Readings.__annotations__})


def _quality(store: ObjectStore, record: PublishedSession) -> float | None:
    if QUALITY.name not in record.tables:
        return None
    rows: list[dict[str, Any]] = session_table(store, record, QUALITY).to_pylist()
    return next((row["score"] for row in rows if (row["scope"], row["measure"]) == ("session", "overall")), None)
