"""Measures the accuracy of a published session's laps, using its source's comparison with official timing."""

from apex_pipeline.lake.catalog_tables import session_files
from apex_pipeline.lake.published_session import PublishedSession
from apex_pipeline.lake.raw_files import raw_file_opener
from apex_pipeline.lake.records import identities_of
from apex_pipeline.lake.snapshot import Snapshot
from apex_pipeline.lake.tables import session_table
from apex_pipeline.settings import Settings
from apex_pipeline.sources import sources_named
from apex_pipeline.sources.accuracy import AccuracyReport
from apex_pipeline.sources.base import tables_of
from apex_pipeline.sources.workspace import Workspace
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.tables import OFFICIAL_LAPS


def measure_session(
    store: ObjectStore, snapshot: Snapshot, session: PublishedSession, settings: Settings, workspace: Workspace
) -> AccuracyReport | None:
    """Derive a session's laps with and without official timing, and compare them.

    Args:
        store: The lake.
        snapshot: The published snapshot.
        session: A session of that snapshot.
        settings: Names the file with the user's own rules, which may set the time zone of a track.
        workspace: Memory and temporary disk space for reading telemetry.

    Returns:
        The report, ``None`` for a session without lap files or without official laps.

    Raises:
        ObjectMissingError: A published table or a raw file is no longer in the lake.
        MalformedFileError: A lap file lacks a required column.
    """
    if OFFICIAL_LAPS.name not in session.tables:
        return None
    source = next(source for source in sources_named(session.sources) if OFFICIAL_LAPS in tables_of(source))
    files = identities_of(session_files(snapshot, session), source.name)
    official_laps = session_table(store, session, OFFICIAL_LAPS)
    rules = source.load_rules(settings)
    return source.measure_accuracy(session.key, files, official_laps, raw_file_opener(store), workspace, rules)
