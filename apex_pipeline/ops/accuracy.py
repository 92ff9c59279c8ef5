"""How right the laps of a lake are: every session's laps derived twice, with official timing and without.

Here belongs getting the inputs out of the lake. The comparison with official timing is ``sources/gr_cup/truth.py``.
"""

from apex_pipeline.lake.catalog_tables import session_files
from apex_pipeline.lake.published import read_published, session_table
from apex_pipeline.lake.session_tables import LAP_KINDS, make_laps
from apex_pipeline.lake.snapshot import SessionRecord, Snapshot
from apex_pipeline.schemas import OFFICIAL_LAPS
from apex_pipeline.sources.gr_cup.naming_rules import NamingRules
from apex_pipeline.sources.gr_cup.telemetry.workspace import Workspace
from apex_pipeline.sources.gr_cup.truth import TruthReport, compare_with_official
from apex_pipeline.storage.contract import ObjectStore


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


__all__ = ["report_truth"]
