"""Syncs a source folder into the lake: find, copy, identify, derive, check and publish what changed.

Defines the order of the steps and their progress events. Every session is worked on by itself, under its lease, and
published as soon as it is finished; the roll-ups come last. See ``ingest/sync_plan.py`` for the decision what is due,
``jobs.py`` for the Dagster jobs and ``runner.py`` for their execution. ``command_sync.py`` is a sync by a command,
``sync_job.py`` one by a job. A sync adds and replaces; it never deletes.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from apex_pipeline.errors import ApexError, StoreLockedError
from apex_pipeline.exit_codes import ExitCode
from apex_pipeline.ingest.preparation import Preparation, write_records
from apex_pipeline.ingest.scan import scan_source
from apex_pipeline.ingest.session_work import (
    SessionWork,
    prepared,
    session_lease,
    source_version,
    unassigned_work_of,
)
from apex_pipeline.ingest.source_files import SourceListing
from apex_pipeline.ingest.sync_plan import SyncPlan, empty_lake, list_lake, plan_sync
from apex_pipeline.lake.remembered import remembering_session, remembering_snapshots
from apex_pipeline.lake.snapshot import read_current
from apex_pipeline.orchestration.job_names import CATALOG_JOB, SESSION_JOB
from apex_pipeline.progress import progress_to
from apex_pipeline.settings import Settings
from apex_pipeline.sources import session_tables, sources_named
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.factory import open_digest_cache, open_store
from apex_pipeline.storage.leases import Holder
from apex_pipeline.tables.session_key import SessionKey

if TYPE_CHECKING:
    from apex_pipeline.orchestration.runner import Runner

# Waiting longer would hide that the other process makes no progress; a session of 3.6 GB takes less than a minute.
_LONGEST_WAIT_S = 900.0

# A session that others change during each of this many plans is left to them.
_MOST_PLANS = 5


@dataclass(frozen=True)
class SyncEvent:
    """A progress event of a sync.

    Attributes:
        stage: One of find, compare, hash, copy, identify, derive and publish.
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
OpenRunner = Callable[[Settings], AbstractContextManager["Runner"]]


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
        source: The source: a folder, or the URI of a bucket.
        lake: URI of the lake.
        statuses: Number of files, by status.
        refused: Path and reason of each file that could not be read.
        copied: Number of files copied.
        copied_bytes: Their total size.
        replaced: Paths of copied files that replaced different content in the lake.
        derived: Sessions that were derived and published.
        failures: Failed sessions and stages; the others were completed.
        notes: What else happened, a sentence each: repairs, waits for another sync, files that left the source folder.
        snapshot: Id of the published snapshot, if this sync published.
    """

    source: Path | str
    lake: str
    statuses: Mapping[str, int] = field(default_factory=dict[str, int])
    refused: tuple[tuple[str, str], ...] = ()
    copied: int = 0
    copied_bytes: int = 0
    replaced: tuple[str, ...] = ()
    derived: list[SessionKey] = field(default_factory=list[SessionKey])
    failures: list[Failure] = field(default_factory=list[Failure])
    notes: list[str] = field(default_factory=list[str])
    snapshot: str | None = None

    @property
    def is_unchanged(self) -> bool:
        """Whether nothing was copied, derived or published."""
        return not (self.copied or self.derived or self.failures) and self.snapshot is None

    @property
    def exit_code(self) -> int:
        """0 if everything succeeded, 1 if something failed and the rest completed."""
        return ExitCode.SOME_FAILED if self.failures or self.refused else ExitCode.OK


def sync_with(open_runner: OpenRunner, settings: Settings, listener: SyncListener) -> SyncOutcome:
    """Bring the lake up to date with the source folder.

    Args:
        open_runner: Opens what executes the runs, once it is certain that there is work.
        settings: The configuration.
        listener: Called with each progress event.

    Raises:
        SourceError: The source folder is missing or empty, or contains no race data.
        ConfigurationError: A setting is wrong.
        StoreError: The lake cannot be reached with the current configuration.
    """
    folder, first = scan_source(settings), None
    digest_cache = open_digest_cache(settings, _Comparison(listener, folder))
    if not settings.use_s3_data and not settings.lake_dir.exists():
        # A folder without race files is refused before a lake is created.
        first = plan_sync(empty_lake(settings), settings, folder, digest_cache, {})
    store = open_store(settings, for_writing=True)
    store.check_access()
    run = _SyncRun(settings, folder, remembering_snapshots(store), digest_cache, listener)
    return run.run(open_runner, first)


class _Comparison:
    """Reports the hashing of files that are compared with the lake, from the first one that has no cached digest on.

    Args:
        listener: Called with each progress event.
        folder: The source.
    """

    def __init__(self, listener: SyncListener, folder: SourceListing) -> None:
        self._listener = listener
        self._folder = folder
        self._has_begun = False

    def __call__(self, done: int) -> None:
        """Count bytes that were just hashed."""
        if not self._has_begun:
            self._has_begun = True
            count, total = len(self._folder.files), self._folder.bytes
            self._listener(SyncEvent("compare", f"{count} files to compare, unless cached", total=total, unit="bytes"))
        self._listener(SyncEvent("compare", "", done=done, unit="bytes"))


class _SyncRun:
    """One sync, step by step."""

    def __init__(
        self,
        settings: Settings,
        folder: SourceListing,
        store: ObjectStore,
        digest_cache: DigestCache,
        listener: SyncListener,
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._store = store
        self._digest_cache = digest_cache
        self._report = listener
        self._outcome = SyncOutcome(folder.root, store.uri, refused=folder.refused)
        # Who was working on a session when this sync came to it.
        self._holders: dict[SessionKey, Holder] = {}
        # Sessions that have changed in the lake since the plan by which they were due.
        self._overtaken: list[SessionKey] = []

    def run(self, open_runner: OpenRunner, first: SyncPlan | None = None) -> SyncOutcome:
        """Compare the source folder with the lake and, if there is work to do, execute it as Dagster runs.

        Args:
            open_runner: Opens what executes the runs.
            first: What there is to do if the lake has just been created.
        """
        self._report(SyncEvent("find", f"{len(self._folder.files)} files in {self._folder.root}"))
        self._note(f"{path} in the source folder is left out: {reason}." for path, reason in self._folder.skipped)
        plan = first or self._prepared_plan()
        self._outcome.statuses = plan.statuses
        self._note(f"{path} left the source folder and is not used any more." for path in plan.found.vanished)
        self._note(
            f"{key} stays as it is: one of its sources is not installed here." for key in sorted(plan.found.foreign)
        )
        for key, problem in plan.blocked.items():
            self._fail("find", key, problem)
        if plan.is_idle:
            return self._outcome
        write_records(self._store, plan)
        with open_runner(self._settings) as runner:
            runner.add_sessions({*plan.found.sessions, *plan.due})
            self._start_bars(plan)
            self._work_on_all(runner, plan)
            self._refresh_roll_ups(runner, plan)
        return self._outcome

    def _work_on_all(self, runner: "Runner", plan: SyncPlan) -> None:
        """Work on every session that is due; those that another process works on come last, so that none waits for it.

        One without a file in the source folder is left to that process: it is due only because that has not finished.
        """
        waiting = [key for key in plan.due if not self._work_on(runner, key, plan, timeout_s=0)]
        self._work_on_overtaken(runner)
        present = {file.path for file in self._folder.files}
        for key in waiting:
            if present.isdisjoint(file.path for file in plan.found.files_of(key)):
                self._note([f"{key} is left to {self._holders[key]}: none of its files are in {self._folder.root}."])
            else:
                self._work_on(runner, key, plan)
        self._work_on_overtaken(runner)

    def _work_on_overtaken(self, runner: "Runner") -> None:
        """Work on the sessions that changed in the lake since the plan, by one new plan for all of them.

        Two syncs of one lake overtake each other in half of its sessions: a plan for each would list the lake as often.
        """
        for _ in range(_MOST_PLANS):
            overtaken, self._overtaken = self._overtaken, []
            if not overtaken:
                return
            fresh = self._plan()
            for key in overtaken:
                if key in fresh.blocked:
                    self._fail("find", key, fresh.blocked[key])
                elif key in fresh.due:
                    self._work_on(runner, key, fresh)
                else:
                    self._note([f"{key} was brought up to date by another process in the meantime."])
        for key in self._overtaken:
            self._fail("wait", key, "Other processes changed it again and again. Run the sync again.")

    def _prepared_plan(self) -> SyncPlan:
        preparation = Preparation(self._store, self._plan, self._note)
        plan = preparation.run()
        self._outcome.snapshot = preparation.snapshot
        return plan

    def _plan(self) -> SyncPlan:
        listing = list_lake(self._store)
        return plan_sync(self._store, self._settings, self._folder, self._digest_cache, listing)

    def _start_bars(self, plan: SyncPlan) -> None:
        copies = plan.found.copies
        self._outcome.replaced = copies.replaced
        if copies.file_count:
            count, size = copies.file_count, copies.bytes
            self._report(SyncEvent("hash", f"{count} files to hash, unless cached", total=size, unit="bytes"))
            self._report(SyncEvent("copy", f"{count} files to copy", total=size, unit="bytes"))
        total = sum(_work_bytes(plan.work(key)) for key in plan.due)
        self._report(SyncEvent("derive", f"{len(plan.due)} sessions to derive", total=total, unit="bytes"))

    def _work_on(self, runner: "Runner", key: SessionKey, plan: SyncPlan, timeout_s: float = _LONGEST_WAIT_S) -> bool:
        """Copy, derive and publish one session under its lease, and return whether it was free within the time."""
        try:
            with session_lease(self._store, key, "sync", self._tell_wait(key, is_waiting=timeout_s > 0), timeout_s):
                if plan.still_holds(self._store, key):
                    self._run_session(runner, self._prepared_work(key, plan))
                else:
                    self._overtaken.append(key)
        except StoreLockedError as error:
            if timeout_s:
                self._fail("wait", key, str(error))
            return False
        except ApexError as error:
            self._fail("wait", key, str(error))
        return True

    def _prepared_work(self, key: SessionKey, plan: SyncPlan) -> SessionWork:
        """Return the work on a session under its lease, with what this sync knows of the lake."""
        work = plan.work(key)
        work.published = plan.intact(key)
        work.store = remembering_session(self._store, key, work.published, plan.listing)
        return work

    def _run_session(self, runner: "Runner", work: SessionWork) -> None:
        key, copied = str(work.key), sum(file.size for file in work.copies)
        if work.copies:
            version = source_version(work, self._digest_cache, self._moved("hash", key, copied))
            runner.report_source(work.key, version, {"files": len(work.files), "bytes": _bytes_of(work)})
        work.progress = self._moved("copy", key, copied)
        derived = self._moved("derive", key, _work_bytes(work))
        with prepared(work), progress_to(derived):
            failure = runner.run(SESSION_JOB, work.key, session_tables(sources_named(_sources(work))))
        copies = sum(file.path in work.stored for file in work.copies)
        self._outcome.copied += copies
        self._outcome.copied_bytes += sum(file.size for file in work.copies if file.path in work.stored)
        if copies:
            self._report(SyncEvent("copy", f"{copies} files, {copied:,} bytes", key))
        derived.finish()
        if failure:
            self._fail(_stage_of(failure.step), work.key, failure.problem, failure.run_id)
            return
        self._outcome.derived.append(work.key)
        self._report(SyncEvent("derive", "derived and published", key))

    def _refresh_roll_ups(self, runner: "Runner", plan: SyncPlan) -> None:
        self._report(SyncEvent("publish", "rebuilding the tables of files, tracks and sessions"))
        work = unassigned_work_of(plan.found)
        work.store = self._store
        with prepared(work):
            failure = runner.run(CATALOG_JOB)
        snapshot = read_current(self._store)
        # Without a published session there is no manifest, which the sessions' own failures explain.
        if failure and (snapshot or not self._outcome.failures):
            self._fail("publish", None, failure.problem, failure.run_id)
        for file in work.copies:
            if file.path not in work.stored:
                self._fail(
                    "copy", None, f"{file.path} was not copied; the check all_copied of lake/unassigned_files says why."
                )
        self._outcome.copied += len(work.stored)
        self._outcome.copied_bytes += sum(item.size for item in work.stored.values())
        if snapshot and (plan.snapshot is None or snapshot.id != plan.snapshot.id):
            self._outcome.snapshot = snapshot.id
            self._report(SyncEvent("publish", f"snapshot {snapshot.id}"))

    def _moved(self, stage: str, key: str, size: int) -> "_Bar":
        return _Bar(lambda done: self._report(SyncEvent(stage, "", key, done=done, unit="bytes")), size)

    def _tell_wait(self, key: SessionKey, *, is_waiting: bool) -> Callable[[Holder], None]:
        def report(holder: Holder) -> None:
            self._holders[key] = holder
            if is_waiting:
                sentence = f"{key} is being worked on by {holder}; waiting for it."
                self._outcome.notes.append(sentence)
                self._report(SyncEvent("wait", sentence, str(key)))

        return report

    def _note(self, sentences: Iterable[str]) -> None:
        for sentence in sentences:
            self._outcome.notes.append(sentence)
            self._report(SyncEvent("find", sentence))

    def _fail(self, stage: str, key: SessionKey | None, problem: str, run_id: str | None = None) -> None:
        self._outcome.failures.append(Failure(stage, str(key) if key else None, problem, run_id))
        self._report(SyncEvent(stage, f"failed: {problem}", str(key) if key else None))


class _Bar:
    """Reports progress of at most a known size, because files may be read twice or not at all.

    Args:
        report: Called with the number of bytes just done.
        size: Bytes in total.
    """

    def __init__(self, report: Callable[[int], None], size: int) -> None:
        self._report = report
        self._left = size

    def __call__(self, moved: int) -> None:
        """Report bytes, up to the size."""
        moved = min(moved, self._left)
        self._left -= moved
        self._report(moved)

    def finish(self) -> None:
        """Report the rest."""
        self(self._left)


def _bytes_of(work: SessionWork) -> int:
    return sum(file.bytes for file in work.files)


def _sources(work: SessionWork) -> tuple[str, ...]:
    return tuple(sorted({file.identity.source for file in work.files if file.is_in_use}))


def _work_bytes(work: SessionWork) -> int:
    """Return the bytes that a derivation reports; one extra byte makes a session without telemetry count."""
    used = [file.identity for file in work.files if file.is_in_use]
    sources = sources_named(_sources(work))
    return 1 + sum(source.work_bytes([file for file in used if file.source == source.name]) for source in sources)


def _stage_of(step: str) -> str:
    return {"lake__files": "copy", "lake__session": "identify", "lake__published": "publish"}.get(step, "derive")
