"""Writes HTML: every text is escaped here, and nowhere else.

Elements are strings; what is a string and not an element passes through :func:`text` first.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

_WHY = "why"
# HTML allows no control characters but tab and new line, and an id or number from a raw file may contain any. Half of a
# surrogate pair cannot be encoded at all.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: Its heading, with the unit.
        is_text: Aligned to the left; numbers are aligned to the right.
    """

    title: str
    is_text: bool = False


def text(value: object) -> str:
    """Return a value as text that means only itself; nothing for ``None``."""
    return "" if value is None else escape(_UNPRINTABLE.sub("\ufffd", str(value)))


def name(value: object) -> str:
    """Return a name, kept apart from what is beside it: it may be written from right to left."""
    return f"<bdi>{text(value)}</bdi>"


def element(tag: str, content: str, classes: str = "") -> str:
    """Return an element around content that is HTML already."""
    return f'<{tag} class="{classes}">{content}</{tag}>' if classes else f"<{tag}>{content}</{tag}>"


def paragraph(sentence: str, classes: str = "") -> str:
    """Return a paragraph of plain text; nothing without text."""
    return element("p", text(sentence), classes) if sentence else ""


def missing(sentence: str) -> str:
    """Return a paragraph that says why something is missing."""
    return paragraph(sentence, _WHY)


def is_missing_something(html: str) -> bool:
    """Return whether a part of a page says of something why it is missing. No text can look as if it did."""
    return f'<p class="{_WHY}">' in html


def table(caption: str, columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> str:
    """Return a table that scrolls sideways by itself where the page is too narrow.

    Args:
        caption: What the rows are, plain text.
        columns: The first one heads its row.
        rows: A cell for each column, as HTML.
    """
    head = "".join(f'<th scope="col"{_left(column)}>{text(column.title)}</th>' for column in columns)
    body = "".join(f"<tr>{_cells(columns, row)}</tr>" for row in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{text(caption)}"><table>'
        f"<caption>{text(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cells(columns: Sequence[Column], row: Sequence[str]) -> str:
    first, *others = zip(columns, row, strict=True)
    cells = "".join(f"<td{_left(column)}>{cell}</td>" for column, cell in others)
    return f'<th scope="row"{_left(first[0])}>{first[1]}</th>{cells}'


def _left(column: Column) -> str:
    return ' class="t"' if column.is_text else ""


def section(anchor: str, title: str, *parts: str) -> str:
    """Return a section with a heading; ``anchor`` is its id."""
    return f'<section id="{anchor}"><h2>{text(title)}</h2>{"".join(parts)}</section>'


def figure(caption: str, drawing: str, *notes: str, as_table: str = "") -> str:
    """Return a figure with its caption, notes in plain text and the same as a table, folded away."""
    said = "".join(paragraph(note, "m") for note in notes)
    folded = f"<details><summary>The same as a table</summary>{as_table}</details>" if as_table else ""
    return f"<figure><figcaption>{text(caption)}</figcaption>{drawing}{said}{folded}</figure>"
