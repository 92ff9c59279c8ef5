"""Runs commands on a terminal of some width, or in a pipe, and reads the tables that they print."""

import fcntl
import os
import pty
import re
import struct
import termios
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any

import pytest
from rich.cells import cell_len

from apex_pipeline.cli import main

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def run_on_terminal(patch: pytest.MonkeyPatch, columns: int, *words: str) -> tuple[int, list[str]]:
    """Run a command on a terminal of this width; return its exit code and the lines without their colours."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    seen: list[bytes] = []

    def read() -> None:
        with suppress(OSError):  # the terminal was closed
            while content := os.read(controller, 65_536):
                seen.append(content)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    with patch.context() as own, os.fdopen(terminal, "w", encoding="utf-8") as stream:
        own.delenv("COLUMNS", raising=False)
        own.setattr("sys.stdout", stream)
        own.setattr("sys.argv", ["apex", *words])
        with pytest.raises(SystemExit) as ended:
            main()
    reader.join(timeout=60)
    os.close(controller)
    text = _COLOUR.sub("", b"".join(seen).decode()).replace("\r\n", "\n")
    code = ended.value.code
    return code if isinstance(code, int) else 0, text.splitlines()


def too_wide(lines: list[str], columns: int) -> list[str]:
    """Return the lines that are wider than the screen."""
    return [line for line in lines if cell_len(line) > columns]


def printed_rows(lines: list[str], names: list[str]) -> list[dict[str, str]]:
    """Return the rows of a printed table as text, put together again from its blocks and the lines below its rows."""
    rows: list[dict[str, str]] = []
    heading: list[str] = []
    number, below, indent = -1, "", 0
    for line in lines[1:]:
        cells = re.split(r" {2,}", line.strip())
        if set(cells) <= set(names) and not line.startswith("    "):
            heading, number, below = cells, -1, ""
        elif (label := re.match(r"    (\w+): ", line)) and label[1] in names:
            below, indent = label[1], label.end()
            rows[number][below] = line[label.end() :]
        elif below and line[:indent].isspace() and not line[indent].isspace():
            rows[number][below] += " " + line.strip()
        elif heading and len(cells) == len(heading):
            number, below = number + 1, ""
            rows += [{} for _ in range(number + 1 - len(rows))]
            rows[number] |= dict(zip(heading, cells, strict=True))
        else:
            heading = heading if not line else []
    return rows


def differences(rows: list[dict[str, str]], expected: list[dict[str, Any]]) -> Iterator[str]:
    """Yield every printed cell that is not the value of the table."""
    if len(rows) != len(expected):
        yield f"{len(rows)} rows are printed of {len(expected)}"
    for row, values in zip(rows, expected, strict=False):
        for name, text in row.items():
            if not _is_same(text, values[name]):
                yield f"{name}: {text!r} is printed for {values[name]!r}"


def _is_same(text: str, value: Any) -> bool:
    if value is None or value == []:
        return text == "-"
    if isinstance(value, bool):
        return text == ("yes" if value else "no")
    if isinstance(value, int | float):
        return abs(float(text) - value) <= 0.5e-6
    if isinstance(value, list):
        return text == ", ".join(map(str, value))
    if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", value):
        return datetime.fromisoformat(text) == datetime.fromisoformat(value)
    return text == (str(value) or '""')
