"""Progress of a sync: bars on a terminal, lines of text without one, JSON lines where the log is JSON."""

import json
import os
import pty
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import pytest

from apex_pipeline.cli.sync_progress import progress_listener
from apex_pipeline.orchestration.sync import SyncEvent


@dataclass
class Terminal:
    """Standard error on a pseudo-terminal; ``text`` is everything shown on it, set once the terminal is closed."""

    stream: TextIO
    text: str = ""


@contextmanager
def open_terminal(monkeypatch: pytest.MonkeyPatch) -> Generator[Terminal]:
    """Yield a terminal whose output a thread reads; otherwise its writer would block after 4 kB."""
    controller, terminal_fd = pty.openpty()
    monkeypatch.setenv("COLUMNS", "160")
    seen: list[bytes] = []

    def read() -> None:
        with suppress(OSError):  # the terminal was closed
            while content := os.read(controller, 65_536):
                seen.append(content)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    with os.fdopen(terminal_fd, "w", encoding="utf-8") as stream:
        monkeypatch.setattr("sys.stderr", stream)
        terminal = Terminal(stream)
        yield terminal
    reader.join(timeout=60)
    os.close(controller)
    terminal.text = b"".join(seen).decode()


def test_a_terminal_shows_bars_and_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_terminal(monkeypatch) as terminal, progress_listener() as listener:
        listener(SyncEvent("find", "3 files"))
        listener(SyncEvent("copy", "3 files to copy", total=2_000_000, unit="bytes"))
        listener(SyncEvent("copy", "", "spa/R1", done=1_000_000, unit="bytes"))
        listener(SyncEvent("copy", "2 files, 1,000,000 bytes", "spa/R1"))
        listener(SyncEvent("derive", "2 sessions to derive", total=2, unit="sessions"))
        listener(SyncEvent("derive", "derived", "spa/R1", done=1, unit="sessions"))
        listener(SyncEvent("derive", "failed: no header", "spa/R2"))
    assert "3 files" in terminal.text
    assert "spa/R2: failed: no header" in terminal.text
    assert "1 of 2" in terminal.text
    assert "1.0 of 2.0 MB" in terminal.text


def test_bars_stay_on_the_terminal_while_a_run_redirects_stderr(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with open_terminal(monkeypatch) as terminal, progress_listener() as listener:
        listener(SyncEvent("derive", "1 session to derive", total=2_000_000, unit="bytes"))
        with (tmp_path / "log").open("w") as log:
            os.dup2(log.fileno(), terminal.stream.fileno())
        listener(SyncEvent("derive", "", "spa/R1", done=1_000_000, unit="bytes"))
    assert "1.0 of 2.0 MB" in terminal.text
    assert (tmp_path / "log").read_text() == ""


def test_without_a_terminal_a_sync_writes_one_line_of_text_per_message(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_listener() as listener:
        listener(SyncEvent("copy", "3 files to copy", total=2_000_000, unit="bytes"))
        listener(SyncEvent("copy", "", "spa/R1", done=1_000_000, unit="bytes"))
        listener(SyncEvent("copy", "2 files, 1,000,000 bytes", "spa/R1"))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == ["copy       3 files to copy", "copy       spa/R1: 2 files, 1,000,000 bytes"]


def test_where_the_log_is_json_a_sync_writes_one_json_object_per_message(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APEX_LOG_FORMAT", "json")
    with progress_listener() as listener:
        listener(SyncEvent("copy", "3 files to copy", total=2_000_000, unit="bytes"))
        listener(SyncEvent("copy", "", "spa/R1", done=1_000_000, unit="bytes"))
        listener(SyncEvent("copy", "2 files, 1,000,000 bytes", "spa/R1"))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert [json.loads(line) for line in printed.err.splitlines()] == [
        {"stage": "copy", "message": "3 files to copy", "total": 2_000_000},
        {"stage": "copy", "message": "2 files, 1,000,000 bytes", "session": "spa/R1"},
    ]
