"""Lays out rows of text as an aligned table that fits a width: no value is cut or folded, and no line is wider.

What does not fit beside the other columns goes below its row (sentences and lists), into a further block of columns, or
is left out and named. See ``cells.py`` for the text of values and ``listing.py`` for what is shown of a result.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from apex_pipeline.cli.cells import EMPTY, NULL
from apex_pipeline.terminal import wrap

_GAP = 2
_INDENT = "    "
# A column whose widest value is wider than this holds sentences or lists, which read better below their row.
_WIDE_TEXT = 40


@dataclass(frozen=True)
class Column:
    """A column of a table of text.

    Attributes:
        name: Its heading.
        width: Width of its widest value or of its heading.
        word_width: Width of the longest word of its values; a text is continued on the next line between words only.
        is_number: Its values are aligned to the right and never go below their row.
        is_list: Its values may always go below their row, and not only if they are wide.
    """

    name: str
    width: int
    word_width: int = 0
    is_number: bool = False
    is_list: bool = False

    @property
    def may_go_below(self) -> bool:
        """Whether its values may go below their row."""
        return not self.is_number and (self.is_list or self.width > _WIDE_TEXT)


@dataclass(frozen=True)
class Layout:
    """Where each column goes; columns are given by their position.

    Attributes:
        blocks: Columns side by side; one block is printed after the other.
        above: Columns that identify a row and are too wide to stand beside the others: they go above it.
        below: Columns whose values go below their row.
        dropped: Columns that are not shown.
    """

    blocks: tuple[tuple[int, ...], ...]
    above: tuple[int, ...]
    below: tuple[int, ...]
    dropped: tuple[int, ...]


def measure(name: str, texts: Iterable[str], *, is_number: bool = False, is_list: bool = False) -> Column:
    """Return a column with the widths of these values."""
    width = word_width = cell_len(name)
    for text in texts:
        width = max(width, cell_len(text))
        word_width = max(word_width, *map(cell_len, text.split(" ")))
    return Column(name, width, word_width, is_number, is_list)


def arrange(columns: Sequence[Column], width: int | None, *, keys: int = 1, may_drop: bool = True) -> Layout:
    """Decide where each column goes.

    Args:
        columns: The columns, the most important ones first.
        width: Width of the screen; ``None`` without a limit.
        keys: How many of the first columns identify a row; every block starts with them.
        may_drop: Leave out the last columns that do not fit, instead of adding blocks.
    """
    places = tuple(range(len(columns)))
    if width is None or _width(columns, places) <= width:
        return Layout((places,), (), (), ())
    texts = [place for place in places if columns[place].may_go_below]
    beside = [place for place in places if place not in texts and columns[place].width <= width]
    above = [place for place in texts if place < keys and columns[place].width <= width]
    room = width - len(_INDENT) if above else width
    blocks = _blocks(columns, [place for place in beside if columns[place].width <= room], room, keys)
    shown = {*blocks[0]} if may_drop else {place for block in blocks for place in block}
    below: list[int] = []
    for place in texts:
        if place not in above and len(blocks) == 1 and _width(columns, [*blocks[0], place]) <= room:
            blocks[0].append(place)
        elif place not in above and columns[place].word_width <= width:
            below.append(place)
    shown |= {*blocks[0], *above, *below}
    kept = blocks[:1] if may_drop else blocks
    dropped = tuple(place for place in places if place not in shown)
    return Layout(tuple(map(tuple, kept)), tuple(above), tuple(below), dropped)


def _blocks(columns: Sequence[Column], places: Sequence[int], width: int, keys: int) -> list[list[int]]:
    """Distribute columns over blocks; the keys start every block if they take at most half of the width."""
    repeated = [place for place in places if place < keys]
    if _width(columns, repeated) * 2 > width:
        repeated = []
    blocks: list[list[int]] = [[]]
    for place in places:
        if blocks[-1] and _width(columns, [*blocks[-1], place]) > width:
            blocks.append([*repeated] if _width(columns, [*repeated, place]) <= width else [])
        blocks[-1].append(place)
    return blocks


def _width(columns: Sequence[Column], places: Sequence[int]) -> int:
    return sum(columns[place].width for place in places) + _GAP * max(len(places) - 1, 0)


@dataclass(frozen=True)
class Line:
    """A line of a table, and how it is shown: a heading, a rule below it, the name of a group, or part of a row."""

    text: str
    role: str = "row"


def table_lines(
    columns: Sequence[Column],
    layout: Layout,
    rows: Callable[[], Iterable[tuple[str, Sequence[str]]]],
    width: int | None,
) -> Iterator[Line]:
    """Yield the lines of a table.

    Args:
        columns: The columns.
        layout: Where they go.
        rows: Returns all rows from the first one on: the name of the row's group, and the text of every column.
        width: Width of the screen; ``None`` without a limit.
    """
    margin = _INDENT if layout.above else ""
    for number, block in enumerate(layout.blocks):
        is_last = number == len(layout.blocks) - 1
        if number:
            yield Line("")
        if block:
            yield Line(margin + _side_by_side(columns, block, [column.name for column in columns]), "heading")
        group = ""
        for name, cells in rows():
            if name != group:
                group = name
                yield Line(name, "group")
            yield from (Line(cells[place]) for place in layout.above)
            if block:
                yield Line(margin + _side_by_side(columns, block, cells))
            for place in layout.below if is_last else ():
                if cells[place] not in {"", EMPTY, NULL}:
                    yield from map(Line, _below(columns[place].name, cells[place], width or 0))


def _below(name: str, text: str, width: int) -> Iterator[str]:
    """Yield a value with its column's name, on lines of its own."""
    longest = max(map(cell_len, text.split(" ")))
    label = f"{_INDENT}{name}: "
    if cell_len(label) + longest <= width:
        yield from wrap(text, width, label, " " * cell_len(label))
        return
    yield label.rstrip() if cell_len(label.rstrip()) <= width else name
    indent = _INDENT if len(_INDENT) + longest <= width else ""
    yield from wrap(text, width, indent, indent)


def _side_by_side(columns: Sequence[Column], block: Sequence[int], cells: Sequence[str]) -> str:
    parts: list[str] = []
    for place in block:
        padding = " " * (columns[place].width - cell_len(cells[place]))
        parts.append(padding + cells[place] if columns[place].is_number else cells[place] + padding)
    return (" " * _GAP).join(parts).rstrip()
