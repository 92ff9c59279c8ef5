"""Implements ``apex accuracy``; see ops/accuracy.py for how laps are compared with official timing."""

import typer
from rich import box
from rich.table import Table as RichTable

from apex_pipeline.catalog import open_catalog
from apex_pipeline.cli.emit import emit, print_line
from apex_pipeline.cli.options import AsJson, Lake, store_at
from apex_pipeline.console import console
from apex_pipeline.exit_codes import ExitCode
from apex_pipeline.ops.accuracy import measure_session
from apex_pipeline.settings import load_settings
from apex_pipeline.sources.accuracy import AccuracyReport, pool_reports
from apex_pipeline.sources.limits import Limits
from apex_pipeline.sources.workspace import Workspace
from apex_pipeline.storage.temp_dirs import process_temp_dir

_POOLED, _STEADY = "all", "all without field jumps"


def accuracy_command(lake: Lake = None, as_json: AsJson = False) -> None:
    """Derive every session again without official timing, and compare the laps with it."""
    by_session = _measure(lake)
    reports = _with_totals(by_session)
    emit(reports, as_json=as_json, render=lambda: _print_reports(reports, by_session))
    is_right = all(report.is_right for report in by_session.values())
    raise typer.Exit(ExitCode.OK if is_right else ExitCode.SOME_FAILED)


def _measure(lake: str | None) -> dict[str, AccuracyReport]:
    settings, store, snapshot = load_settings(), store_at(lake), open_catalog(lake).snapshot
    scratch = process_temp_dir(settings.state_dir / "scratch")
    workspace = Workspace(settings.memory_limit, scratch, limits=Limits.from_settings(settings))
    found = {
        str(record.key): measure_session(store, snapshot, record, settings, workspace) for record in snapshot.sessions
    }
    return {session: report for session, report in found.items() if report is not None}


def _with_totals(reports: dict[str, AccuracyReport]) -> dict[str, AccuracyReport]:
    """Return the reports and two totals: of all sessions, and of the sessions without jumps of the official clock."""
    steady = [report for report in reports.values() if not report.jumping]
    totals = {_POOLED: pool_reports(list(reports.values()))} if len(reports) > 1 else {}
    if 0 < len(steady) < len(reports):
        totals[_STEADY] = pool_reports(steady)
    return {**reports, **totals}


def _print_reports(reports: dict[str, AccuracyReport], by_session: dict[str, AccuracyReport]) -> None:
    if not reports:
        print_line("No session has official laps for comparison.")
        return
    console().print(_table([_row(name, report) for name, report in reports.items()]))
    for lap in (lap for report in by_session.values() for lap in report.invented):
        print_line(f"invented: {lap}")


def _table(rows: list[dict[str, str]]) -> RichTable:
    title = "Laps derived without official timing, compared with it"
    table = RichTable(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in rows[0]:
        is_name = name == "session"
        table.add_column(name, justify="left" if is_name else "right", no_wrap=not is_name, overflow="fold")
    for row in rows:
        table.add_row(*row.values())
    return table


def _row(name: str, report: AccuracyReport) -> dict[str, str]:
    def share(number: int) -> str:
        return f"{number / report.matched:.1%}" if report.matched else ""

    best_s = (report.best_official_s, report.best_hidden_s, report.best_listed_s)
    best = ", ".join("" if one is None else f"{one:.3f}" for one in best_s).strip(", ")
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
        "best: official, blind, listed": best,
    }
