"""Gives every command that lists rows the same options, and prints its rows as they ask: a table, JSON, CSV or Parquet.

A command returns a :class:`Listing`; the decorator :func:`lists` adds the options and prints it. See ``layout.py`` for
how a table fits the screen.
"""

import csv
import inspect
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, time
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ParamSpec

import pyarrow as pa
import typer

from apex_pipeline.catalog.conditions import rows_where, sorted_rows, unknown_column
from apex_pipeline.cli.cells import cell_texts, decimals_of, is_number, moment_text
from apex_pipeline.cli.emit import print_lines, to_json
from apex_pipeline.cli.layout import Column, Layout, arrange, measure, table_lines
from apex_pipeline.errors import ConfigurationError
from apex_pipeline.storage.atomic import new_file
from apex_pipeline.tables.model import ZSTD_LEVEL, Table
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline.terminal import fit, printable, width_of

_Parameters = ParamSpec("_Parameters")
_PANEL = "Output"
# Rows that a terminal shows unless --limit says otherwise: more scroll away. Pipes and files get all.
_SHOWN_ROWS = 60
# Rows that become text at a time: 1 MB of cells, so that a million samples of telemetry need no gigabytes.
_SLICE_ROWS = 5_000


@dataclass(frozen=True)
class Listing:
    """Rows that a command lists.

    Attributes:
        rows: All rows and columns.
        title: What they are, without their number.
        columns: Names of the columns shown by default, the most important ones first; all by default.
        keys: How many of these identify a row.
        table: Its definition, which has the values that its columns can have.
        hidden: Columns that only ``--columns`` and files show: the same in every row, or in the title.
        folder_of: A column of paths; on a narrow screen their folders become headings.
        screen: What a screen shows instead of the rows unless columns are asked for: a summary of them.
        render: Prints what a screen shows instead of a table of the rows unless columns are asked for: a report.
        document: What ``--json`` prints instead of the rows.
        notes: Lines below the table.
        empty: What is printed where there are no rows, instead of a title without a table.
        exit_code: Exit code of the command.
    """

    rows: pa.Table
    title: str
    columns: tuple[str, ...] = ()
    keys: int = 1
    table: Table | None = None
    hidden: tuple[str, ...] = ()
    folder_of: str = ""
    screen: pa.Table | None = None
    render: Callable[[], None] | None = None
    document: object = None
    notes: tuple[str, ...] = ()
    empty: str = ""
    exit_code: int = 0


@dataclass(frozen=True)
class _Output:
    """How a listing is printed: the options that :func:`lists` adds."""

    where: str | None = None
    sort: str | None = None
    columns: str | None = None
    wide: bool = False
    limit: int | None = None
    as_json: bool = False
    as_csv: bool = False
    parquet: Path | None = None


Where = Annotated[
    str | None,
    typer.Option("--where", help='Only rows like this: "lap_time_s < 98 and is_valid".', rich_help_panel=_PANEL),
]
_OPTIONS: dict[str, Any] = {
    "where": Where,
    "sort": Annotated[
        str | None,
        typer.Option("--sort", help="Columns to sort by; -lap_time_s for descending.", rich_help_panel=_PANEL),
    ],
    "columns": Annotated[
        str | None,
        typer.Option("--columns", help="Columns to show, e.g. car_number,lap_time_s.", rich_help_panel=_PANEL),
    ],
    "wide": Annotated[bool, typer.Option("--wide", help="Show all columns.", rich_help_panel=_PANEL)],
    "limit": Annotated[
        int | None,
        typer.Option("--limit", help="Rows at most; a terminal shows 60 by default.", min=1, rich_help_panel=_PANEL),
    ],
    "as_json": Annotated[bool, typer.Option("--json", help="Print the rows as JSON.", rich_help_panel=_PANEL)],
    "as_csv": Annotated[bool, typer.Option("--csv", help="Print the rows as CSV.", rich_help_panel=_PANEL)],
    "parquet": Annotated[
        Path | None, typer.Option("--parquet", help="Write the rows to a new Parquet file.", rich_help_panel=_PANEL)
    ],
}


def lists(command: Callable[_Parameters, Listing]) -> Callable[..., None]:
    """Make a command that returns a listing print it; add the options of all listings that it does not have itself."""
    own = inspect.signature(command)
    added = [name for name in _OPTIONS if name not in own.parameters]

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> None:  # noqa: ANN401  -- those of the command
        chosen = _Output(**{name: options.pop(name) for name in added if name in options})
        listing = command(*arguments, **options)
        _emit(listing, chosen)
        raise typer.Exit(listing.exit_code)

    defaults = {name: getattr(_Output(), name) for name in added}
    extra = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=defaults[name], annotation=_OPTIONS[name])
        for name in added
    ]
    signature = own.replace(parameters=[*own.parameters.values(), *extra], return_annotation=None)
    run.__dict__["__signature__"] = signature  # typer reads the parameters from here
    run.__annotations__ = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    return run


