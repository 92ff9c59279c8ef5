"""Syncs a source folder into the lake: find, copy, identify, derive, check and publish what changed.

Defines the order of the steps and their progress events. See ``ingest/diff.py`` for the comparison, ``jobs.py`` for
the Dagster jobs and ``runner.py`` for their execution. A sync adds and replaces objects; it never deletes any.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from apex_pipeline.exit_codes import ExitCode
from apex_pipeline.ingest.catalog import session_files, session_sources
from apex_pipeline.ingest.copy import content_version
from apex_pipeline.ingest.diff import IdentifiedFolder, LakeState, compare, scan_source
from apex_pipeline.ingest.plan import CopyPlan, session_key_of
from apex_pipeline.ingest.source_folder import SourceFile
from apex_pipeline.lake.snapshot import read_current
from apex_pipeline.orchestration.job_names import CATALOG_JOB, COPY_JOB, DERIVE_JOB, PUBLISH_JOB
from apex_pipeline.progress import progress_to
from apex_pipeline.settings import Settings
from apex_pipeline.sources import session_tables, sources_named
from apex_pipeline.sources.base import Source
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.factory import open_digest_cache, open_store
from apex_pipeline.tables.model import Table
from apex_pipeline.tables.session_key import SessionKey

if TYPE_CHECKING:
    from apex_pipeline.orchestration.runner import Runner


@dataclass(frozen=True)
class SyncEvent:
    """A progress event of a sync.

    Attributes:
        stage: One of find, hash, copy, identify, derive and publish.
        message: One line for people; empty if the event only reports ``done``.
        session: The session it belongs to, if any.
        total: Total work in the stage, given when the stage starts.
        done: Work completed since the last event.
        unit: Unit of ``total`` and ``done``: bytes.
    """

    stage: str
    message: str
    session: str | None = None
    total: int | None = None
    done: int = 0
    unit: str = ""


SyncListener = Callable[[SyncEvent], None]


@dataclass(frozen=True)
class Failure:
    """A failed stage of one session, or of all sessions if ``session`` is ``None``."""

    stage: str
    session: str | None
    problem: str
    run_id: str | None = None


@dataclass
class SyncOutcome:
    """The outcome of a sync.

    Attributes:
        source: The source folder.
        lake: URI of the lake.
        statuses: Number of files found, by status.
        refused: Path and reason of each file that could not be read.
        copied: Number of files copied.
        copied_bytes: Their total size.
        replaced: Paths of copied files that replaced different content in the lake.
        derived: Sessions whose tables were derived.
        failures: Failed sessions and stages; the others were completed.
        snapshot: Id of the snapshot published by this sync, if any.
    """

    source: Path
    lake: str
    statuses: Counter[str] = field(default_factory=Counter[str])
    refused: tuple[tuple[str, str], ...] = ()
    copied: int = 0
    copied_bytes: int = 0
    replaced: tuple[str, ...] = ()
    derived: list[SessionKey] = field(default_factory=list[SessionKey])
    failures: list[Failure] = field(default_factory=list[Failure])
    snapshot: str | None = None

    @property
    def is_unchanged(self) -> bool:
        """Whether nothing was copied, derived or published."""
        return not (self.copied or self.derived or self.failures) and self.snapshot is None

    @property
    def exit_code(self) -> int:
        """0 if everything succeeded, 1 if something failed and the rest completed."""
        return ExitCode.SOME_FAILED if self.failures or self.refused else ExitCode.OK


def sync(settings: Settings, listener: SyncListener) -> SyncOutcome:
    """Bring the lake up to date with the source folder.

    Raises:
        SourceError: The source folder is missing or empty, or contains no race data.
        ConfigurationError: A setting is wrong.
        StoreError: The lake cannot be reached with the current configuration.
    """
    source = scan_source(settings)
    store = open_store(settings, for_writing=True)
    store.check_access()
    return _SyncRun(settings, source, store, open_digest_cache(settings), listener).run()


class _SyncRun:
    """One sync, step by step."""

    def __init__(
        self,
        settings: Settings,
        source: IdentifiedFolder,
        store: ObjectStore,
        digest_cache: DigestCache,
        listener: SyncListener,
    ) -> None:
        self._settings = settings
        self._source = source
        self._store = store
        self._digest_cache = digest_cache
        self._report = listener
        self._outcome = SyncOutcome(
            source.folder.root,
            store.uri,
            statuses=Counter(item.status.value for item in source.identities),
            refused=source.folder.refused,
        )

    def run(self) -> SyncOutcome:
        """Compare the source folder with the lake and, if there is work to do, execute it as Dagster runs."""
        self._report(SyncEvent("find", f"{len(self._source.folder.files)} files in {self._source.folder.root}"))
        lake = LakeState.load(self._store)
        diff = compare(self._source, lake, self._settings, self._digest_cache)
        if not diff.is_catalog_stale and not lake.sessions_to_derive():
            return self._outcome
        from apex_pipeline.orchestration.runner import open_runner  # noqa: PLC0415  -- takes 2 s: only if there is work

        with open_runner(self._settings) as runner:
            self._copy(runner, diff.copies)
            if not self._refresh_catalog(runner):
                return self._outcome
            self._derive(runner)
            self._publish(runner)
        return self._outcome

    def _copy(self, runner: "Runner", plan: CopyPlan) -> None:
        runner.add_sessions(key for key in map(session_key_of, self._source.identities) if key)
        if not plan.file_count:
            return
        self._outcome.replaced = plan.replaced
        self._report(
            SyncEvent("hash", f"{plan.file_count} files to hash, unless cached", total=plan.bytes, unit="bytes")
        )
        self._report(SyncEvent("copy", f"{plan.file_count} files to copy", total=plan.bytes, unit="bytes"))
        for key, chosen in sorted(plan.by_session.items()):
            size = sum(file.size for file in chosen)
            runner.report_source(key, self._hash(key, size), {"files": len(chosen), "bytes": size})
            with progress_to(
                lambda moved, key=key: self._report(SyncEvent("copy", "", str(key), done=moved, unit="bytes"))
            ):
                failure = runner.run(COPY_JOB, key)
            if failure:
                self._fail("copy", key, failure.problem, failure.run_id)
                continue
            self._outcome.copied += len(chosen)
            self._outcome.copied_bytes += size
            self._report(SyncEvent("copy", f"{len(chosen)} files, {size:,} bytes", str(key)))
        self._outcome.copied += len(plan.without_session)
        self._outcome.copied_bytes += sum(file.size for file in plan.without_session)

    def _hash(self, key: SessionKey, size: int) -> str:
        """Return the content version of a session; progress for files in the digest cache is reported at the end."""
        reported = 0

        def report(moved: int) -> None:
            nonlocal reported
            moved = min(moved, size - reported)  # a session may also include files that need no copying
            reported += moved
            self._report(SyncEvent("hash", "", str(key), done=moved, unit="bytes"))

        version = content_version(self._files_of(key), self._digest_cache, report)
        report(size - reported)
        return version

    def _files_of(self, key: SessionKey) -> list[SourceFile]:
        paths = {item.path for item in self._source.identities if session_key_of(item) == key}
        return [file for file in self._source.folder.files if file.path in paths]

    def _refresh_catalog(self, runner: "Runner") -> bool:
        self._report(SyncEvent("identify", "rebuilding the catalog from the files in the lake"))
        failure = runner.run(CATALOG_JOB)
        if failure:
            self._fail("identify", None, failure.problem, failure.run_id)
        return failure is None

    def _derive(self, runner: "Runner") -> None:
        lake = LakeState.load(self._store)
        due = lake.sessions_to_derive()
        runner.add_sessions(due)
        # Telemetry is most of a session's work, so progress is measured in bytes of telemetry. One extra byte
        # represents the rest, so a session without telemetry also counts.
        sources = {key: sources_named(names) for key, names in session_sources(lake.files).items()} if due else {}
        sizes = {key: _work_bytes(lake.files, key, sources[key]) + 1 for key in due}
        total = sum(sizes.values())
        self._report(SyncEvent("derive", f"{len(due)} sessions to derive", total=total, unit="bytes"))
        for key, size in sizes.items():
            self._derive_one(runner, key, session_tables(sources[key]), size)

    def _derive_one(self, runner: "Runner", key: SessionKey, tables: Sequence[Table], size: int) -> None:
        reported = 0

        def report(moved: int) -> None:
            nonlocal reported
            reported += moved
            self._report(SyncEvent("derive", "", str(key), done=moved, unit="bytes"))

        with progress_to(report):
            failure = runner.run(DERIVE_JOB, key, tables)
        if failure:
            self._fail("derive", key, failure.problem, failure.run_id)
        else:
            self._outcome.derived.append(key)
        # Some bytes may have been read twice or not at all: the last event corrects the progress bar.
        message = "failed" if failure else "derived"
        self._report(SyncEvent("derive", message, str(key), done=size - reported, unit="bytes"))

    def _publish(self, runner: "Runner") -> None:
        failure = runner.run(PUBLISH_JOB)
        if failure:
            self._fail("publish", None, failure.problem, failure.run_id)
            return
        snapshot = read_current(self._store)
        self._outcome.snapshot = snapshot.id if snapshot else None
        self._report(SyncEvent("publish", f"snapshot {self._outcome.snapshot}"))

    def _fail(self, stage: str, key: SessionKey | None, problem: str, run_id: str) -> None:
        self._outcome.failures.append(Failure(stage, str(key) if key else None, problem, run_id))
        self._report(SyncEvent(stage, f"failed: {problem}", str(key) if key else None))


def _work_bytes(files: pa.Table, key: SessionKey, sources: Iterable[Source]) -> int:
    return sum(source.work_bytes(session_files(files, key, source.name)) for source in sources)
