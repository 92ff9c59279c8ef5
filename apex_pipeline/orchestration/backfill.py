"""Derives sessions of a lake again, one Dagster run each, and rebuilds the roll-ups once at the end.

``ingest/backfill.py`` decides which sessions; the files in the lake stay as they are. One failed session does not stop
the others, and what was published of it stays.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from apex_pipeline.errors import ApexError, StoreLockedError
from apex_pipeline.exit_codes import ExitCode
from apex_pipeline.ingest.backfill import BackfillPlan
from apex_pipeline.ingest.session_work import prepared, session_lease, unassigned_work_of
from apex_pipeline.lake.remembered import remembering_session
from apex_pipeline.orchestration.job_names import CATALOG_JOB, DERIVE_JOB
from apex_pipeline.orchestration.runner import Runner, open_runner
from apex_pipeline.settings import Settings
from apex_pipeline.sources import session_tables, sources_named
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.tables.session_key import SessionKey

# A session that another process works on is left to it: it is up to date afterwards.
_LONGEST_WAIT_S = 0.0


@dataclass
class BackfillOutcome:
    """The outcome of a backfill.

    Attributes:
        derived: Sessions that were derived and published.
        failures: Problem of each session that was not, by its key; the empty key is that of the roll-ups.
        notes: Sessions that were left to another process, a sentence each.
    """

    derived: list[SessionKey] = field(default_factory=list[SessionKey])
    failures: dict[str, str] = field(default_factory=dict[str, str])
    notes: list[str] = field(default_factory=list[str])

    @property
    def exit_code(self) -> int:
        """0 if everything succeeded, 1 if something failed and the rest completed."""
        return ExitCode.SOME_FAILED if self.failures else ExitCode.OK


def backfill(
    settings: Settings, store: ObjectStore, plan: BackfillPlan, report: Callable[[str], None]
) -> BackfillOutcome:
    """Derive the sessions of a plan.

    Args:
        settings: Names the Dagster home.
        store: The lake of the plan.
        plan: What to do.
        report: Called with a line for each session.
    """
    outcome = BackfillOutcome(failures={str(key): problem for key, problem in plan.blocked.items()})
    if not plan.due:
        return outcome
    with open_runner(settings) as runner:
        runner.add_sessions(plan.due)
        for number, (key, reason) in enumerate(plan.due.items(), start=1):
            report(f"{number} of {len(plan.due)}  {key}: {reason}")
            _derive(runner, store, plan, key, outcome)
        work = unassigned_work_of(plan.sync_plan.found)
        work.store = store
        with prepared(work):
            failure = runner.run(CATALOG_JOB)
        if failure and outcome.derived:
            outcome.failures[""] = failure.problem
    return outcome


def _derive(runner: Runner, store: ObjectStore, plan: BackfillPlan, key: SessionKey, outcome: BackfillOutcome) -> None:
    """Derive and publish one session under its lease, and note how it went."""
    known = plan.sync_plan
    try:
        with session_lease(store, key, "backfill", timeout_s=_LONGEST_WAIT_S):
            if not known.still_holds(store, key):
                outcome.notes.append(f"{key} was changed by another process since the backfill started.")
                return
            work = known.work(key)
            work.store = remembering_session(store, key, None, known.listing)
            names = {file.identity.source for file in work.files if file.is_in_use}
            with prepared(work):
                failure = runner.run(DERIVE_JOB, key, session_tables(sources_named(sorted(names))))
    except StoreLockedError as error:
        outcome.notes.append(f"{key} is being worked on: {error.problem}")
        return
    except ApexError as error:
        outcome.failures[str(key)] = str(error)
        return
    if failure:
        outcome.failures[str(key)] = failure.problem
    else:
        outcome.derived.append(key)
