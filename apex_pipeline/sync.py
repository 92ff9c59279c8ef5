"""The main job: find, copy, identify, derive, check, publish. Only what changed.

Here belongs the order of things and what is told about them. The comparison is ``lake/plan.py``, the work is done by
the Dagster jobs of ``automation.py``, executed by ``runs.py``. A sync adds and replaces; it never deletes.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from apex_pipeline.errors import SourceError
from apex_pipeline.lake.catalog_tables import rules_version, session_files
from apex_pipeline.lake.copy_source import content_version
from apex_pipeline.lake.plan import CopyPlan, is_catalog_stale, plan_copies, session_of, sessions_to_derive
from apex_pipeline.lake.progress import listening
from apex_pipeline.lake.session_tables import telemetry_bytes
from apex_pipeline.lake.snapshot import Snapshot, read_current
from apex_pipeline.lake.source_folder import SourceFile, SourceFolder, identify, look_at
from apex_pipeline.lake.stored_tables import read_stored_table
from apex_pipeline.schemas import FILES
from apex_pipeline.session_key import SessionKey
from apex_pipeline.settings import Settings
from apex_pipeline.sources.gr_cup.files import FileIdentity, FileKind
from apex_pipeline.storage.contract import ObjectStore, StoredObject
from apex_pipeline.storage.fingerprints import Fingerprints
from apex_pipeline.storage.opening import open_fingerprints, open_store

if TYPE_CHECKING:
    from apex_pipeline.runs import Runner

# The jobs' names; ``automation.py`` has them too, but importing it would import Dagster.
_COPY, _CATALOG, _DERIVE, _PUBLISH = "copy_session", "refresh_catalog", "derive_session", "publish"

# How many files a message names before it says how many more there are.
_NAMED_FILES = 5


@dataclass(frozen=True)
class Event:
    """Something a sync tells about while it works.

    Attributes:
        stage: find, copy, identify, derive or publish.
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


Listener = Callable[[Event], None]


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
        return 1 if self.failures or self.refused else 0


def sync(settings: Settings, listener: Listener) -> SyncOutcome:
    """Bring the lake up to date with the source folder.

    Raises:
        SourceError: There is nothing to work on.
        ConfigurationError: A setting is wrong.
        StoreError: The lake cannot be reached with the present configuration.
    """
    folder = look_at(settings.source_dir)
    identities = identify(folder, settings.tracks_file)
    _require_race_files(folder, identities)
    store = open_store(settings, for_writing=True)
    store.check_access()
    return _Work(settings, folder, identities, store, open_fingerprints(settings), listener).do()


def _require_race_files(folder: SourceFolder, identities: Iterable[FileIdentity]) -> None:
    """Refuse a folder in which nothing is race data, before anything is sent."""
    identities = list(identities)
    if any(item.kind not in {FileKind.IGNORED, FileKind.UNKNOWN} for item in identities):
        return
    named = [f"{path} ({reason})" for path, reason in folder.refused]
    named += [f"{item.path} ({item.reason})" for item in identities]
    rest = len(named) - _NAMED_FILES
    more = f" and {rest} more" if rest > 0 else ""
    raise SourceError(
        f"No race files in {folder.root}: {'; '.join(named[:_NAMED_FILES])}{more}.",
        "Name the folder that holds lap, telemetry or timing CSV files; `apex explain FILE` says why one is not taken.",
    )


