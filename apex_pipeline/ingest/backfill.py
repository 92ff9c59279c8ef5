"""Decides which sessions of a lake a backfill derives again; no source folder is read.

Built on the decision of a sync (``sync_plan.py``), so both call the same sessions due. See
``orchestration/backfill.py`` for the execution.
"""

from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum

from apex_pipeline.errors import ConfigurationError
from apex_pipeline.ingest.sync_plan import SyncPlan, list_lake, plan_sync
from apex_pipeline.lake.names import find_sessions
from apex_pipeline.lake.published_session import PublishedSession
from apex_pipeline.lake.records import inputs_version
from apex_pipeline.lake.snapshot import Snapshot
from apex_pipeline.settings import Settings
from apex_pipeline.sources import sources_named
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.factory import open_digest_cache
from apex_pipeline.storage.limits import PARALLEL_LOOKUPS
from apex_pipeline.tables.session_key import SessionKey


class Group(StrEnum):
    """Which sessions a backfill derives."""

    MISSING = "missing"
    STALE = "stale"
    CODE = "code"
    ALL = "all"


@dataclass(frozen=True)
class BackfillPlan:
    """What a backfill has to do.

    Attributes:
        due: The sessions to derive, in order, with the reason.
        blocked: Sessions that were asked for and cannot be derived, with the reason and the next step.
        sync_plan: What is in the lake.
    """

    due: Mapping[SessionKey, str]
    blocked: Mapping[SessionKey, str]
    sync_plan: SyncPlan


def plan_backfill(
    store: ObjectStore, settings: Settings, groups: Collection[Group], names: Iterable[str] = ()
) -> BackfillPlan:
    """Decide which sessions are derived; nothing is written.

    Args:
        store: The lake.
        settings: The user's own rules.
        groups: The sessions to derive: missing ones (not published), stale ones (published from other files, damaged
            or left unfinished), those published by another version of the derivation's code, or all of them.
        names: Sessions or tracks to choose from; all sessions without any.

    Raises:
        ConfigurationError: No session of the lake has one of the names, or the lake has no session.
        StoreCorruptionError: The published snapshot is damaged.
    """
    plan = plan_sync(store, settings, None, open_digest_cache(settings), list_lake(store))
    known = {*plan.found.sessions, *plan.blocked}
    if not known:
        raise ConfigurationError(
            f"The lake {store.uri} has no session.", "Run `apex sync`, which copies and derives the source folder."
        )
    texts = list(names)
    chosen = {key for text in texts for key in find_sessions(text, known, settings)} if texts else known
    reasons = _reasons(plan, groups, chosen - plan.blocked.keys() - plan.found.foreign)
    blocked = {key: reason for key, reason in plan.blocked.items() if key in chosen}
    return BackfillPlan(dict(sorted(reasons.items())), blocked, plan)


def _reasons(plan: SyncPlan, groups: Collection[Group], chosen: Collection[SessionKey]) -> dict[SessionKey, str]:
    """Return why each of these sessions is derived; the more specific reason counts."""
    published = set(plan.snapshot.keys) if plan.snapshot else set[SessionKey]()
    reasons = dict.fromkeys(chosen, "asked for") if Group.ALL in groups else {}
    if Group.CODE in groups and plan.snapshot is not None:
        reasons |= _of_other_code(plan.snapshot, published.intersection(chosen))
    for key in plan.due.keys() & chosen:
        if (Group.STALE if key in published else Group.MISSING) in groups:
            reasons[key] = plan.due[key]
    return reasons


def _of_other_code(snapshot: Snapshot, keys: Collection[SessionKey]) -> dict[SessionKey, str]:
    with ThreadPoolExecutor(PARALLEL_LOOKUPS) as pool:
        sessions = [session for session in pool.map(snapshot.session, sorted(keys)) if session]
    return {session.key: "derived by another code version" for session in sessions if _is_of_other_code(session)}


def _is_of_other_code(session: PublishedSession) -> bool:
    """Return whether its tables were derived by another code version than the present one, or an unknown one.

    The version of a session's inputs is a hash of its files and the code versions; with the present code and the
    recorded files it is the recorded one only if the code was the same.
    """
    used = [file for file in session.files if file.is_in_use]
    versions = [source.derivation_version for source in sources_named(session.sources)]
    return inputs_version(used, versions) != session.inputs_version
