"""``apex verify``: whether the lake holds what it says, and loads; ``--truth``: how right its laps are.

Here belongs the printing; the looking is ``lake/verify.py``, the loading ``session_matrix.py``, the comparison with
official timing ``lake/truth.py``.
"""

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer
from rich import box
from rich.markup import escape
from rich.table import Table as RichTable

from apex_pipeline.catalog import Catalog, open_catalog
from apex_pipeline.cli.console import console
from apex_pipeline.cli.read import AsJson, Lake, store_at
from apex_pipeline.cli.session_matrix import Cell, SessionRow, load_sessions
from apex_pipeline.lake.care.object_checks import READ_ERRORS
from apex_pipeline.lake.care.verify import LakeReport, verify_lake
from apex_pipeline.ops.accuracy import measure_session as report_truth
from apex_pipeline.settings import load_settings
from apex_pipeline.sources.accuracy import AccuracyReport, pool_reports
from apex_pipeline.sources.workspace import Workspace
from apex_pipeline.storage.contract import ObjectStore
from apex_pipeline.storage.scratch import own_scratch

_FAILED = 1
_POOLED, _STEADY = "all", "all without field jumps"
_MARKS = {True: "[green]ok[/]", False: "[red]fail[/]", None: "-"}

# Objects nobody knows that a person is shown; --json has all.
_SHOWN_NOTES = 20


def verify_command(
    deep: Annotated[bool, typer.Option("--deep", help="Read every byte and compare.")] = False,  # noqa: FBT002  -- a command-line switch
    truth: Annotated[bool, typer.Option("--truth", help="Derive every session again and compare.")] = False,  # noqa: FBT002  -- a command-line switch
    lake: Lake = None,
    as_json: AsJson = False,  # noqa: FBT002  -- a command-line switch
) -> None:
    """Check every object against the manifest and load every session; with --truth, our laps against official timing.

    Without --deep sizes and digests are those the store tells.
    """
    is_good = _print_truth(lake, as_json=as_json) if truth else _verify(store_at(lake), is_deep=deep, as_json=as_json)
    raise typer.Exit(0 if is_good else _FAILED)


def _verify(store: ObjectStore, *, is_deep: bool, as_json: bool) -> bool:
    report = verify_lake(store, is_deep=is_deep)
    sessions = _sessions(store, report)
    is_good = not report.wrong and all(row.is_good for row in sessions)
    if as_json:
        sys.stdout.write(json.dumps(_as_dict(store, report, sessions, is_deep=is_deep, is_good=is_good)) + "\n")
    else:
        _print_report(report, sessions, is_deep=is_deep, is_good=is_good)
    return is_good


def _sessions(store: ObjectStore, report: LakeReport) -> list[SessionRow]:
    """Return what loads; nothing where it is known already that the list of sessions cannot be read."""
    if report.snapshot is None:
        return []
    try:
        return load_sessions(Catalog(store), report.findings)
    except (*READ_ERRORS, KeyError):
        if report.wrong:
            return []
        raise


def _as_dict(
    store: ObjectStore, report: LakeReport, sessions: list[SessionRow], *, is_deep: bool, is_good: bool
) -> dict[str, object]:
    return {
        "lake": store.uri,
        "snapshot": report.snapshot.id if report.snapshot else None,
        "is_deep": is_deep,
        "is_good": is_good,
        "findings": [asdict(finding) for finding in report.findings],
        "notes": [asdict(note) for note in report.notes],
        "sessions": [{**asdict(row), "is_good": row.is_good} for row in sessions],
    }


