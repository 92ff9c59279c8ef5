"""Implements ``apex verify``; see lake/integrity.py and load_check.py for the checks of objects and of loading."""

import sys
from collections.abc import Iterator
from typing import Annotated, Any

import pyarrow as pa
import typer

from apex_pipeline.catalog.reader import Catalog
from apex_pipeline.cli.accuracy import accuracy_listing
from apex_pipeline.cli.emit import TextTable, print_line, print_rest, warn_renamed
from apex_pipeline.cli.listing import Listing, lists
from apex_pipeline.cli.load_check import LoadCheck, LoadResult, load_sessions
from apex_pipeline.cli.options import Lake, store_at
from apex_pipeline.cli.progress import byte_progress
from apex_pipeline.exit_codes import ExitCode
from apex_pipeline.lake.integrity import READ_ERRORS, LakeReport, lake_bytes, verify_lake
from apex_pipeline.storage.base import ObjectStore

_MARKS = {True: "ok ", False: "FAIL "}

# Maximum notes shown; the rest are only counted. --json lists all.
_SHOWN_NOTES = 20


_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("kind", "session", "name")),
        ("is_good", pa.bool_()),
        ("said", pa.string()),
    ]
)


@lists
def verify_command(
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every byte and compare it with the recorded digests.")
    ] = False,
    truth: Annotated[bool, typer.Option("--truth", help="Former name of `apex accuracy`.", hidden=True)] = False,
    lake: Lake = None,
) -> Listing:
    """Check every object against the snapshot and load every session.

    Without --deep, the sizes and digests that the store reports are compared.
    """
    if truth:
        warn_renamed("apex verify --truth", "apex accuracy")
        return accuracy_listing(lake)
    store = store_at(lake)
    if deep and sys.stderr.isatty():
        with byte_progress("verify", lake_bytes(store)):
            report = verify_lake(store, is_deep=True)
    else:
        report = verify_lake(store, is_deep=deep)
    checks = _load_sessions(store, report)
    is_good = not report.wrong and all(check.is_good for check in checks)
    facts = {
        "lake": store.uri,
        "snapshot": report.snapshot.id if report.snapshot else None,
        "is_deep": deep,
        "is_good": is_good,
        "findings": report.findings,
        "notes": report.notes,
        "sessions": [_facts(check) for check in checks],
    }
    return Listing(
        pa.Table.from_pylist(list(_rows(report, checks)), _SCHEMA),
        "Checks of the lake: its objects, what is loaded of each session, and notes",
        keys=3,
        document=facts,
        render=lambda: _print_report(report, checks, is_deep=deep),
        exit_code=ExitCode.OK if is_good else ExitCode.SOME_FAILED,
    )


def _rows(report: LakeReport, checks: list[LoadCheck]) -> Iterator[dict[str, Any]]:
    """Yield each object, each read of a session and each note; a note is neither good nor bad."""
    for finding in report.findings:
        facts = {"kind": finding.kind, "session": finding.session, "name": finding.key}
        yield facts | {"is_good": not finding.problem, "said": finding.problem}
    for check in checks:
        for name, one in check.results.items():
            facts = {"kind": "loading", "session": check.session, "name": name}
            yield facts | {"is_good": one.is_good, "said": one.message}
    for note in report.notes:
        yield {"kind": "note", "session": None, "name": note.key, "is_good": None, "said": note.note}


def _load_sessions(store: ObjectStore, report: LakeReport) -> list[LoadCheck]:
    """Return the load checks; empty if the list of sessions is already reported as unreadable."""
    if report.snapshot is None:
        return []
    try:
        return load_sessions(Catalog(store), report.findings)
    except (*READ_ERRORS, KeyError):
        if report.wrong:
            return []
        raise


def _facts(check: LoadCheck) -> dict[str, object]:
    results = {name: {"is_good": one.is_good, "said": one.message} for name, one in check.results.items()}
    return {"session": check.session, **results, "is_good": check.is_good}


def _print_report(report: LakeReport, checks: list[LoadCheck], *, is_deep: bool) -> None:
    if checks:
        table = TextTable(["session", "laps", "telemetry", "official timing", "raw files"], title="Sessions")
        for check in checks:
            table.add(check.session, *map(_cell, check.results.values()))
        table.show()
    for finding in report.wrong:
        print_line("problem", style="red", end="")
        print_line(f"  {finding.key}: {finding.problem}")
    for note in report.notes[:_SHOWN_NOTES]:
        print_line(f"note     {note.key}: {note.note}")
    print_rest(len(report.notes), _SHOWN_NOTES)
    failed = sum(not check.is_good for check in checks)
    how = "read to the last byte" if is_deep else "checked (sizes and recorded digests; --deep reads every byte)"
    objects = f"{len(report.findings)} objects {how}, {len(report.wrong)} with a problem"
    print_line(f"{objects}; {len(checks)} sessions loaded, {failed} failed.")
    if report.wrong or failed:
        print_line("Run `apex sync` on the source again: it restores what has an intact copy, and derives the rest.")


def _cell(result: LoadResult) -> str:
    return "-" if result.is_good is None else _MARKS[result.is_good] + result.message
