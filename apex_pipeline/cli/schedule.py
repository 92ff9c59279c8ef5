"""Implements ``apex schedule``; see ops/schedules.py for the text, and docs/automation.md for the three ways."""

import re
import sys
from datetime import time
from pathlib import Path
from typing import Annotated

import typer

from apex_pipeline.cli.emit import emit, print_line
from apex_pipeline.cli.options import AsJson, SourceArgument, settings_for
from apex_pipeline.errors import ConfigurationError
from apex_pipeline.ops.schedules import NightlySync

_UNITS = "~/.config/systemd/user"


def schedule_command(
    source: SourceArgument = None,
    at: Annotated[str, typer.Option("--at", help="Local time, like 02:30.")] = "02:30",
    as_json: AsJson = False,
) -> None:
    """Show how to sync every night: with cron, a systemd timer, or Dagster. Nothing is installed."""
    nightly = NightlySync(
        at=_parse_time(at),
        folder=Path.cwd(),
        program=_program(),
        source=settings_for(source).source_dir.expanduser().absolute(),
        log=Path.cwd() / "apex-sync.log",
    )
    facts = {
        "cron": nightly.cron,
        "systemd": {"service": nightly.service, "timer": nightly.timer},
        "dagster": _dagster_lines(),
    }
    emit(facts, as_json=as_json, render=lambda: _print_ways(nightly))


def _parse_time(text: str) -> time:
    match = re.fullmatch(r"(\d{1,2}):(\d{2})", text)
    try:
        return time(int(match[1]), int(match[2])) if match else _refuse(text)
    except ValueError:
        return _refuse(text)


def _refuse(text: str) -> time:
    raise ConfigurationError(f"--at {text!r} is not a time of day.", "Write it like 02:30.")


def _program() -> tuple[str, ...]:
    """Return how this program was started, as an absolute command."""
    installed = Path(sys.executable).with_name("apex")
    return (str(installed),) if installed.is_file() else (sys.executable, "-m", "apex_pipeline")


def _dagster_lines() -> list[str]:
    return [
        "Run `apex ui`, open Automation, and switch on one of:",
        "sync_source    looks every 30 s (APEX_SENSOR_INTERVAL), one run per session that changed",
        "hourly_sync    syncs every hour in one run, as `apex sync` does",
        "nightly_verify reads and checks every byte of the lake at 2:00 UTC",
        "They work for as long as `apex ui`, or a dagster-daemon, is running.",
    ]


def _print_ways(nightly: NightlySync) -> None:
    print_line("cron: add this line with `crontab -e`")
    print_line(f"\n{nightly.cron}\n")
    print_line("systemd: write these two files, then run")
    print_line("systemctl --user enable --now apex-sync.timer\n")
    for name, text in (("apex-sync.service", nightly.service), ("apex-sync.timer", nightly.timer)):
        print_line(f"# {_UNITS}/{name}\n{text}")
    first, *rest = _dagster_lines()
    print_line(f"Dagster: {first[0].lower()}{first[1:]}")
    for line in rest:
        print_line(f"  {line}")