def _emit(listing: Listing, output: _Output) -> None:
    if output.as_json + output.as_csv + (output.parquet is not None) > 1:
        raise ConfigurationError("--json, --csv and --parquet cannot be combined.", "Choose one of them.")
    names = _chosen_columns(listing, output.columns)
    listing = _selected(listing, output)
    if output.as_json and listing.document is not None:
        sys.stdout.write(json.dumps(listing.document, default=to_json) + "\n")
        return
    rows = listing.rows.select(names) if names else listing.rows
    rows = rows if output.limit is None else rows.slice(0, output.limit)
    if output.as_json:
        _print_json(rows)
    elif output.as_csv:
        _print_csv(rows)
    elif output.parquet is not None:
        _write_parquet(rows, output.parquet)
    elif names or output.wide or output.where or output.sort:
        print_listing(listing, names, is_wide=output.wide, limit=output.limit)
    elif listing.render is not None:
        listing.render()
    elif listing.screen is not None:
        print_listing(replace(listing, rows=listing.screen, columns=()), limit=output.limit)
    else:
        print_listing(listing, limit=output.limit)


def _selected(listing: Listing, output: _Output) -> Listing:
    """Return a listing with only the rows that ``--where`` chooses, in the order of ``--sort``."""
    rows = listing.rows
    if output.where:
        rows = rows_where(rows, output.where, allowed_values(listing.table))
    return replace(listing, rows=sorted_rows(rows, output.sort) if output.sort else rows)


def allowed_values(table: Table | None) -> Callable[[str], Sequence[str]]:
    """Return a function that returns the only values that a column of a table can have; none if it can have any."""
    known = {column.name: column.allowed for column in table.columns} if table else {}
    return lambda name: known.get(name, ())


def _chosen_columns(listing: Listing, text: str | None) -> list[str]:
    """Return the columns named by ``--columns``; none if it is not given.

    Raises:
        ConfigurationError: There is no such column.
    """
    if text is None:
        return []
    known, names = listing.rows.schema.names, [name.strip() for name in text.split(",") if name.strip()]
    for name in names or [text]:
        if name not in known:
            raise unknown_column(name, known)
    return list(dict.fromkeys(names))


def print_listing(
    listing: Listing, chosen: Sequence[str] = (), *, is_wide: bool = False, limit: int | None = None
) -> None:
    """Print rows as a table.

    Args:
        listing: The rows.
        chosen: The columns to show; by default those of the listing that fit.
        is_wide: Show all columns.
        limit: Maximum number of rows; by default 60 on a terminal and all elsewhere.
    """
    width = width_of(sys.stdout)
    every = [name for name in listing.rows.schema.names if name not in listing.hidden]
    default = [name for name in listing.columns if name in listing.rows.schema.names] or every
    names = list(chosen) or ([*default, *(name for name in every if name not in default)] if is_wide else default)
    total = listing.rows.num_rows
    shown = limit or (_SHOWN_ROWS if sys.stdout.isatty() else total)
    rows = listing.rows.slice(0, shown).select(names)
    if listing.empty and not total:
        print_lines(fit(listing.empty, width))
        return
    print_lines(fit(f"{listing.title} ({total:,} row{'' if total == 1 else 's'})", width), "bold")
    if total:
        text = _TextRows(rows, listing.folder_of if width is not None else "")
        layout = arrange(text.columns, width, keys=listing.keys, may_drop=not (chosen or is_wide))
        for line in table_lines(text.columns, layout, text.cells, width):
            print_lines([line.text], _STYLES.get(line.role, ""))
        notes = "\n".join(_notes(text.columns, layout, total, shown, len(every)))
        print_lines(fit(notes, width) if notes else (), "dim")
    else:
        print_lines(["There are none."])
    for note in listing.notes:
        print_lines(fit(note, width), "dim")


_STYLES = {"heading": "bold", "group": "dim"}


