"""Implements ``apex migrate``; see lake/migration.py for what is copied, in which order, and how it is resumed."""

from typing import Annotated

import typer

from apex_pipeline.cli.emit import emit, print_line, print_rest
from apex_pipeline.cli.format import count, size
from apex_pipeline.cli.options import AsJson, Lake, store_at
from apex_pipeline.cli.progress import count_progress
from apex_pipeline.exit_codes import ExitCode
from apex_pipeline.lake.integrity import verify_lake
from apex_pipeline.lake.migration import Migration, MigrationReport, migrate, plan_migration
from apex_pipeline.settings import load_settings
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.factory import open_store_at

# Most failures listed; the rest are only counted.
_SHOWN = 20


def migrate_command(
    target: Annotated[str, typer.Argument(help="Folder or s3:// URL that the lake goes to.", metavar="TARGET")],
    lake: Lake = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be copied.")] = False,
    as_json: AsJson = False,
) -> None:
    """Copy a whole lake to another place, verified: from a folder to S3, or back.

    The lake itself is not changed. Run it again after an interruption: what has arrived is not sent again.
    """
    source = store_at(lake)
    store = open_store_at(target, load_settings(), for_writing=not dry_run)
    for reached in (source, store) if not dry_run else (source,):
        reached.check_access()
    plan = plan_migration(source, store)
    facts = {"source": source.uri, "target": store.uri, "objects": len(plan.objects), "bytes": plan.bytes}
    if dry_run:
        emit(facts, as_json=as_json, render=lambda: _print_plan(plan, store))
        return
    with count_progress("copy", plan.bytes, "bytes") as advance:
        report = migrate(source, store, advance)
    problems = [*report.failures, *_problems_of(store, report)]
    done = facts | vars(report) | {"failures": problems, "is_complete": not problems}
    emit(done, as_json=as_json, render=lambda: _print_report(report, problems, store))
    raise typer.Exit(ExitCode.SOME_FAILED if problems else ExitCode.OK)


def _problems_of(store: ObjectStore, report: MigrationReport) -> list[tuple[str, str]]:
    """Return what the target, verified against its own records and snapshots, has wrong."""
    if report.failures or report.snapshot is None:
        return []
    return [(finding.key, finding.problem or "") for finding in verify_lake(store).wrong]


def _print_plan(plan: Migration, store: ObjectStore) -> None:
    print_line(f"Would copy {count(len(plan.objects), 'object')}, {size(plan.bytes)}, to {store.uri}.")
    print_line("Objects that are there already are not sent again.")


def _print_report(report: MigrationReport, problems: list[tuple[str, str]], store: ObjectStore) -> None:
    print_line(
        f"Copied {count(report.copied, 'object')}, {size(report.copied_bytes)}, to {store.uri}; "
        f"{report.present:,} were there already."
    )
    for key, problem in problems[:_SHOWN]:
        print_line(f"failed  {key}: {problem}")
    print_rest(len(problems), _SHOWN)
    if problems:
        print_line("Nothing new is published there. Correct this and run it again.")
    elif report.snapshot is None:
        print_line("Nothing was published in the lake, so nothing is published there.")
    else:
        print_line(f"Verified. {store.uri} publishes the snapshot {report.snapshot}.")
        print_line(f"To use it: {_setting(store)}")


def _setting(store: ObjectStore) -> str:
    """Return the settings that make a store the lake."""
    if not store.uri.startswith("s3://"):
        return f"USE_S3_DATA=false APEX_LAKE_DIR={store.uri}"
    bucket, _, prefix = store.uri.removeprefix("s3://").partition("/")
    return f"USE_S3_DATA=true S3_BUCKET_NAME={bucket} APEX_LAKE_PREFIX={prefix.strip('/')}"
