"""``apex verify``: whether the lake holds what it says; ``--truth``: how right its laps are.

Here belongs the printing; the looking is ``lake/verify.py``.
"""

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer
from rich import box
from rich.table import Table as RichTable

from apex_pipeline.catalog import open_catalog
from apex_pipeline.cli.output import console
from apex_pipeline.cli.read import AsJson, Lake, store_at
from apex_pipeline.lake.verify import report_truth, verify_lake
from apex_pipeline.settings import load_settings
from apex_pipeline.sources.gr_cup.naming_rules import load_rules
from apex_pipeline.sources.gr_cup.telemetry.workspace import Workspace
from apex_pipeline.sources.gr_cup.truth import TruthReport, pooled
from apex_pipeline.storage.scratch import own_scratch

_FAILED = 1
_POOLED, _STEADY = "all", "all without field jumps"


def verify_command(
    truth: Annotated[bool, typer.Option("--truth", help="Derive every session again and compare.")] = False,  # noqa: FBT002  -- a command-line switch
    lake: Lake = None,
    as_json: AsJson = False,  # noqa: FBT002  -- a command-line switch
) -> None:
    """Check every raw file and table against the catalog; with --truth, our laps against official timing."""
    is_good = _print_truth(lake, as_json=as_json) if truth else _print_findings(lake, as_json=as_json)
    raise typer.Exit(0 if is_good else _FAILED)


def _print_findings(lake: str | None, *, as_json: bool) -> bool:
    findings = verify_lake(store_at(lake), open_catalog(lake).snapshot)
    wrong = [finding for finding in findings if finding.problem]
    if as_json:
        sys.stdout.write(json.dumps([asdict(finding) for finding in findings]) + "\n")
        return not wrong
    for finding in wrong:
        console().print(f"[red]problem[/]  {finding.what}: {finding.problem}", highlight=False, soft_wrap=True)
    console().print(f"{len(findings)} raw files and sessions looked at, {len(wrong)} with a problem.", highlight=False)
    if wrong:
        console().print("Run `apex sync` on the source again: it copies and derives what is missing.")
    return not wrong


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


def _truth_reports(lake: str | None) -> dict[str, TruthReport]:
    settings, store, snapshot = load_settings(), store_at(lake), open_catalog(lake).snapshot
    rules = load_rules(settings.tracks_file)
    workspace = Workspace(settings.memory_limit, own_scratch(settings.state_dir / "scratch"))
    found = {str(record.key): report_truth(store, snapshot, record, rules, workspace) for record in snapshot.sessions}
    return {session: report for session, report in found.items() if report is not None}


def _with_sums(reports: dict[str, TruthReport]) -> dict[str, TruthReport]:
    """Return the reports, all of them together, and together those whose official clock keeps step."""
    steady = [report for report in reports.values() if not report.jumping]
    sums = {_POOLED: pooled(list(reports.values()))} if len(reports) > 1 else {}
    if 0 < len(steady) < len(reports):
        sums[_STEADY] = pooled(steady)
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


def _row(name: str, report: TruthReport) -> dict[str, str]:
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