def _notes(columns: Sequence[Column], layout: Layout, total: int, shown: int, every: int) -> Iterator[str]:
    """Yield what the table leaves out."""
    if total > shown:
        yield f"… and {total - shown:,} more; --limit shows more, --json and --csv print them all."
    if layout.dropped:
        names = ", ".join(columns[place].name for place in layout.dropped)
        yield f"No room for: {names}. --wide, --columns A,B or a wider window shows them, --csv has all."
    elif len(columns) < every:
        yield f"{len(columns)} of {every} columns; --wide shows all, --columns A,B some."


class _TextRows:
    """Rows as text, made a slice at a time whenever they are needed.

    Args:
        rows: The rows.
        table: Its definition, which has the values that its columns can have.
        hidden: Columns that only ``--columns`` and files show: the same in every row, or in the title.
        folder_of: A column of paths; if they are wide, the column becomes ``file`` and their folders group the rows.
    """

    def __init__(self, rows: pa.Table, folder_of: str) -> None:
        self._rows = rows
        self._decimals = [decimals_of(column) for column in rows.columns]
        self._path = rows.schema.names.index(folder_of) if folder_of in rows.schema.names else None
        if self._path is not None and not self._measure(self._path, rows.schema.names[self._path]).may_go_below:
            self._path = None
        names = ["file" if place == self._path else name for place, name in enumerate(rows.schema.names)]
        self.columns = [self._measure(place, name) for place, name in enumerate(names)]

    def _measure(self, place: int, name: str) -> Column:
        kind = self._rows.schema.field(place).type
        texts = (text for part in self._slices() for text in self._texts(part, place, is_file=name == "file"))
        return measure(name, texts, is_number=is_number(kind), is_list=pa.types.is_list(kind))

    def _slices(self) -> Iterator[pa.Table]:
        for start in range(0, self._rows.num_rows, _SLICE_ROWS):
            yield self._rows.slice(start, _SLICE_ROWS)

    def _texts(self, part: pa.Table, place: int, *, is_file: bool) -> list[str]:
        texts = cell_texts(part.column(place), self._decimals[place])
        return [text.rpartition("/")[2] for text in texts] if is_file and place == self._path else texts

    def cells(self) -> Iterator[tuple[str, Sequence[str]]]:
        """Yield the group of each row and the text of each of its columns."""
        for part in self._slices():
            columns = [self._texts(part, place, is_file=True) for place in range(len(self.columns))]
            groups = [""] * part.num_rows
            if self._path is not None:
                paths = cell_texts(part.column(self._path), 0)
                groups = [f"{path.rpartition('/')[0] or '.'}/" for path in paths]
            yield from zip(groups, zip(*columns, strict=True), strict=True)


def _print_json(rows: pa.Table) -> None:
    """Print a list of objects: null for missing values and numbers that are none, times as ISO text in UTC."""
    separator = "["
    for part in rows.to_batches(max_chunksize=_SLICE_ROWS):
        for row in part.to_pylist():
            sys.stdout.write(separator + json.dumps({name: _json_value(value) for name, value in row.items()}))
            separator = ","
    sys.stdout.write("[]\n" if separator == "[" else "]\n")


def _json_value(value: object) -> object:
    if isinstance(value, datetime | time):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return None if value != value else value  # noqa: PLR0124  -- NaN is the only value unequal to itself


def _print_csv(rows: pa.Table) -> None:
    """Print a header and all rows: times as ISO text in UTC, lists separated by spaces, missing values empty."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(rows.schema.names)
    is_terminal = sys.stdout.isatty()
    for part in rows.to_batches(max_chunksize=_SLICE_ROWS):
        for row in zip(*(column.to_pylist() for column in part.columns), strict=True):
            texts = [_csv_value(value) for value in row]
            writer.writerow([printable(str(text)) for text in texts] if is_terminal else texts)


def _csv_value(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return moment_text(value)
    if isinstance(value, time):
        return value.isoformat(timespec="milliseconds")
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return "" if value is None else value


def _write_parquet(rows: pa.Table, target: Path) -> None:
    import pyarrow.parquet as pq  # noqa: PLC0415  -- takes 0.05 s, and few listings become files

    with new_file(target) as unfinished:
        pq.write_table(rows, unfinished, compression="zstd", compression_level=ZSTD_LEVEL)
    print_lines([f"{target}: {rows.num_rows:,} rows, {target.stat().st_size:,} bytes"])


def one_session(rows: pa.Table, what: str, key: SessionKey, columns: tuple[str, ...], **details: Any) -> Listing:  # noqa: ANN401  -- fields of Listing
    """Return the listing of rows of one session, which its title names instead of two columns."""
    return Listing(rows, f"{what} of {key}", columns, hidden=("track", "session", "chassis"), **details)