def _print_report(report: LakeReport, sessions: list[SessionRow], *, is_deep: bool, is_good: bool) -> None:
    out = console()
    if sessions:
        out.print(_matrix(sessions))
    for finding in report.wrong:
        out.print(
            f"[red]problem[/]  {escape(finding.key)}: {escape(finding.problem or '')}", highlight=False, soft_wrap=True
        )
    for note in report.notes[:_SHOWN_NOTES]:
        out.print(f"note     {escape(note.key)}: {note.note}", highlight=False, soft_wrap=True)
    if len(report.notes) > _SHOWN_NOTES:
        out.print(f"… and {len(report.notes) - _SHOWN_NOTES:,} more; --json prints them all.")
    failed = sum(not row.is_good for row in sessions)
    how = "read to the last byte" if is_deep else "looked at (sizes and recorded digests; --deep reads every byte)"
    out.print(
        f"{len(report.findings)} objects {how}, {len(report.wrong)} with a problem; "
        f"{len(sessions)} sessions loaded, {failed} failed.",
        highlight=False,
        soft_wrap=True,
    )
    if not is_good:
        out.print("Run `apex sync` on the source again: it copies and derives what is missing.")
        out.print("Delete what is damaged before: a sync trusts the digests that were recorded.")


def _matrix(sessions: list[SessionRow]) -> RichTable:
    table = RichTable(title="Sessions", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("session", "laps", "telemetry", "official timing", "raw files"):
        table.add_column(name, overflow="fold")
    for row in sessions:
        cells = (row.laps, row.telemetry, row.official_timing, row.raw_files)
        table.add_row(escape(row.session), *map(_shown, cells))
    return table


def _shown(cell: Cell) -> str:
    return _MARKS[cell.is_good] if cell.is_good is None else f"{_MARKS[cell.is_good]} {escape(cell.said)}"


def _print_truth(lake: str | None, *, as_json: bool) -> bool:
    reports = _truth_reports(lake)
    rows = [_row(name, report) for name, report in _with_sums(reports).items()]
    if as_json:
        named = {name: asdict(report) for name, report in _with_sums(reports).items()}
        sys.stdout.write(json.dumps(named) + "\n")
    elif not rows:
        console().print("No session has official laps to compare with.")
    else:
        console().print(_truth_table(rows))
        for lap in (lap for report in reports.values() for lap in report.invented):
            console().print(f"invented: {lap}", highlight=False)
    return all(report.is_right for report in reports.values())


def _truth_reports(lake: str | None) -> dict[str, AccuracyReport]:
    settings, store, snapshot = load_settings(), store_at(lake), open_catalog(lake).snapshot
    workspace = Workspace(settings.memory_limit, own_scratch(settings.state_dir / "scratch"))
    found = {
        str(record.key): report_truth(store, snapshot, record, settings, workspace) for record in snapshot.sessions
    }
    return {session: report for session, report in found.items() if report is not None}


def _with_sums(reports: dict[str, AccuracyReport]) -> dict[str, AccuracyReport]:
    """Return the reports, all of them together, and together those whose official clock keeps step."""
    steady = [report for report in reports.values() if not report.jumping]
    sums = {_POOLED: pool_reports(list(reports.values()))} if len(reports) > 1 else {}
    if 0 < len(steady) < len(reports):
        sums[_STEADY] = pool_reports(steady)
    return {**reports, **sums}


def _truth_table(rows: list[dict[str, str]]) -> RichTable:
    title = "Laps derived without official timing, against it"
    table = RichTable(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in rows[0]:
        table.add_column(
            name, justify="left" if name == "session" else "right", no_wrap=name != "session", overflow="fold"
        )
    for row in rows:
        table.add_row(*row.values())
    return table


def _row(name: str, report: AccuracyReport) -> dict[str, str]:
    def share(number: int) -> str:
        return f"{number / report.matched:.1%}" if report.matched else ""

    best_s = (report.best_official_s, report.best_hidden_s, report.best_listed_s)
    return {
        "session": name,
        "official": str(report.official),
        "known": str(report.of_known_cars),
        "listed": str(report.listed),
        "matched": f"{report.matched}/{report.comparable}",
        "<=0.05 s": share(report.within_50ms),
        "<=0.1 s": share(report.within_100ms),
        "<=0.5 s": share(report.within_500ms),
        ">1 s": str(report.off_by_1s),
        "jumps": str(report.jumping),
        "invented": str(len(report.invented)),
        "best: official, hidden, listed": ", ".join("" if best is None else f"{best:.3f}" for best in best_s).strip(
            ", "
        ),
    }


__all__ = ["verify_command"]