class _Work:
    """One sync, step by step."""

    def __init__(
        self,
        settings: Settings,
        folder: SourceFolder,
        identities: list[FileIdentity],
        store: ObjectStore,
        fingerprints: Fingerprints,
        listener: Listener,
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._identities = identities
        self._store = store
        self._fingerprints = fingerprints
        self._tell = listener
        self._outcome = SyncOutcome(
            folder.root,
            store.uri,
            statuses=Counter(item.status.value for item in identities),
            refused=folder.refused,
        )

    def do(self) -> SyncOutcome:
        """Compare, and where there is something to do, do it in Dagster runs."""
        self._tell(Event("find", f"{len(self._folder.files)} files in {self._folder.root}"))
        listing = self._list_lake()
        files = self._published_files(listing)
        plan = plan_copies(self._folder, self._identities, listing, files, self._fingerprints)
        rules = rules_version(self._settings.tracks_file)
        stale = plan.files > 0 or is_catalog_stale(listing, files, self._identities, rules)
        if not stale and files is not None and not self._sessions_to_derive(files, listing):
            return self._outcome
        from apex_pipeline.runs import open_runner  # noqa: PLC0415  -- costs 2 s, and only where there is work

        with open_runner(self._settings) as runner:
            self._copy(runner, plan)
            if not self._refresh_catalog(runner):
                return self._outcome
            self._derive(runner)
            self._publish(runner)
        return self._outcome

    def _list_lake(self) -> dict[str, StoredObject]:
        return {item.key: item for item in self._store.list()}

    def _published_files(self, listing: dict[str, StoredObject]) -> pa.Table | None:
        return read_stored_table(self._store, FILES) if "catalog/files.parquet" in listing else None

    def _sessions_to_derive(self, files: pa.Table, listing: dict[str, StoredObject]) -> list[SessionKey]:
        snapshot: Snapshot | None = read_current(self._store)
        return sessions_to_derive(files, snapshot, listing)

    def _copy(self, runner: "Runner", plan: CopyPlan) -> None:
        runner.add_sessions(key for key in map(session_of, self._identities) if key)
        if not plan.files:
            return
        self._outcome.replaced = plan.replaced
        self._tell(Event("copy", f"{plan.files} files to copy", total=plan.bytes, unit="bytes"))
        for key, chosen in sorted(plan.by_session.items()):
            size = sum(file.size for file in chosen)
            runner.report_source(
                key, content_version(self._files_of(key), self._fingerprints), {"files": len(chosen), "bytes": size}
            )
            with listening(lambda moved, at=key: self._tell(Event("copy", "", str(at), done=moved, unit="bytes"))):
                failure = runner.run(_COPY, key)
            if failure:
                self._fail("copy", key, failure.problem, failure.run_id)
                continue
            self._outcome.copied += len(chosen)
            self._outcome.copied_bytes += size
            self._tell(Event("copy", f"{len(chosen)} files, {size:,} bytes", str(key)))
        self._outcome.copied += len(plan.without_session)
        self._outcome.copied_bytes += sum(file.size for file in plan.without_session)

    def _files_of(self, key: SessionKey) -> list[SourceFile]:
        paths = {item.path for item in self._identities if session_of(item) == key}
        return [file for file in self._folder.files if file.path in paths]

    def _refresh_catalog(self, runner: "Runner") -> bool:
        self._tell(Event("identify", "the catalog is made from what lies in the lake"))
        failure = runner.run(_CATALOG)
        if failure:
            self._fail("identify", None, failure.problem, failure.run_id)
        return failure is None

    def _derive(self, runner: "Runner") -> None:
        listing = self._list_lake()
        files = self._published_files(listing)
        due = self._sessions_to_derive(files, listing) if files is not None else []
        runner.add_sessions(due)
        # A session's work is its telemetry, so its bytes tell best how far it is; one more stands for the rest.
        sizes = {key: telemetry_bytes(session_files(files, key)) + 1 for key in due} if files is not None else {}
        total = sum(sizes.values())
        self._tell(Event("derive", f"{len(due)} sessions to derive", total=total, unit="bytes"))
        for key, size in sizes.items():
            self._derive_one(runner, key, size)

    def _derive_one(self, runner: "Runner", key: SessionKey, size: int) -> None:
        told = 0

        def tell(moved: int) -> None:
            nonlocal told
            told += moved
            self._tell(Event("derive", "", str(key), done=moved, unit="bytes"))

        with listening(tell):
            failure = runner.run(_DERIVE, key)
        if failure:
            self._fail("derive", key, failure.problem, failure.run_id)
        else:
            self._outcome.derived.append(key)
        # What was read once more, or not at all, must not leave the bar behind.
        message = "failed" if failure else "derived"
        self._tell(Event("derive", message, str(key), done=size - told, unit="bytes"))

    def _publish(self, runner: "Runner") -> None:
        failure = runner.run(_PUBLISH)
        if failure:
            self._fail("publish", None, failure.problem, failure.run_id)
            return
        snapshot = read_current(self._store)
        self._outcome.snapshot = snapshot.id if snapshot else None
        self._tell(Event("publish", f"snapshot {self._outcome.snapshot}"))

    def _fail(self, stage: str, key: SessionKey | None, problem: str, run_id: str) -> None:
        self._outcome.failures.append(Failure(stage, str(key) if key else None, problem, run_id))
        self._tell(Event(stage, f"failed: {problem}", str(key) if key else None))


__all__ = ["Event", "Failure", "Listener", "SyncOutcome", "sync"]
