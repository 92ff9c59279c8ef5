"""Implements ``apex report``; see reports/session_report for what the file says."""

from pathlib import Path
from typing import Annotated

import typer

from apex_pipeline.catalog.reader import open_catalog
from apex_pipeline.cli.emit import emit, print_line
from apex_pipeline.cli.options import AsJson, AsOf, Lake, SessionArgument, TrackArgument


def report_command(
    track: TrackArgument,
    session: SessionArgument,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="By default TRACK_SESSION.html in this folder.")
    ] = None,
    lake: Lake = None,
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """Write the report of a session: one HTML file with its charts, which needs no network."""
    from apex_pipeline.reports.session_report import facts_of, render_report  # noqa: PLC0415  -- help needs none of it

    race = open_catalog(lake, as_of=as_of).session(track, session)
    target = out or Path(f"{race.track}_{race.name}.html")
    page = render_report(facts_of(race)).encode()
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(page)
    facts = {"target": target, "track": race.track, "session": race.name, "bytes": len(page)}
    emit(facts, as_json=as_json, render=lambda: print_line(f"{target}: {len(page) / 1e3:,.1f} kB"))
