"""`--help`: the program name is `apex` however it was started, and its commands are in four panels."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len

import apex_pipeline
from apex_pipeline.cli.app import load_command
from apex_pipeline.cli.commands import FORMER, PANELS, Command
from apex_pipeline_tests.cli.conftest import Apex

pytestmark = pytest.mark.req("A-117")

_PANELS = {
    "Pipeline": ["init", "sync", "plan", "backfill", "schedule", "demo", "ui", "upload", "s3-server", "events", "race"],
    "Query": [
        *("tracks", "sessions", "files", "results", "best", "laps", "cars", "telemetry", "compare", "weather"),
        *("quality", "note", "rejects", "table", "diff", "explain", "trace"),
    ],
    "Maintain": ["doctor", "verify", "accuracy", "history", "rollback", "forget", "gc", "migrate", "cost", "metrics"],
    "Share": ["report", "export", "map", "motec", "bundle", "downsample", "share", "serve"],
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
        elif command := re.match(r"│ ([a-z0-9-]+) ", line):
            found[panel].append(command[1])
    assert {name: commands for name, commands in found.items() if name != "Options"} == _PANELS


@pytest.mark.parametrize("command", [command for commands in _PANELS.values() for command in commands])
def test_the_help_of_every_command_fits_80_columns(apex: Apex, command: str) -> None:
    text = apex(command, "--help").out
    assert f"Usage: apex {command} " in text
    assert max(map(cell_len, text.splitlines())) <= 80
    assert "…" not in text


_ALL = [command for commands in PANELS.values() for command in commands]


@pytest.mark.parametrize("command", [*_ALL, *FORMER], ids=lambda command: command.name)
def test_the_table_of_commands_says_what_their_docstrings_say(command: Command) -> None:
    """The table is shown without importing the commands, so it repeats the first line of each."""
    assert (load_command(command).help or "").partition("\n\n")[0].replace("\n", " ") == command.summary


def test_every_function_that_implements_a_command_is_in_the_table() -> None:
    implemented = {
        name.replace("_", "-")
        for path in (Path(apex_pipeline.__file__).parent / "cli").glob("*.py")
        for name in re.findall(r"^def (\w+)_command\(", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    of_groups = {"trace-laps", "load", "ship", "watch", "records"}
    elsewhere = {"events", "race", "trace", "upload"}
    assert implemented - of_groups == {one.name for one in [*_ALL, *FORMER]} - elsewhere


@pytest.mark.parametrize("command", _ALL, ids=lambda command: command.name)
def test_every_command_has_examples_that_name_only_options_it_has(command: Command) -> None:
    assert command.examples
    for example in command.examples:
        assert example.startswith(f"apex {command.name}")
        assert len(example) <= 78
        load_command(command).make_context(command.name, shlex.split(example)[2:], resilient_parsing=True)


def test_the_version_is_that_of_the_package(apex: Apex) -> None:
    result = apex("--version")
    assert (result.code, result.out) == (0, f"apex {apex_pipeline.__version__}\n")


def test_help_imports_none_of_the_large_libraries() -> None:
    """The budget of a start: each of these takes longer to import than the help to print."""
    script = (
        "import sys\nfrom apex_pipeline.cli import main\nsys.argv = ['apex', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}), sep=',')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    imported = set(done.stdout.splitlines()[-1].split(","))
    assert "rich" in imported
    assert not imported & {"pandas", "pyarrow", "numpy", "boto3", "botocore", "dagster", "yaml", "dotenv"}
    assert not imported & {"numba", "scipy", "duckdb", "prometheus_client", "markdown_it"}


@pytest.mark.parametrize(("words", "name"), [(("lapz",), "laps"), (("metric",), "metrics")])
def test_an_unknown_command_is_named_with_the_nearest_one(apex: Apex, words: tuple[str, ...], name: str) -> None:
    result = apex(*words)
    assert result.code == 2
    assert f"There is no command '{words[0]}'." in result.error
    assert f"Did you mean {name}?" in result.error


@pytest.mark.parametrize("words", [("laps",), ("laps", "a", "b", "--nope"), ("laps", "a", "b", "--limit", "x")])
def test_a_wrong_command_line_is_one_message_with_the_usage(apex: Apex, words: tuple[str, ...]) -> None:
    result = apex(*words)
    assert result.code == 2
    assert result.out == ""
    assert result.error.startswith("Problem: ")
    assert "Next step: Usage: apex laps [OPTIONS] TRACK SESSION;" in " ".join(result.error.split())


def test_a_shell_completes_the_names_of_commands_without_importing_them() -> None:
    script = (
        "import os, sys\nos.environ.update(_APEX_COMPLETE='complete_bash', COMP_WORDS='apex la', COMP_CWORD='1')\n"
        "from apex_pipeline.cli import main\nsys.argv = ['apex']\ntry:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('pyarrow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["laps", "False"]


def test_the_module_shows_apex_as_the_program_name() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "apex_pipeline", "gc", "--help"], capture_output=True, text=True, check=True
    )
    assert "Usage: apex gc [OPTIONS]" in done.stdout
