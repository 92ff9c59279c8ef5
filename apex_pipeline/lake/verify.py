"""Whether a lake holds what it says, and how right its laps are.

Here belongs looking into the store: every raw object against the catalog, every table against its schema, and the laps
derived twice. The comparison with official timing is ``sources/gr_cup/truth.py``.
"""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from apex_pipeline.errors import ApexError
from apex_pipeline.lake.catalog_tables import session_files
from apex_pipeline.lake.published import published_key, read_published, session_table
from apex_pipeline.lake.session_tables import LAP_KINDS, make_laps
from apex_pipeline.lake.snapshot import SessionRecord, Snapshot
from apex_pipeline.schemas import OFFICIAL_LAPS, SESSION_TABLES, TELEMETRY
from apex_pipeline.sources.gr_cup.naming_rules import NamingRules
from apex_pipeline.sources.gr_cup.telemetry.workspace import Workspace
from apex_pipeline.sources.gr_cup.truth import TruthReport, compare_with_official
from apex_pipeline.storage.contract import ObjectStore
from apex_pipeline.storage.layout import raw_key
from apex_pipeline.table_model import Table

# Its own blocking check reads it while it is made; reading gigabytes back is no quick look.
_TOO_LARGE_TO_READ = (TELEMETRY,)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: Session, or raw file.
        problem: What is wrong, ``None`` if it is as it should be.
    """

    what: str
    problem: str | None


def verify_lake(store: ObjectStore, snapshot: Snapshot) -> list[Finding]:
    """Look at every raw file and every table of every published session.

    Sizes and digests are those the store tells; the bytes of raw files and of telemetry are not read.

    Args:
        store: The lake.
        snapshot: What is published.
    """
    raw_files = read_published(store, snapshot.catalog["files"]).to_pylist()
    # Files without a store tag were seen in a source folder and never copied.
    looked_at = [_raw_file(store, row) for row in raw_files if row["store_tag"] is not None]
    return [*looked_at, *(_session(store, record) for record in snapshot.sessions)]


def _raw_file(store: ObjectStore, row: dict[str, Any]) -> Finding:
    facts = store.head(raw_key(row["path"]))
    problem = None
    if facts is None:
        problem = "is gone from the lake"
    elif facts.size != row["bytes"]:
        problem = f"has {facts.size:,} bytes, the catalog says {row['bytes']:,}"
    elif row["sha256"] and facts.sha256 and facts.sha256 != row["sha256"]:
        problem = "has another SHA-256 than the catalog says"
    return Finding(row["path"], problem)


def _session(store: ObjectStore, session: SessionRecord) -> Finding:
    problems = [problem for table in SESSION_TABLES for problem in _table_problems(store, session, table)]
    return Finding(str(session.key), "; ".join(problems) or None)


def _table_problems(store: ObjectStore, session: SessionRecord, table: Table) -> list[str]:
    record = session.tables.get(table.name)
    if record is None:
        return [f"{table.name} is missing"]
    try:
        if table in _TOO_LARGE_TO_READ:
            published_key(store, record)
            return []
        return [f"{table.name}: {violation}" for violation in table.violations(read_published(store, record))]
    except (ApexError, pa.ArrowInvalid) as error:
        return [f"{table.name}: {error}"]


def report_truth(
    store: ObjectStore, snapshot: Snapshot, session: SessionRecord, rules: NamingRules, workspace: Workspace
) -> TruthReport | None:
    """Derive a session's laps with official timing and without, and compare.

    Args:
        store: The lake.
        snapshot: What is published.
        session: The session, of that snapshot.
        rules: For the zone of its track.
        workspace: Memory and scratch, for the look into telemetry.

    Returns:
        The report, ``None`` for a session without lap files or without official laps.

    Raises:
        ObjectMissingError: A published table or a raw file is not in the lake any more.
        MalformedFileError: A lap file lacks a column it cannot do without.
    """
    key, official = session.key, session_table(store, session, OFFICIAL_LAPS)
    ours = session_files(read_published(store, snapshot.catalog["files"]), key)
    if not official.num_rows or not any(file.kind in LAP_KINDS for file in ours):
        return None
    zone = rules.zone_of(key.track)
    hidden = make_laps(store, key, ours, None, zone, workspace)
    derived = make_laps(store, key, ours, official, zone, workspace)
    return compare_with_official(hidden.laps, derived.laps, derived.cars, official)


__all__ = ["Finding", "report_truth", "verify_lake"]
