"""Decides what an automation asks for at each tick, from source folder and lake; a Dagster sensor only carries it out.

``sync_plan.py`` decides what is due, for ``apex sync`` and for this module. Added here is what matters only to
something that compares again and again: files that are still being written, runs under way, runs that failed, sessions
that are gone, and a bound on what is asked for at once. The comparison is the state; see ``tick_state.py`` for the
little that is kept from one tick to the next.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from pathlib import Path

from apex_pipeline.errors import StoreCorruptionError
from apex_pipeline.ingest.attempts import Attempt, why_not_again
from apex_pipeline.ingest.preparation import needs_preparation
from apex_pipeline.ingest.source_folder import SourceFile
from apex_pipeline.ingest.sync_plan import SyncPlan
from apex_pipeline.ingest.tick_state import TickState
from apex_pipeline.settings import Settings
from apex_pipeline.sources import all_sources, rules_version
from apex_pipeline.storage.layout import RECORDS_PREFIX
from apex_pipeline.tables.session_key import SessionKey

# More than this share of the known sessions is never removed in one tick: it is rather a lake that is not mounted.
MOST_REMOVED = 0.2
# Sessions whose files are watched at once, as a multiple of what may be asked for in one tick: the next ten ticks.
_WATCHED_LOOKS = 10
# While sessions are worked on, the tables of all sessions are renewed at this interval, and once when all are finished.
_ROLL_UPS_INTERVAL = timedelta(minutes=15)
# The files without a session, among what is watched.
_UNASSIGNED = ""

WRITING = "its files are still being written, or have not been seen twice yet"
RUNNING = "a run of it is queued or under way"


class Task(StrEnum):
    """What can be asked for: the work on one session, or on all of the lake."""

    SESSION = "session"
    PREPARE = "prepare"
    REFRESH = "refresh"


@dataclass(frozen=True)
class Request:
    """Work that an automation asks for.

    Attributes:
        task: What to do.
        version: Version of what it is done to: a failed attempt at the same version is not repeated for nothing.
        reason: Why it is due.
        key: The session, for the work on one.
    """

    task: Task
    version: str
    reason: str
    key: SessionKey | None = None


AttemptsAt = Callable[[Collection[str]], Mapping[str, Sequence[Attempt]]]


@dataclass(frozen=True)
class Surroundings:
    """What the orchestrator knows at the time of a tick.

    Attributes:
        partitions: Its sessions, as text; they may not be session keys, because people can add them by hand.
        running: Sessions and tasks of which a run is queued or under way; ``Task.SESSION`` stands for all sessions.
        attempts_at: Returns the finished runs at each of some versions, newest first.
        manifest_version: Id of the snapshot that the asset ``catalog/manifest`` describes, if any.
        now: The time.
        budget: Most sessions to ask for.
        has_source: Whether the source folder could be listed; without it, no session counts as gone.
    """

    partitions: frozenset[str]
    running: frozenset[str]
    attempts_at: AttemptsAt
    manifest_version: str | None
    now: datetime
    budget: int
    has_source: bool = True


@dataclass
class Decision:
    """What to ask for after one tick.

    Attributes:
        tick_state: What to keep until the next tick.
        requests: Work to ask for.
        added: Sessions to add.
        removed: Sessions to remove.
        unconfirmed: Sessions that have no file any more, and are too many to be removed without confirmation.
        waiting: What is due and not asked for, with the reason: sessions as text, or a task.
    """

    tick_state: TickState
    requests: list[Request] = field(default_factory=list[Request])
    added: list[str] = field(default_factory=list[str])
    removed: list[str] = field(default_factory=list[str])
    unconfirmed: list[str] = field(default_factory=list[str])
    waiting: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def is_idle(self) -> bool:
        """Whether nothing is due."""
        return not (self.requests or self.waiting)


def decide(plan: SyncPlan, settings: Settings, surroundings: Surroundings, before: TickState) -> Decision:
    """Decide what to ask for now; nothing is written.

    Args:
        plan: What a sync would do.
        settings: The user's own rules.
        surroundings: What the orchestrator knows.
        before: What was kept of the last tick.
    """
    return _Decider(plan, code_version(settings), surroundings, before).run()


def unreadable(error: StoreCorruptionError, code: str, surroundings: Surroundings, before: TickState) -> Decision:
    """Decide what to ask for if there is no plan, because what is published is damaged: that it be mended.

    Args:
        error: The damage.
        code: The code version.
        surroundings: What the orchestrator knows.
        before: What was kept of the last tick.
    """
    decision = Decision(before)
    version = version_at(_hash([error.problem]), code)
    reason = why_not_again(surroundings.attempts_at({version}).get(version, ()), surroundings.now)
    if Task.PREPARE in surroundings.running:
        reason = RUNNING
    if reason is None:
        decision.requests.append(Request(Task.PREPARE, version, "what is published is damaged"))
    else:
        decision.waiting[Task.PREPARE] = reason
    return decision


def code_version(settings: Settings) -> str:
    """Return a version of what a run depends on besides files: this program, its sources and their rules."""
    sources = (f"{source.name} {source.derivation_version}" for source in all_sources())
    return _hash([_program_version(), rules_version(settings), *sources])[:8]


@cache
def _program_version() -> str:
    """Return a hash of this program's modules: a correction lets failed sessions run again. It takes 20 ms, once."""
    package = Path(__file__).parents[1]
    modules = sorted(package.rglob("*.py"))
    return _hash(f"{path.relative_to(package)} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in modules)


def version_at(content: str, code: str) -> str:
    """Return the version at which work is attempted: of the files and of the code."""
    return f"{content}-{code}"


def lost_sessions_of(plan: SyncPlan, partitions: Iterable[str], running: Collection[str]) -> list[str]:
    """Return the sessions that have neither a file nor anything published, and are not worked on."""
    present = {*plan.found.sessions, *plan.due, *plan.blocked, *plan.found.foreign, *plan.versions}
    present |= set(plan.snapshot.keys) if plan.snapshot else set()
    return sorted({*partitions} - {str(key) for key in present} - {*running})


class _Decider:
    """One tick."""

    def __init__(self, plan: SyncPlan, code: str, surroundings: Surroundings, before: TickState) -> None:
        self._plan = plan
        self._code = code
        self._around = surroundings
        self._before = before
        self._decision = Decision(replace(before, outdated_since=None))
        self._watched: dict[str, str] = {}

    def run(self) -> Decision:
        self._compare_sessions()
        if not self._ask_for_preparation():
            self._ask_for_sessions()
            self._ask_for_roll_ups()
        self._decision.tick_state = replace(self._decision.tick_state, watched=self._watched)
        return self._decision

    def _compare_sessions(self) -> None:
        """Compare the sessions with the known ones, in both directions."""
        known = self._around.partitions
        found = {*map(str, self._plan.found.sessions), *map(str, self._plan.due)}
        self._decision.added = sorted(found - known)
        lost = lost_sessions_of(self._plan, known, self._around.running)
        if not self._around.has_source:
            return
        if len(lost) <= MOST_REMOVED * len(known):
            self._decision.removed = lost
        else:
            self._decision.unconfirmed = lost

    def _ask_for_preparation(self) -> bool:
        """Ask for what comes before the work on sessions; return whether this has to wait for it."""
        if Task.PREPARE in self._around.running:
            self._decision.waiting[Task.PREPARE] = RUNNING
            return True
        if not needs_preparation(self._plan):
            return False
        records = (repr(record) for record in self._plan.records)
        damage = (key for keys in self._plan.damage.values() for key in keys)
        version = version_at(_hash([self._snapshot_id, *sorted(records), *sorted(damage)]), self._code)
        return self._ask(Request(Task.PREPARE, version, "something to mend or to record"), self._attempts([version]))

    def _ask_for_sessions(self) -> None:
        """Ask for the sessions that are due, starting after the last one asked for, up to the budget."""
        plan, budget = self._plan, self._around.budget
        versions = {key: self._version_of(key) for key in plan.due}
        attempts = self._attempts(versions.values())
        asked = 0
        for key in _rotated(sorted(plan.due), self._before.resume):
            reason = self._why_not_now(key, attempts.get(versions[key], ()))
            if reason is None and asked == budget:
                reason = "others come first"
            if reason is not None:
                self._decision.waiting[str(key)] = reason
                continue
            asked += 1
            self._decision.requests.append(Request(Task.SESSION, versions[key], plan.due[key], key))
            self._decision.tick_state = replace(self._decision.tick_state, resume=str(key))
        self._decision.waiting |= {str(key): problem for key, problem in plan.blocked.items()}

    def _why_not_now(self, key: SessionKey, attempts: Sequence[Attempt]) -> str | None:
        """Return why a session that is due is not asked for; what never runs by itself is not watched."""
        if not self._around.running.isdisjoint({str(key), Task.SESSION}):
            return RUNNING
        reason = why_not_again(attempts, self._around.now)
        if reason is None and not self._is_settled(str(key), self._plan.found.copies.by_session.get(key, ())):
            return WRITING
        return reason

    def _ask_for_roll_ups(self) -> None:
        """Ask for the tables of all sessions and the manifest, not more often than needed while sessions change."""
        plan, around = self._plan, self._around
        if Task.REFRESH in around.running:
            self._decision.waiting[Task.REFRESH] = RUNNING
            return
        free = plan.found.copies.without_session
        is_settled = self._is_settled(_UNASSIGNED, free)
        if plan.snapshot is None or not self._are_roll_ups_due():
            return  # before the first publication there is no manifest
        since = self._before.outdated_since or around.now
        self._decision.tick_state = replace(self._decision.tick_state, outdated_since=since)
        is_busy = bool(around.running) or any(request.task is Task.SESSION for request in self._decision.requests)
        if not is_settled:
            self._decision.waiting[Task.REFRESH] = WRITING
        elif is_busy and around.now - since < _ROLL_UPS_INTERVAL:
            self._decision.waiting[Task.REFRESH] = "sessions are worked on"
        else:
            version = version_at(self._roll_ups_version(), self._code)
            if self._ask(Request(Task.REFRESH, version, "roll-ups are outdated"), self._attempts([version])):
                self._decision.tick_state = replace(self._decision.tick_state, outdated_since=around.now)

    def _are_roll_ups_due(self) -> bool:
        found = self._plan.found
        is_manifest_old = self._around.manifest_version != self._snapshot_id
        has_free = found.unassigned is not None or bool(found.copies.without_session)
        return self._plan.has_stale_roll_ups or is_manifest_old or has_free

    def _ask(self, request: Request, attempts: Mapping[str, Sequence[Attempt]]) -> bool:
        """Ask for work on all of the lake, unless earlier attempts forbid it for now; return whether it was asked."""
        reason = why_not_again(attempts.get(request.version, ()), self._around.now)
        if reason is None:
            self._decision.requests.append(request)
        else:
            self._decision.waiting[request.task] = reason
        return reason is None

    def _attempts(self, versions: Iterable[str]) -> Mapping[str, Sequence[Attempt]]:
        wanted = set(versions)
        return self._around.attempts_at(wanted) if wanted else {}

    def _is_settled(self, name: str, files: Sequence[SourceFile]) -> bool:
        """Return whether files to be copied have the size and time that they had at the last tick, and keep these."""
        if not files:
            return True
        state = _state_of(files)
        if name == _UNASSIGNED or len(self._watched) < _WATCHED_LOOKS * self._around.budget:
            self._watched[name] = state
        return self._before.watched.get(name) == state

    def _version_of(self, key: SessionKey) -> str:
        copies = self._plan.found.copies.by_session.get(key, ())
        recorded = self._plan.versions.get(key) or ""
        return version_at(_hash([recorded, _state_of(copies)]) if copies or not recorded else recorded, self._code)

    def _roll_ups_version(self) -> str:
        found, listing = self._plan.found, self._plan.listing.items()
        records = (f"{key} {item.tag}" for key, item in listing if key.startswith(RECORDS_PREFIX))
        free = (f"{file.path} {file.tag}" for file in found.unassigned or ())
        return _hash([self._snapshot_id, *sorted(records), *free, _state_of(found.copies.without_session)])

    @property
    def _snapshot_id(self) -> str:
        return self._plan.snapshot.id if self._plan.snapshot else ""


def _rotated(keys: Sequence[SessionKey], resume: str) -> Iterator[SessionKey]:
    """Yield all keys, starting with the first one after ``resume``."""
    yield from (key for key in keys if str(key) > resume)
    yield from (key for key in keys if str(key) <= resume)


def _state_of(files: Iterable[SourceFile]) -> str:
    return _hash(f"{file.path}\t{file.size}\t{file.mtime_ns}" for file in files)


def _hash(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
