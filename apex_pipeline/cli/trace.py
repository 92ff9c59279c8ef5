"""``apex trace``: from a published row back to the raw ones.

Here belongs the printing; finding the rows is ``lake/trace.py``.
"""

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import groupby
from typing import Annotated

import typer
from rich.markup import escape

from apex_pipeline.cli.console import console
from apex_pipeline.cli.read import AsJson, Lake, SessionArgument, TrackArgument, store_at
from apex_pipeline.ops.lineage import Evidence, LapTrace, trace_lap
from apex_pipeline.session_key import session_key

_HEADINGS = {
    "begin": "Crossing that begins the lap",
    "between": "Crossing during the lap",
    "end": "Crossing that ends the lap",
    "official": "Official timing",
}
_TIMES = ("official_lap_time_s", "trigger_lap_time_s", "unit_lap_time_s", "telemetry_lap_time_s")

trace_app = typer.Typer(help="From a published row back to the raw rows that made it.", no_args_is_help=True)


@trace_app.callback()
def trace_callback() -> None:
    """Keep `laps` a word of the command: a lone command would take its place."""


@trace_app.command("laps")
def trace_laps_command(
    track: TrackArgument,
    session: SessionArgument,
    car: Annotated[str, typer.Option(help="vehicle_id, chassis or car number; #13 is always a number.")],
    lap: Annotated[int, typer.Option(help="lap_number, as `apex laps` lists it.")],
    lake: Lake = None,
    as_json: AsJson = False,  # noqa: FBT002  -- a command-line switch
) -> None:
    """Print the file, SHA-256 and raw rows that made a lap."""
    trace = trace_lap(store_at(lake), session_key(track, session), car, lap)
    if as_json:
        sys.stdout.write(json.dumps(asdict(trace), default=_iso) + "\n")
        return
    _print_lap(trace)
    for evidence in trace.evidence:
        _print_evidence(evidence)


def _iso(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _print_lap(trace: LapTrace) -> None:
    out, lap = console(), trace.lap
    number = f", car {lap['car_number']}" if lap["car_number"] else ""
    out.print(f"[bold]{escape(lap['vehicle_id'] + number)}, lap {lap['lap_number']}[/]", highlight=False)
    time = "no lap time" if lap["lap_time_s"] is None else f"{lap['lap_time_s']:.3f} s ({lap['lap_time_method']})"
    confidence = lap["confidence"]
    sources = [f"{name} {lap[name]:.3f}" for name in _TIMES if lap[name] is not None]
    out.print(f"  {', '.join([time, f'confidence {confidence}', *sources])}", highlight=False, soft_wrap=True)
    valid = "valid" if lap["is_valid"] else "not valid"
    out.print(f"  {valid}; flags: {', '.join(lap['flags']) or 'none'}", highlight=False, soft_wrap=True)


def _print_evidence(evidence: Evidence) -> None:
    out = console()
    at = "" if evidence.used_utc_ms is None else f"  {_clock(evidence.used_utc_ms)}"
    out.print(f"[bold]{_HEADINGS[evidence.tells]}[/]{at}", highlight=False)
    if evidence.note:
        out.print(f"  {evidence.note}", markup=False, highlight=False, soft_wrap=True)
    by_file = sorted(evidence.rows, key=lambda row: row.file)
    for (file, sha256), rows in groupby(by_file, key=lambda row: (row.file, row.sha256)):
        out.print(f"  {file}  sha256 {sha256 or 'not known'}", markup=False, highlight=False, soft_wrap=True)
        for row in rows:
            if row.line is not None:
                out.print(f"    line {row.line}: {row.text}", markup=False, highlight=False, soft_wrap=True)


def _clock(utc_ms: int) -> str:
    """Return an instant in words, to the millisecond."""
    return datetime.fromtimestamp(utc_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"


__all__ = ["trace_app"]
