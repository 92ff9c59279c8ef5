"""Every error that reaches the entry point becomes a message and an exit code, never a traceback."""

import errno
import json
import os
import sqlite3
import sys
from collections.abc import Callable
from typing import NoReturn

import pyarrow as pa
import pytest
import sqlalchemy.exc
import yaml
from botocore.exceptions import EndpointConnectionError

from apex_pipeline.entry_point import run_command_line
from apex_pipeline.errors import ConfigurationError
from apex_pipeline.process.interrupts import Interrupted
from apex_pipeline.process.standard_streams import OutputError


def _raise(error: BaseException) -> NoReturn:
    raise error


def _code(body: Callable[[], object]) -> object:
    with pytest.raises(SystemExit) as ended:
        run_command_line(body)
    return ended.value.code


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (ConfigurationError("A is wrong.", "Set B."), "A is wrong."),
        (pa.ArrowInvalid("Not a Parquet file\nmore"), "ArrowInvalid: Not a Parquet file)"),
        (sqlite3.DatabaseError("file is not a database"), "A database cannot be used"),
        (sqlalchemy.exc.OperationalError("SELECT 1", {}, Exception("disk full")), "A database cannot be used"),
        (yaml.YAMLError("bad indentation"), "A YAML file cannot be read"),
        (json.JSONDecodeError("Expecting value", "", 0), "A JSON document cannot be read"),
        (EndpointConnectionError(endpoint_url="http://nowhere"), "The object store cannot be used"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/state/x"), "/state/x: No space left on device."),
        (PermissionError(errno.EACCES, "Permission denied", "/home/x"), "/home/x: Permission denied."),
        (OSError("the disk went away"), "the disk went away."),
        (MemoryError(), "There is not enough memory."),
        (RecursionError("maximum recursion depth exceeded"), "nested too deeply"),
    ],
)
def test_a_known_error_is_a_problem_with_a_next_step(
    error: Exception, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _code(lambda: _raise(error)) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("Problem: ")
    assert problem in shown
    assert "\nNext step: " in shown
    assert "more" not in shown


def test_any_other_error_is_a_bug(capsys: pytest.CaptureFixture[str]) -> None:
    assert _code(lambda: _raise(KeyError("session"))) == 70
    shown = capsys.readouterr().err
    assert shown.startswith("Problem: Unexpected error: KeyError: 'session'\n")
    assert "APEX_DEBUG=1" in shown


def test_a_bug_without_a_message_names_its_type(capsys: pytest.CaptureFixture[str]) -> None:
    assert _code(lambda: _raise(AssertionError())) == 70
    assert "AssertionError: no description" in capsys.readouterr().err


def test_developers_get_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APEX_DEBUG", "1")
    with pytest.raises(KeyError):
        run_command_line(lambda: _raise(KeyError("session")))


@pytest.mark.parametrize("code", [None, 0, 1, 2])
def test_the_exit_code_of_a_command_is_kept(code: int | None) -> None:
    assert _code(lambda: sys.exit(code)) == code


def test_a_command_that_returns_has_succeeded() -> None:
    assert _code(lambda: None) == 0


def test_an_interruption_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert _code(lambda: _raise(Interrupted(15))) == 143
    assert capsys.readouterr().err.startswith("Stopped by SIGTERM.")


@pytest.mark.parametrize(
    ("number", "code", "message"), [(errno.EPIPE, 141, ""), (errno.ENOSPC, 1, "No space left on device")]
)
def test_output_that_cannot_be_written(
    number: int, code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _code(lambda: _raise(OutputError(OSError(number, os.strerror(number))))) == code
    shown = capsys.readouterr().err
    assert message in shown
    assert bool(shown) == bool(message)
