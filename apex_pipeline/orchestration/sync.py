"""The main job: find, copy, identify, derive, check, publish. Only what changed.

Here belongs the order of things and what is told about them. The comparison is ``ingest/diff.py``, the work is done
by the Dagster jobs of ``jobs.py``, executed by ``runner.py``. A sync adds and replaces; it never deletes.
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
    """Something a sync tells about while it works.

    Attributes:
        stage: find, hash, copy, identify, derive or publish.
        message: One line for people.
        session: The session it is about.
        total: Units of work of the stage, given when it begins.
        done: Units finished since the last event.
        unit: What the units are: bytes.
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
    """A session, or the work for all of them, that failed."""

    stage: str
    session: str | None
    problem: str
    run_id: str | None = None


@dataclass
class SyncOutcome:
    """What a sync found and did.

    Attributes:
        source: The source folder.
        lake: Address of the lake.
        statuses: Number of files found per status.
        refused: Path and reason of files that could not even be read.
        copied: Number of files copied, and their bytes.
        replaced: Paths whose content in the lake was another one before.
        derived: Sessions whose tables were made.
        failures: What failed; everything else was done all the same.
        snapshot: Id of what is published now.
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
        """Nothing was copied, derived or published."""
        return not (self.copied or self.derived or self.failures) and self.snapshot is None

    @property
    def exit_code(self) -> int:
        """0 when all is well, 1 when something failed and the rest was done."""
        return ExitCode.SOME_FAILED if self.failures or self.refused else ExitCode.OK


def sync(settings: Settings, listener: SyncListener) -> SyncOutcome:
    """Bring the lake up to date with the source folder.

    Raises:
        SourceError: There is nothing to work on.
        ConfigurationError: A setting is wrong.
        StoreError: The lake cannot be reached with the present configuration.
    """
    source = scan_source(settings)
    store = open_store(settings, for_writing=True)
    store.check_access()
    return _SyncRun(settings, source, store, open_digest_cache(settings), listener).do()


class _SyncRun:
    """One sync, step by step."""

    def __init__(
        self,
        settings: Settings,
        source: IdentifiedFolder,
        store: ObjectStore,
        fingerprints: DigestCache,
        listener: SyncListener,
    ) -> None:
        self._settings = settings
        self._source = source
        self._store = store
        self._fingerprints = fingerprints
        self._report = listener
        self._outcome = SyncOutcome(
            source.folder.root,
            store.uri,
            statuses=Counter(item.status.value for item in source.identities),
            refused=source.folder.refused,
        )

    def do(self) -> SyncOutcome:
        """Compare, and where there is something to do, do it in Dagster runs."""
        self._report(SyncEvent("find", f"{len(self._source.folder.files)} files in {self._source.folder.root}"))
        lake = LakeState.load(self._store)
        found = compare(self._source, lake, self._settings, self._fingerprints)
        if not found.is_catalog_stale and not lake.sessions_to_derive():
            return self._outcome
        from apex_pipeline.orchestration.runner import open_runner  # noqa: PLC0415  -- costs 2 s, and only where there is work

        with open_runner(self._settings) as runner:
            self._copy(runner, found.copies)
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
            SyncEvent(
                "hash", f"{plan.file_count} files to hash, where they are new here", total=plan.bytes, unit="bytes"
            )
        )
        self._report(SyncEvent("copy", f"{plan.file_count} files to copy", total=plan.bytes, unit="bytes"))
        for key, chosen in sorted(plan.by_session.items()):
            size = sum(file.size for file in chosen)
            runner.report_source(key, self._hash(key, size), {"files": len(chosen), "bytes": size})
            with progress_to(
                lambda moved, at=key: self._report(SyncEvent("copy", "", str(at), done=moved, unit="bytes"))
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
        """Return the version of a session's content; files hashed before count as hashed at once."""
        told = 0

        def report(moved: int) -> None:
            nonlocal told
            moved = min(moved, size - told)  # a session may have files that need no copying
            told += moved
            self._report(SyncEvent("hash", "", str(key), done=moved, unit="bytes"))

        version = content_version(self._files_of(key), self._fingerprints, report)
        report(size - told)
        return version

    def _files_of(self, key: SessionKey) -> list[SourceFile]:
        paths = {item.path for item in self._source.identities if session_key_of(item) == key}
        return [file for file in self._source.folder.files if file.path in paths]

    def _refresh_catalog(self, runner: "Runner") -> bool:
        self._report(SyncEvent("identify", "the catalog is made from what lies in the lake"))
        failure = runner.run(CATALOG_JOB)
        if failure:
            self._fail("identify", None, failure.problem, failure.run_id)
        return failure is None

    def _derive(self, runner: "Runner") -> None:
        lake = LakeState.load(self._store)
        due = lake.sessions_to_derive()
        runner.add_sessions(due)
        # A session's work is its telemetry, so its bytes tell best how far it is; one more stands for the rest.
        sources = {key: sources_named(names) for key, names in session_sources(lake.files).items()} if due else {}
        sizes = {key: _work_bytes(lake.files, key, sources[key]) + 1 for key in due}
        total = sum(sizes.values())
        self._report(SyncEvent("derive", f"{len(due)} sessions to derive", total=total, unit="bytes"))
        for key, size in sizes.items():
            self._derive_one(runner, key, session_tables(sources[key]), size)

    def _derive_one(self, runner: "Runner", key: SessionKey, tables: Sequence[Table], size: int) -> None:
        told = 0

        def report(moved: int) -> None:
            nonlocal told
            told += moved
            self._report(SyncEvent("derive", "", str(key), done=moved, unit="bytes"))

        with progress_to(report):
            failure = runner.run(DERIVE_JOB, key, tables)
        if failure:
            self._fail("derive", key, failure.problem, failure.run_id)
        else:
            self._outcome.derived.append(key)
        # What was read once more, or not at all, must not leave the bar behind.
        message = "failed" if failure else "derived"
        self._report(SyncEvent("derive", message, str(key), done=size - told, unit="bytes"))

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
