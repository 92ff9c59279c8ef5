"""Looks at source and lake, and makes the plan of a sync: for a sensor within the time of a tick, or for a job.

Unlike a sync, both go on without a usable source folder: it may be on another machine, or have no file yet. A folder of
this machine is not used if runs are executed on others, which would refuse it.
"""

import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg

from apex_pipeline.errors import SourceError
from apex_pipeline.ingest.scan import scan_source
from apex_pipeline.ingest.source_files import SourceListing
from apex_pipeline.ingest.sync_plan import SyncPlan, empty_lake, list_lake_if_exists, plan_sync
from apex_pipeline.orchestration.places import runs_elsewhere
from apex_pipeline.progress import Progress
from apex_pipeline.settings import Settings
from apex_pipeline.storage.digest_cache import DigestCache, FileDigest
from apex_pipeline.storage.factory import digest_cache_path, open_digest_cache, open_store

# Dagster ends a tick after 60 s. Hashing stops early enough for one more file of 4 GB and the rest of the tick.
_HASHING_S = 25.0


class TimeIsUpError(Exception):
    """The tick has no time left to hash another file; the next one finds the digests of this one in the cache."""


class _TimedDigestCache(DigestCache):
    """The digest cache of this machine, which starts to hash no other file after a while."""

    def __init__(self, database: Path) -> None:
        super().__init__(database)
        self._end_s = time.monotonic() + _HASHING_S

    def sha256_of(self, path: Path, progress: Progress | None = None) -> str:
        self._require_time()
        return super().sha256_of(path, progress)

    def digest_of(self, path: Path, progress: Progress | None = None) -> FileDigest:
        self._require_time()
        return super().digest_of(path, progress)

    def object_digest(self, uri: str, version: str, size: int, compute: Callable[[], str]) -> str:
        self._require_time()
        return super().object_digest(uri, version, size, compute)

    def _require_time(self) -> None:
        if time.monotonic() > self._end_s:
            raise TimeIsUpError("Comparing the contents of files takes longer; the next tick goes on from here.")


def plan_for_tick(settings: Settings, instance: dg.DagsterInstance) -> tuple[SyncPlan, str]:
    """Return what a sync would do, and what is wrong with the source folder; empty if nothing is.

    Raises:
        StoreError: The lake cannot be reached with the current configuration.
        StoreCorruptionError: What is published is damaged.
        FileChangedError: A file was deleted in the meantime.
        TimeIsUpError: More contents have to be compared than one tick has time for.
    """
    return _plan(settings, instance, _TimedDigestCache(digest_cache_path(settings.state_dir)))


def plan_for_job(settings: Settings, instance: dg.DagsterInstance) -> tuple[SyncPlan, str]:
    """Return the same without a limit of time; a job has no next tick that would go on.

    Raises:
        StoreError: As for :func:`plan_for_tick`, also in the following.
        StoreCorruptionError: What is published is damaged.
        FileChangedError: A file was deleted in the meantime.
    """
    return _plan(settings, instance, open_digest_cache(settings))


def _plan(settings: Settings, instance: dg.DagsterInstance, digests: DigestCache) -> tuple[SyncPlan, str]:
    folder, problem = _source(settings, instance)
    store = open_store(settings, for_writing=False)
    listing = list_lake_if_exists(store)
    lake = store if listing is not None else empty_lake(settings)
    try:
        return plan_sync(lake, settings, folder, digests, listing or {}), problem
    except SourceError as error:
        if folder is None:
            raise
        return plan_sync(lake, settings, None, digests, listing or {}), str(error)


def _source(settings: Settings, instance: dg.DagsterInstance) -> tuple[SourceListing | None, str]:
    if settings.source_uri is None and runs_elsewhere(instance):
        return None, f"The source folder {settings.source_dir} is not used: runs are executed on other machines."
    try:
        return scan_source(settings), ""
    except SourceError as error:
        return None, str(error)
