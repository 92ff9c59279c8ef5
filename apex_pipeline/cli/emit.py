"""Prints results: JSON for programs, tables and lines for people.

Only results go to standard output, so they can be piped; see console.py for progress and errors.
"""

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.table import Table as RichTable

from apex_pipeline.console import console, error_console

# Maximum rows shown per table; the rest are only counted. --json and Parquet include all rows.
_SHOWN_ROWS = 60


def emit(result: object, *, as_json: bool, render: Callable[[], None]) -> None:
    """Print the result of a command.

    Args:
        result: What ``--json`` prints: a frame as a list of rows, anything else as one object on one line.
        as_json: Whether ``--json`` was given.
        render: Prints the result for people.
    """
    if not as_json:
        render()
    elif isinstance(result, pd.DataFrame):  # null for missing values, ISO times in UTC
        sys.stdout.write(result.to_json(orient="records", date_format="iso", date_unit="ms") + "\n")
    else:
        sys.stdout.write(json.dumps(result, default=_to_json) + "\n")


def emit_csv(frame: pd.DataFrame) -> None:
    """Print all rows of a frame as CSV; lists become their items, separated by spaces."""
    plain = frame.map(lambda value: " ".join(map(str, value)) if isinstance(value, list | tuple) else value)
    sys.stdout.write(plain.to_csv(index=False, lineterminator="\n"))


def _to_json(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def print_line(line: str, *, style: str = "", end: str = "\n") -> None:
    """Print a line verbatim: no markup, no highlighted numbers, no wrapping."""
    console().print(line, style=style, end=end, markup=False, highlight=False, soft_wrap=True)


def warn_renamed(old: str, new: str) -> None:
    """Print on standard error that a command has a new name."""
    line = f"`{old}` is now `{new}`; the old spelling will be removed in the next release."
    error_console().print(line, markup=False, highlight=False, soft_wrap=True)


def plain_table(left: Iterable[str], right: Iterable[str] = (), *, title: str | None = None) -> RichTable:
    """Return an empty table without borders: left-aligned columns, then right-aligned ones."""
    table = RichTable(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in left:
        table.add_column(name, overflow="fold")
    for name in right:
        table.add_column(name, justify="right")
    return table


def print_frame(frame: pd.DataFrame, title: str) -> None:
    """Print the first 60 rows of a frame as a table, with the total row count."""
    out = console()
    out.print(f"[bold]{title}[/] ({len(frame):,} rows)", highlight=False)
    table = RichTable()
    for name in frame.columns:
        table.add_column(str(name), overflow="fold")
    for row in frame.head(_SHOWN_ROWS).itertuples(index=False):
        table.add_row(*(_cell(value) for value in row))
    out.print(table)
    print_rest(len(frame), _SHOWN_ROWS)


def print_rest(total: int, shown: int) -> None:
    """Print how many entries of a list were omitted, if any."""
    if total > shown:
        print_line(f"… and {total - shown:,} more; --json prints them all.")


def _cell(value: Any) -> str:  # noqa: ANN401  -- a cell of any frame
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ", ".join(map(str, value))
    if pd.isna(value):
        return ""
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    if isinstance(value, pd.Timestamp):
        return value.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"
    return str(value).replace("[", "\\[")
