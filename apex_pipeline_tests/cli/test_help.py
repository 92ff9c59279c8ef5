"""`--help`: the program name is `apex` however it was started, and its commands are in four panels."""

import re
import subprocess
import sys

import pytest
from rich.cells import cell_len

from apex_pipeline.cli.app import app
from apex_pipeline_tests.cli.conftest import Apex

pytestmark = pytest.mark.req("A-117")

_PANELS = {
    "Pipeline": ["sync", "plan", "backfill", "schedule", "demo", "ui", "upload"],
    "Query": ["tracks", "sessions", "files", "laps", "cars", "telemetry", "rejects", "explain", "trace"],
    "Maintain": ["doctor", "verify", "accuracy", "history", "rollback", "forget", "gc", "migrate", "cost", "metrics"],
    "Share": ["export", "bundle", "downsample", "share"],
}


@pytest.fixture(autouse=True)
def terminal_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_commands_are_grouped_in_four_panels(apex: Apex) -> None:
    found: dict[str, list[str]] = {}
    panel = ""
    for line in apex("--help").out.splitlines():
        if title := re.match(r"╭─ (\w+)", line):
            panel = title[1]
            found[panel] = []
        elif command := re.match(r"│ ([a-z]+) ", line):
            found[panel].append(command[1])
    assert {name: commands for name, commands in found.items() if name != "Options"} == _PANELS


@pytest.mark.parametrize("command", [command for commands in _PANELS.values() for command in commands])
def test_the_help_of_every_command_fits_80_columns(apex: Apex, command: str) -> None:
    text = apex(command, "--help").out
    assert f"Usage: apex {command} " in text
    assert max(map(cell_len, text.splitlines())) <= 80
    assert "…" not in text


def test_every_command_is_in_a_panel_or_is_a_former_name() -> None:
    registered = {entry.name for entry in [*app.registered_commands, *app.registered_groups]}
    assert registered - {command for commands in _PANELS.values() for command in commands} == {"sample"}


def test_the_module_shows_apex_as_the_program_name() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "apex_pipeline", "gc", "--help"], capture_output=True, text=True, check=True
    )
    assert "Usage: apex gc [OPTIONS]" in done.stdout
