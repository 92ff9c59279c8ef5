"""Contains the accuracy of a lake's laps: a session's laps are derived with and without official timing and compared.

See sources/gr_cup/truth.py for the comparison.
"""

from apex_pipeline.lake.catalog_tables import session_files
from apex_pipeline.lake.published import read_published, session_table
from apex_pipeline.lake.session_tables import LAP_KINDS, make_laps
from apex_pipeline.lake.snapshot import SessionRecord, Snapshot
from apex_pipeline.schemas import OFFICIAL_LAPS
from apex_pipeline.sources.gr_cup.naming_rules import NamingRules
from apex_pipeline.sources.gr_cup.telemetry.workspace import Workspace
from apex_pipeline.sources.gr_cup.truth import AccuracyReport, compare_with_official
from apex_pipeline.storage.contract import ObjectStore


def measure_session(
    store: ObjectStore, snapshot: Snapshot, session: SessionRecord, rules: NamingRules, workspace: Workspace
) -> AccuracyReport | None:
    """Derive a session's laps with and without official timing, and compare both with official timing.

    Args:
        store: The lake.
        snapshot: The snapshot.
        session: A session of that snapshot.
        rules: Naming rules, for the time zone of the track.
        workspace: Memory limit and scratch folder for reading telemetry.

    Returns:
        The report, ``None`` for a session without lap files or without official laps.

    Raises:
        ObjectMissingError: A published table or a raw file is missing from the lake.
        MalformedFileError: A lap file lacks a required column.
    """
    key, official = session.key, session_table(store, session, OFFICIAL_LAPS)
    ours = session_files(read_published(store, snapshot.catalog["files"]), key)
    if not official.num_rows or not any(file.kind in LAP_KINDS for file in ours):
        return None
    zone = rules.zone_of(key.track)
    blind = make_laps(store, key, ours, None, zone, workspace)
    derived = make_laps(store, key, ours, official, zone, workspace)
    return compare_with_official(blind.laps, derived.laps, derived.cars, official)
