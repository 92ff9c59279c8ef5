"""Implements ``apex trace``; see ops/lineage.py for how a published row is traced to its raw rows."""

import sys
from datetime import UTC, datetime
from itertools import groupby
from typing import Annotated

import typer

from apex_pipeline.catalog.reader import open_catalog
from apex_pipeline.cli.emit import emit, print_line, print_lines
from apex_pipeline.cli.options import (
    AsJson,
    Car,
    Chassis,
    Lake,
    SessionArgument,
    TrackArgument,
    resolve_car,
    store_at,
)
from apex_pipeline.errors import ConfigurationError
from apex_pipeline.ops.lineage import LapTrace, trace_lap
from apex_pipeline.settings import load_settings
from apex_pipeline.sources.limits import Limits
from apex_pipeline.sources.lineage import Evidence
from apex_pipeline.terminal import fold, width_of

_HEADINGS = {
    "begin": "Crossing that starts the lap",
    "between": "Crossing during the lap",
    "end": "Crossing that ends the lap",
    "official": "Official timing",
}
_TIMES = ("official_lap_time_s", "trigger_lap_time_s", "unit_lap_time_s", "telemetry_lap_time_s")

trace_app = typer.Typer(help="Trace a published row back to its raw rows.", no_args_is_help=True)


@trace_app.callback()
def trace_callback() -> None:
    """Keep `laps` a subcommand: without this callback, Typer would drop the name of an only command."""


@trace_app.command("laps")
def trace_laps_command(
    track: TrackArgument,
    session: SessionArgument,
    lap: Annotated[int, typer.Option(help="lap_number, as `apex laps` lists it.")],
    car: Car = None,
    chassis: Chassis = None,
    lake: Lake = None,
    as_json: AsJson = False,
) -> None:
    """Print the files, SHA-256 digests and raw rows behind a lap."""
    catalog, limits = open_catalog(lake), Limits.from_settings(load_settings())
    key = catalog.find_session(track, session)
    vehicle_id = resolve_car(catalog, key, car, chassis)
    if vehicle_id is None:
        raise ConfigurationError("No car is given.", "Add --car NUMBER or --chassis NUMBER; `apex cars` lists them.")
    trace = trace_lap(store_at(lake), key, vehicle_id, lap, limits)
    facts = {"lap": trace.lap, "evidence": [_facts(evidence) for evidence in trace.evidence]}
    emit(facts, as_json=as_json, render=lambda: _print_trace(trace))


def _facts(evidence: Evidence) -> dict[str, object]:
    return {
        "role": evidence.role,
        "stamped_utc_ms": evidence.stamped_utc_ms,
        "used_utc_ms": evidence.used_utc_ms,
        "note": evidence.note,
        "rows": evidence.rows,
    }


def _print_trace(trace: LapTrace) -> None:
    lap = trace.lap
    number = f", car {lap['car_number']}" if lap["car_number"] else ""
    print_line(f"{lap['vehicle_id']}{number}, lap {lap['lap_number']}", style="bold")
    time = "no lap time" if lap["lap_time_s"] is None else f"{lap['lap_time_s']:.3f} s ({lap['lap_time_method']})"
    confidence = f"confidence {lap['confidence']}"
    sources = [f"{name} {lap[name]:.3f}" for name in _TIMES if lap[name] is not None]
    print_line(f"  {', '.join([time, confidence, *sources])}")
    print_line(f"  {'valid' if lap['is_valid'] else 'not valid'}; flags: {', '.join(lap['flags']) or 'none'}")
    for evidence in trace.evidence:
        _print_evidence(evidence)


def _print_evidence(evidence: Evidence) -> None:
    print_line(_HEADINGS[evidence.role], style="bold", end="")
    print_line("" if evidence.used_utc_ms is None else f"  {_clock(evidence.used_utc_ms)}")
    if evidence.note:
        print_line(f"  {evidence.note}")
    by_file = sorted(evidence.rows, key=lambda row: row.file)
    for (file, sha256), rows in groupby(by_file, key=lambda row: (row.file, row.sha256)):
        print_line(f"  {file}  sha256 {sha256 or 'unknown'}")
        for row in rows:
            if row.line is not None:
                label = f"    line {row.line}: "
                print_lines(fold(row.text or "", width_of(sys.stdout), label, " " * len(label)))


def _clock(utc_ms: int) -> str:
    """Return a time in UTC, to the millisecond."""
    return datetime.fromtimestamp(utc_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"
