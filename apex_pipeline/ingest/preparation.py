"""Prepares a lake before sessions are worked on: mends what is published, and writes the records nothing depends on.

``apex sync`` does this first, and so does the job that a sensor requests. See ``sync_plan.py`` for what there is to do,
and ``lake/repair.py`` and ``lake/healing.py`` for the mending itself.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime

from apex_pipeline.errors import StoreCorruptionError, StoreLockedError
from apex_pipeline.ingest.session_work import session_lease
from apex_pipeline.ingest.sync_plan import SyncPlan
from apex_pipeline.lake.healing import heal_from_copies
from apex_pipeline.lake.publication import publish
from apex_pipeline.lake.records import replace_record
from apex_pipeline.lake.repair import repair_publication
from apex_pipeline.lake.snapshot import FORMAT
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import record_key


class Preparation:
    """Makes the plan of a sync, once the lake can be read as it was published.

    Args:
        store: The lake.
        plan: Makes a plan of the lake as it is now.
        note: Called with a sentence for each thing that was mended.

    Attributes:
        snapshot: Id of the snapshot that was published on the way, if any.
    """

    def __init__(self, store: ObjectStore, plan: Callable[[], SyncPlan], note: Callable[[Iterable[str]], None]) -> None:
        self._store = store
        self._plan = plan
        self._note = note
        self.snapshot: str | None = None

    def run(self) -> SyncPlan:
        """Return the plan of what is left to do."""
        return self._healed(self._readable_plan())

    def _readable_plan(self) -> SyncPlan:
        """Return the plan, once what is published was repaired if it is damaged, and taken over from format 1."""
        try:
            plan = self._plan()
        except StoreCorruptionError:
            plan = None
        if plan is None or plan.has_lost_pointer:
            self._note(repair_publication(self._store))
            plan = self._plan()
        if plan.snapshot is not None and plan.snapshot.format < FORMAT:
            self.snapshot = publish(self._store, {}, datetime.now(UTC), "taken over from format 1").id
            count = len(plan.snapshot.keys)
            self._note([f"The lake was taken over from format 1: {count} sessions, none derived again."])
            plan = self._plan()
        return plan

    def _healed(self, plan: SyncPlan) -> SyncPlan:
        """Restore damaged tables from their copies, and return the plan of what is left to do."""
        if plan.snapshot is None or not plan.damage:
            return plan
        self._note(heal_from_copies(self._store, plan.snapshot, plan.damage).done)
        return self._plan()


def needs_preparation(plan: SyncPlan) -> bool:
    """Return whether there is something to mend, or a record to write on which no table depends."""
    is_old = plan.snapshot is not None and plan.snapshot.format < FORMAT
    return is_old or plan.has_lost_pointer or bool(plan.damage or plan.records)


def write_records(store: ObjectStore, plan: SyncPlan) -> None:
    """Write the records on which no table depends.

    One that another process has replaced since stays, as does that of a session which another process works on;
    the next sync writes it.
    """
    for record in plan.records:
        known = plan.listing.get(record_key(record.key))
        with suppress(StoreLockedError), session_lease(store, record.session_key, "sync", lambda _: None, 0):
            replace_record(store, record, known.tag if known else None)
