r"""Knows what a stream can show: its width, whether it has colours, and how to make text safe and narrow enough for it.

Text in race files and their names is written by strangers: characters that move a cursor, change colours or hide
others are shown as escapes such as ``\x1b``. See ``console.py`` for errors and progress, ``cli/emit.py`` for results.
"""

import os
import re
import unicodedata
from collections.abc import Iterator
from typing import TextIO

from rich.cells import cell_len

# Categories of characters that are not shown as themselves: controls, formats (zero width, right to left), private use,
# surrogates, unassigned, and the separators of lines and paragraphs.
_HIDDEN = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})
# Of terminals that do not know their own, such as those of some editors and of serial lines.
_USUAL_WIDTH = 80
_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}
# A label such as "Source    " at the start of a line: what follows it continues below itself.
_LABEL = re.compile(r"\s*\S+\s{2,}|\s*")
# Longer labels would leave too little of the line.
_WIDEST_LABEL = 24


def printable(text: str) -> str:
    r"""Return text with characters that a terminal would act on, or not show, as escapes such as ``\n`` or ``\x1b``."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(one) if unicodedata.category(one) in _HIDDEN else one for one in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def width_of(stream: TextIO) -> int | None:
    """Return the width in which lines should fit: ``COLUMNS``, else the terminal's; ``None`` for a pipe or a file."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given):
        return int(given)
    if not stream.isatty():
        return None
    try:
        return os.get_terminal_size(stream.fileno()).columns or _USUAL_WIDTH
    except OSError:
        return _USUAL_WIDTH


def has_colours(stream: TextIO) -> bool:
    """Return whether text may be coloured: on a terminal, unless ``NO_COLOR`` is set (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def styled(text: str, style: str, stream: TextIO) -> str:
    """Return text in bold, dim, red, green or yellow where the stream has colours, else unchanged."""
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if style and text and has_colours(stream) else text


def fit(text: str, width: int | None) -> Iterator[str]:
    """Yield text as lines of a width, broken between words.

    A word that is wider than a line is broken after a slash, comma or semicolon; without any, the terminal folds it,
    so that it can be copied whole. See :func:`fold` for text of which no line may be wider.

    Args:
        text: Lines of text; what follows a label, or the indentation, of a line continues below itself.
        width: Width of the screen; ``None`` without a limit.
    """
    for line in map(printable, text.split("\n")):
        if width is None or cell_len(line) <= width:
            yield line
            continue
        match = _LABEL.match(line)
        label = match[0] if match else ""
        indent = " " * cell_len(label) if cell_len(label) <= min(_WIDEST_LABEL, width // 2) else ""
        yield from wrap(line[len(label) :], width, label, indent)


def fold(text: str, width: int | None, first: str = "", rest: str = "") -> Iterator[str]:
    """Yield text as lines that start with ``first`` and ``rest``, and are never wider than a width.

    Broken after a space, slash, comma or semicolon, and within a word that has none; no character is lost.
    """
    start, left = first, printable(text)
    while width and cell_len(start + left) > width:
        room = _length_within(left, width - cell_len(start))
        end = max(left.rfind(mark, 0, room) for mark in " /,;") + 1 or room
        yield start + left[:end]
        start, left = rest, left[end:]
    yield start + left


def _length_within(text: str, width: int) -> int:
    """Return how many characters of a text fit a width; at least one."""
    return next((size for size in range(min(len(text), width), 1, -1) if cell_len(text[:size]) <= width), 1)


def wrap(text: str, width: int, first: str, rest: str) -> Iterator[str]:
    """Yield text as lines of a width that start with ``first`` and ``rest``; words are broken as in :func:`fit`."""
    line, is_empty = first, True
    for word in text.split(" "):
        for number, part in enumerate(_parts(word, width - cell_len(rest))):
            gap = "" if is_empty or number else " "
            if not is_empty and cell_len(line) + len(gap) + cell_len(part) > width:
                yield line
                line, gap = rest, ""
            line += gap + part
            is_empty = False
    yield line


def _parts(word: str, width: int) -> list[str]:
    """Return a word whole if it fits, else broken after the marks that paths and raw rows consist of."""
    return [word] if cell_len(word) <= width else re.findall(r"[^/,;]*[/,;]|[^/,;]+", word)
