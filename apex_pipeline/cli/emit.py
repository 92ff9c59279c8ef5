"""Prints results: JSON for programs, tables and lines for people.

Only results go to standard output, so they can be piped; see console.py for progress and errors, and listing.py for
commands that list rows of tables.
"""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime
from pathlib import Path

from apex_pipeline.cli.layout import arrange, measure, table_lines
from apex_pipeline.terminal import fit, printable, styled, width_of


def emit(result: object, *, as_json: bool, render: Callable[[], None]) -> None:
    """Print the result of a command.

    Args:
        result: What ``--json`` prints, as one object on one line.
        as_json: Whether ``--json`` was given.
        render: Prints the result for people.
    """
    if not as_json:
        render()
    else:
        sys.stdout.write(json.dumps(result, default=to_json) + "\n")


def to_json(value: object) -> object:
    """Return the JSON form of a value that has none of its own."""
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: getattr(value, one.name) for one in fields(value)}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def print_line(line: str, *, style: str = "", end: str = "\n") -> None:
    """Print a line as it is; on a screen it is continued below itself where it is too long."""
    lines = list(fit(line, width_of(sys.stdout)))
    print_lines(lines[:-1], style)
    sys.stdout.write(styled(lines[-1], style, sys.stdout) + end)


def print_lines(lines: Iterable[str], style: str = "") -> None:
    """Print lines that fit already."""
    for line in lines:
        sys.stdout.write(styled(line, style, sys.stdout) + "\n")


def warn_renamed(old: str, new: str) -> None:
    """Print on standard error that a command has a new name."""
    sys.stderr.write(f"`{old}` is now `{new}`; the old spelling will be removed in the next release.\n")


@dataclass
class TextTable:
    """A table of text, as part of a report.

    Attributes:
        left: Names of the columns aligned to the left, which come first.
        right: Names of the columns of numbers.
        title: Printed above it.
        rows: The cells of each row.
    """

    left: Sequence[str]
    right: Sequence[str] = ()
    title: str = ""
    rows: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])

    def add(self, *cells: str) -> None:
        """Add a row."""
        self.rows.append(tuple(map(printable, cells)))

    def show(self) -> None:
        """Print it; columns that do not fit follow in further blocks."""
        width, names = width_of(sys.stdout), (*self.left, *self.right)
        columns = [
            measure(name, (row[place] for row in self.rows), is_number=place >= len(self.left))
            for place, name in enumerate(names)
        ]
        layout = arrange(columns, width, may_drop=False)
        if self.title:
            print_lines(fit(self.title, width), "bold")
        for line in table_lines(columns, layout, lambda: (("", row) for row in self.rows), width):
            print_lines([line.text], "bold" if line.role == "heading" else "")
        if layout.dropped:
            dropped = ", ".join(names[place] for place in layout.dropped)
            print_lines(fit(f"Wider than the screen, so not shown: {dropped}; --json has them.", width))


def print_rest(total: int, shown: int) -> None:
    """Print how many entries of a list were omitted, if any."""
    if total > shown:
        print_line(f"… and {total - shown:,} more; --json prints them all.")
