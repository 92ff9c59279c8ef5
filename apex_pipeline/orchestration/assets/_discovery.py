"""Finds sessions on behalf of a step or job, and adds the sessions it finds as partitions.

A sync hands its discovery over, so these functions look at the lake and the source folder only in runs that were
started in Dagster's UI or on another machine.
"""

from collections.abc import Generator
from contextlib import contextmanager

import dagster as dg

from apex_pipeline.ingest.discover import Discovery, discover
from apex_pipeline.ingest.session_work import (
    SessionWork,
    UnassignedWork,
    handed_over_unassigned_work,
    handed_over_work,
    session_lease,
    unassigned_work_of,
    work_of,
)
from apex_pipeline.ingest.sync_plan import has_race_files
from apex_pipeline.orchestration.partitions import add_sessions, session_key_from
from apex_pipeline.orchestration.resources import LakeResource, SourceResource
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import record_key
from apex_pipeline.storage.leases import Holder, Lease
from apex_pipeline.tables.session_key import SessionKey


def discover_sessions(instance: dg.DagsterInstance, lake: LakeResource, source: SourceResource) -> Discovery:
    """Look at the lake and, if a usable one is here, the source folder, and add the sessions found as partitions.

    Raises:
        SourceError: A file of the source folder cannot be read.
    """
    folder = source.scan()
    found = discover(lake.open(), source.settings, folder, lake.digest_cache)
    if folder is not None and not has_race_files(folder, found):
        # Another folder by mistake, whose files must not be copied; the sensor goes on without it as well.
        found = discover(lake.open(), source.settings, None, lake.digest_cache)
    add_sessions(instance, found.sessions)
    return found


@contextmanager
def leased_work(
    context: dg.AssetExecutionContext, lake: LakeResource, source: SourceResource, doing: str
) -> Generator[tuple[SessionWork, Lease]]:
    """Provide the work on the session of a step, as a sync handed it over or as a discovery finds it, and its lease.

    Args:
        context: The step.
        lake: The lake.
        source: The source folder.
        doing: What the step does, for the messages of other processes.

    Raises:
        ConfigurationError: The partition is not a session key.
        SourceError: No file of the session was found; nothing was written.
        StoreLockedError: Another process works on the session for too long.
    """
    key, store = session_key_from(context), lake.open()
    handed_over = handed_over_work(key)
    if handed_over is not None:
        with leased(context, store, key, doing) as lease:
            yield handed_over, lease
        return
    recorded = store.head(record_key(str(key)))
    work = work_of(key, discover_sessions(context.instance, lake, source))
    with leased(context, store, key, doing) as lease:
        # Another process may have worked on the session in the meantime.
        is_current = store.head(record_key(str(key))) == recorded
        yield work if is_current else work_of(key, discover_sessions(context.instance, lake, source)), lease


@contextmanager
def leased(context: dg.AssetExecutionContext, store: ObjectStore, key: SessionKey, doing: str) -> Generator[Lease]:
    """Hold the session's lease within the block; a sync that executes the step holds it already.

    The block must call ``require`` of the lease before it writes what others can see.

    Raises:
        StoreLockedError: Another process works on the session for too long.
    """

    def report(holder: Holder) -> None:
        context.log.info("%s is being worked on by %s; waiting for it.", key, holder)

    with session_lease(store, key, doing, report) as lease:
        yield lease


def find_unassigned(instance: dg.DagsterInstance, lake: LakeResource, source: SourceResource) -> UnassignedWork:
    """Return the work on the files without a session, as a sync handed it over or as a discovery finds it.

    Raises:
        SourceError: A file of the source folder cannot be read.
    """
    return handed_over_unassigned_work() or unassigned_work_of(discover_sessions(instance, lake, source))
