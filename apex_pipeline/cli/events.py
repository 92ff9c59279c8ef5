"""Implements ``apex events``: ship the rotated files of a folder once, or watch it; see ``events/`` for the work."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from apex_pipeline.cli.emit import emit, print_line
from apex_pipeline.cli.options import AsJson
from apex_pipeline.console import ProgressReporter
from apex_pipeline.events.config import EventConfig, event_config
from apex_pipeline.events.failures import next_step
from apex_pipeline.events.report import ShippedFile, ShipReport, ShipStatus
from apex_pipeline.events.ship import ship_once
from apex_pipeline.events.watch import watch
from apex_pipeline.settings import load_settings

_Folder = Annotated[Path, typer.Argument(help="Folder in which the producer rotates its files.", show_default=False)]
# A finished file of these is printed on its own line; all others appear in the totals.
_PRINTED = {ShipStatus.SHIPPED, ShipStatus.UNCHANGED, ShipStatus.FAILED}


def ship_command(
    folder: _Folder,
    wait: Annotated[float, typer.Option(help="Seconds to wait for another shipper of this folder.", min=0)] = 0,
    as_json: AsJson = False,
) -> None:
    """Ship every finished file once. Exit 0: all are in the bucket, 1: some are not, 2: settings or credentials."""
    config = _configured(folder)
    report = ship_once(config, patience_s=wait, listener=(lambda _: None) if as_json else _print_file)
    emit(report.facts(), as_json=as_json, render=lambda: _print_report(report))
    raise typer.Exit(report.exit_code)


def watch_command(
    folder: _Folder,
    poll_only: Annotated[
        bool, typer.Option("--poll-only", help="Do not use the system's notifications, only listings.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Ship files as they are finished, until stopped; the file in hand is finished first."""
    config = _configured(folder)
    reporter = ProgressReporter(sys.stdout, as_json=as_json)
    if as_json:
        watch(config, on_pass=lambda report: reporter.write_json(report.facts()), uses_notifications=not poll_only)
    else:
        watch(config, listener=_print_file, uses_notifications=not poll_only)


def _configured(folder: Path) -> EventConfig:
    return event_config(folder, load_settings())


def _print_file(file: ShippedFile) -> None:
    if file.status in _PRINTED:
        where = f" as {file.key}" if file.key else ""
        problem = f": {file.problem}" if file.problem and file.status is ShipStatus.FAILED else ""
        print_line(f"{file.status:<9} {file.name}{where} ({file.size:,} bytes){problem}")
        sys.stdout.flush()


def _print_report(report: ShipReport) -> None:
    # Entries that are no files were never tried, so no line has named them.
    for file in report.of(ShipStatus.FAILED):
        if file.size == 0:
            print_line(f"{file.status:<9} {file.name}: {file.problem}")
    print_line(f"{report.uri}: {report.summary}")
    for note in report.notes:
        print_line(f"Note: {note}")
    if report.oldest_waiting is not None:
        print_line(f"Oldest file that waits: {report.oldest_waiting.name}, {report.oldest_waiting.age_s:,.0f} s")
    if report.stopped_by is not None:
        print_line(f"Stopped, because every other file would have failed the same way. {next_step(report.stopped_by)}")
