"""What a stream can show: width, colours, and text that is continued between words."""

import fcntl
import io
import os
import pty
import struct
import termios
from collections.abc import Iterator
from typing import TextIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from apex_pipeline.terminal import fit, fold, has_colours, printable, styled, width_of


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[TextIO]:
    for name in ("COLUMNS", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    controller, descriptor = pty.openpty()
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        yield stream
    os.close(controller)


def _resize(stream: TextIO, columns: int) -> None:
    fcntl.ioctl(stream.fileno(), termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))


def test_the_width_is_that_of_the_terminal_and_columns_overrides_it(
    terminal: TextIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    _resize(terminal, 132)
    assert width_of(terminal) == 132
    monkeypatch.setenv("COLUMNS", "99")
    assert width_of(terminal) == 99


def test_a_terminal_that_does_not_know_its_width_has_80_columns(terminal: TextIO) -> None:
    _resize(terminal, 0)
    assert width_of(terminal) == 80


@pytest.mark.parametrize(("columns", "width"), [("", None), ("0", None), ("wide", None), ("120", 120)])
def test_a_pipe_has_the_width_of_columns_or_none(
    monkeypatch: pytest.MonkeyPatch, columns: str, width: int | None
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert width_of(io.StringIO()) == width


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_are_for_terminals_that_want_them(
    terminal: TextIO, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    assert has_colours(terminal)
    assert styled("13", "bold", terminal) == "\x1b[1m13\x1b[0m"
    assert not has_colours(io.StringIO())
    monkeypatch.setenv(name, value)
    assert styled("13", "bold", terminal) == "13"


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("one two three", 8, ["one two", "three"]),
        ("Lake    /data/races/lake: 9 sessions", 24, ["Lake    /data/races/", "        lake: 9 sessions"]),
        ("  - one two three", 10, ["  - one", "  two", "  three"]),
        ("a/ b c", 4, ["a/ b", "c"]),
        ("1;2;3;4;5;6", 6, ["1;2;3;", "4;5;6"]),
        ("two\nlines", 80, ["two", "lines"]),
        ("x" * 9, 4, ["x" * 9]),
        ("", 10, [""]),
    ],
)
def test_text_is_continued_between_words_below_its_label(text: str, width: int, lines: list[str]) -> None:
    assert list(fit(text, width)) == lines


@given(st.text(st.sampled_from("a9 ,;/漢\x1b\t"), max_size=300), st.integers(12, 60))
def test_a_folded_line_is_never_wider_than_the_screen_and_loses_no_character(text: str, width: int) -> None:
    lines = list(fold(text, width, "line 7: ", " " * 8))
    assert max(map(cell_len, lines)) <= width
    assert "".join(line[8:] for line in lines) == printable(text)


def test_a_folded_line_in_a_pipe_is_one_line() -> None:
    assert list(fold("x" * 500, None, "line 7: ")) == ["line 7: " + "x" * 500]
