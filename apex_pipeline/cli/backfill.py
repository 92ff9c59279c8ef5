"""Implements ``apex backfill``; see ingest/backfill.py for the choice of sessions."""

from typing import TYPE_CHECKING, Annotated

import typer

from apex_pipeline.cli.emit import emit, print_line, print_rest
from apex_pipeline.cli.format import count
from apex_pipeline.cli.options import AsJson
from apex_pipeline.console import print_message
from apex_pipeline.exit_codes import ExitCode
from apex_pipeline.ingest.backfill import BackfillPlan, Group, plan_backfill
from apex_pipeline.settings import load_settings
from apex_pipeline.storage.factory import open_store

if TYPE_CHECKING:  # the module imports Dagster
    from apex_pipeline.orchestration.backfill import BackfillOutcome

# Most sessions listed; the rest are only counted.
_SHOWN = 60


def backfill_command(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Sessions (TRACK/SESSION) or tracks; by default all.", metavar="[NAME]...", show_default=""
        ),
    ] = None,
    missing: Annotated[bool, typer.Option("--missing", help="Sessions that are not published.")] = False,
    stale: Annotated[
        bool, typer.Option("--stale", help="Sessions published from other files, damaged or left unfinished.")
    ] = False,
    code: Annotated[
        bool, typer.Option("--code", help="Sessions published by another version of the derivation's code.")
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="All of them, even if they are up to date.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be derived.")] = False,
    as_json: AsJson = False,
) -> None:
    """Derive sessions again from the files that are in the lake: by default missing and stale ones.

    No source folder is read and no file is copied; `apex sync` does that.
    """
    settings, wanted = load_settings(), (missing, stale, code, everything)
    groups = [group for group, is_wanted in zip(Group, wanted, strict=True) if is_wanted]
    store = open_store(settings, for_writing=not dry_run)
    store.check_access()
    plan = plan_backfill(store, settings, groups or [Group.MISSING, Group.STALE], names or ())
    due = {str(key): reason for key, reason in plan.due.items()}
    if dry_run:
        facts = {"due": due, "blocked": {str(key): reason for key, reason in plan.blocked.items()}}
        emit(facts, as_json=as_json, render=lambda: _print_plan(plan))
        raise typer.Exit(ExitCode.OK)
    from apex_pipeline.orchestration.backfill import backfill  # noqa: PLC0415  -- importing Dagster takes 2 s

    outcome = backfill(settings, store, plan, print_message)
    done = {"due": due, "derived": [str(key) for key in outcome.derived], "failures": outcome.failures}
    emit(done | {"notes": outcome.notes}, as_json=as_json, render=lambda: _print_outcome(outcome))
    raise typer.Exit(outcome.exit_code)


def _print_outcome(outcome: "BackfillOutcome") -> None:
    print_line(f"Derived and published: {count(len(outcome.derived), 'session')}.")
    for key, problem in outcome.failures.items():
        print_line(f"failed  {key or 'the roll-ups'}: {problem}")
    for note in outcome.notes:
        print_line(note)


def _print_plan(plan: BackfillPlan) -> None:
    print_line(f"Would derive {count(len(plan.due), 'session')}.")
    for key, reason in list(plan.due.items())[:_SHOWN]:
        print_line(f"  {key}: {reason}")
    print_rest(len(plan.due), _SHOWN)
    for key, reason in plan.blocked.items():
        print_line(f"  {key} cannot be derived: {reason}")
