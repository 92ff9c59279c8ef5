"""Splits text into lines, the same way everywhere: LF, CR LF, CR CR LF, or CR alone end a line.

Line numbers in rejects, tables and traces count these lines. See ``csv_reader.py`` for their cells.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO

# CR CR LF is what a text file becomes that was converted to Windows line endings twice.
_LINE_END = re.compile(r"\r+\n|\n|\r")
_LINE_END_BYTES = re.compile(rb"\r+\n|\n|\r")

# Text read at a time. Every real lap and timing file is one block.
_BLOCK_BYTES = 1_000_000


def split_lines(text: str) -> list[str]:
    """Return the lines of a text; what follows the last line end is a line, too, unless it is empty."""
    lines = _LINE_END.split(text)
    return lines if lines[-1] else lines[:-1]


def split_byte_lines(text: bytes) -> list[bytes]:
    """Return the lines of undecoded text, see :func:`split_lines`."""
    lines = _LINE_END_BYTES.split(text)
    return lines if lines[-1] else lines[:-1]


def count_line_ends(text: str) -> int:
    """Return the number of line ends in a text."""
    return sum(1 for _ in _LINE_END.finditer(text))


def first_line(block: bytes) -> bytes:
    """Return the first line of undecoded text."""
    return _LINE_END_BYTES.split(block, maxsplit=1)[0]


def blocks_of_lines(text: BinaryIO, longest: int) -> Iterator[bytes]:
    """Yield a text in blocks of complete lines; the last block may end within a line.

    Args:
        text: Uncompressed bytes.
        longest: Maximum length of a line in bytes. A longer one ends the text; it is in the last block as far as it was
            read.
    """
    rest = b""
    while len(rest) <= longest:
        content = text.read(_BLOCK_BYTES)
        block = rest + content
        if len(content) < _BLOCK_BYTES:  # the end of the text
            rest = block
            break
        # A CR at the very end is not a line end yet, because another CR or an LF may follow.
        end = max(block.rfind(b"\n"), block.rfind(b"\r", 0, len(block.rstrip(b"\r")))) + 1
        rest = block[end:]
        if end:
            yield block[:end]
    if rest:
        yield rest
