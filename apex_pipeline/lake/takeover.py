"""Takes over what a lake of format 1 has published: its tables become objects, and nothing is derived again."""

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

from apex_pipeline.errors import ObjectMissingError
from apex_pipeline.lake.objects import read_table_file, table_file_key
from apex_pipeline.lake.published_session import PublishedSession, TableRecord
from apex_pipeline.lake.records import RecordedFile
from apex_pipeline.lake.snapshot import Snapshot
from apex_pipeline.sources import all_sources
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import object_key, snapshot_table_key
from apex_pipeline.storage.limits import PARALLEL_LOOKUPS
from apex_pipeline.tables import FILES
from apex_pipeline.tables.session_key import SessionKey


def take_over(store: ObjectStore, old: Snapshot) -> list[PublishedSession]:
    """Return the published sessions of a snapshot of format 1 after copying their tables to objects.

    A table whose content is gone keeps its record: reading it fails with the next step, and a sync derives it again.
    """
    files = _recorded_files(store, old)
    sessions = [
        replace(
            session,
            sources=session.sources or (all_sources()[0].name,),
            tables=dict(sorted(session.tables.items())),
            files=tuple(files[session.key]),
        )
        for session in old.sessions
    ]
    tables = [table for session in sessions for table in session.tables.values()]
    with ThreadPoolExecutor(PARALLEL_LOOKUPS) as pool:
        list(pool.map(lambda table: _copy_to_object(store, table), tables))
    return sessions


def _copy_to_object(store: ObjectStore, table: TableRecord) -> None:
    with suppress(ObjectMissingError):
        found = table_file_key(store, table)
        if found != object_key(table.sha256):
            store.copy(found, object_key(table.sha256))


def _recorded_files(store: ObjectStore, old: Snapshot) -> defaultdict[SessionKey, list[RecordedFile]]:
    """Return the files of each session, from the snapshot's own copy of the table ``files``."""
    files: defaultdict[SessionKey, list[RecordedFile]] = defaultdict(list)
    record = old.catalog.get(FILES.name)
    if record is not None:
        with suppress(ObjectMissingError):
            kept = replace(record, key=snapshot_table_key(old.id, FILES.name))
            for row in read_table_file(store, kept).to_pylist():
                file = RecordedFile.from_row(row)
                if file.track and file.session and file.tag is not None:
                    files[SessionKey(file.track, file.session)].append(file)
    return files
