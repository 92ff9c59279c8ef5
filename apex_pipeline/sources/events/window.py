"""Reads a file as a sliding window of bytes that knows where in the file it is.

Contains the only place that reads bytes of events. Memory is bounded by the window; offsets and lines count in the
file itself, also where it was converted to UTF-8.
"""

import codecs
import re
from collections.abc import Callable
from typing import BinaryIO

from apex_pipeline.sources.events.encoding import FileEncoding, find_encoding

# Large enough that the copy of the rest of a window per block costs nothing, and small in memory.
_BLOCK_BYTES = 1_048_576
_HEAD_BYTES = 4
# White space, and byte order marks: files that begin with one are appended to each other.
_SPACES = re.compile(rb"(?:[ \t\r\n]++|\xef\xbb\xbf)*+")
# The bytes of a character of UTF-8 after its first.
_CONTINUATIONS = frozenset(bytes([byte]) for byte in range(0x80, 0xC0))
_KEEP_UNDECODABLE = "apex-keep-undecodable"
# Half a character. It has as many bytes as what it stands for, except for half a code unit at the end of a file.
_NOT_TEXT = "\ud800"


class Window:
    """The unread rest of a file, as far as it has been read ahead.

    Args:
        file: The uncompressed bytes.

    Attributes:
        data: The bytes at hand: of the file, or converted to UTF-8 if the encoding is wide.
        start: Index in ``data`` of the first byte that is not done with.
        encoding: The encoding that the first bytes show.
        is_complete: Whether ``data`` reaches to the end of the file.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._begin()

    def rewind(self) -> None:
        """Go back to the start of the file."""
        self._file.seek(0)
        self._begin()

    def _begin(self) -> None:
        head = _read_fully(self._file, _HEAD_BYTES)
        self.encoding: FileEncoding = find_encoding(head)
        self._is_wide = self.encoding.is_wide
        self._decoder = codecs.getincrementaldecoder(self.encoding.name)(_KEEP_UNDECODABLE) if self._is_wide else None
        self.start = 0
        self.is_complete = False
        self.data = self._converted(head[self.encoding.mark :], final=False)
        # Offset and line of data[_counted].
        self._counted, self._offset, self._line, self._lines_counted = 0, self.encoding.mark, 1, 0
        self.read_more()

    @property
    def remaining(self) -> int:
        """Number of bytes at hand that are not done with."""
        return len(self.data) - self.start

    def read_more(self) -> bool:
        """Forget what is done with, read another block, and return whether the end had not been reached.

        Indices into ``data`` that were taken before are smaller by the old ``start`` afterwards.
        """
        if self.is_complete:
            return False
        self._count_to(self.start)
        block = _read_fully(self._file, _BLOCK_BYTES)
        self.is_complete = len(block) < _BLOCK_BYTES
        self._count_lines_to(self.start)
        self.data = self.data[self.start :] + self._converted(block, final=self.is_complete)
        self._counted = self._lines_counted = self.start = 0
        return True

    def offset_of(self, index: int) -> int:
        """Return the offset in the file of a byte at hand; indices must not decrease below ``start``."""
        if not self._is_wide:
            return self._offset + index - self._counted
        return self._offset + self._width(self._counted, index)

    def line_of(self, index: int) -> int:
        """Return the line of a byte at hand, from 1."""
        self._count_lines_to(self.start)
        return self._line + self.data.count(b"\n", self._lines_counted, index)

    def original(self, begin: int, end: int) -> bytes:
        """Return the bytes of the file that ``data[begin:end]`` stands for."""
        part = self.data[begin:end]
        if not self._is_wide:
            return part
        return part.decode("utf-8", "surrogatepass").encode(self.encoding.name, "surrogatepass")

    def skip_space(self) -> None:
        """Be done with all white space that comes next, as far as it is at hand."""
        found = _SPACES.match(self.data, self.start)
        if found and found.end() > self.start:
            self.advance(found.end())

    def skip_past(self, closing: bytes) -> bool:
        """Be done with everything up to the next ``closing``, however far away; return false if there is none.

        Then nothing has changed. Memory is that of the window all the same.
        """
        go_back = self.bookmark()
        while (found := self.data.find(closing, self.start)) < 0:
            self.keep_last(len(closing) - 1)
            if not self.read_more():
                go_back()
                return False
        self.advance(found + len(closing))
        return True

    def has_ahead(self, closing: bytes, index: int) -> bool:
        """Return whether ``closing`` comes at or after a byte at hand, however far away; nothing changes."""
        go_back = self.bookmark()
        self.advance(index)
        found = self.skip_past(closing)
        go_back()
        return found

    def bookmark(self) -> Callable[[], None]:
        """Return what comes back to this place, however far the window has moved from it."""
        place = self._file.tell()
        decoder = None if self._decoder is None else self._decoder.getstate()
        saved = self.data, self.start, self.is_complete
        counts = self._counted, self._offset, self._line, self._lines_counted

        def go_back() -> None:
            self._file.seek(place)
            if self._decoder is not None and decoder is not None:
                self._decoder.setstate(decoder)
            self.data, self.start, self.is_complete = saved
            self._counted, self._offset, self._line, self._lines_counted = counts

        return go_back

    def keep_last(self, count: int, begin: int = 0) -> None:
        """Be done with all but the last bytes at hand, so that what began in them is found after another read.

        Args:
            count: How many bytes to keep; a few more where a character begins before them.
            begin: Index of the first byte that may be kept.
        """
        self.advance(self.before_character(max(self.start, begin, len(self.data) - count)))

    def before_character(self, index: int) -> int:
        """Return the next place at or before an index at which a character of UTF-8 begins, or the start."""
        while index > self.start and self.data[index : index + 1] in _CONTINUATIONS:
            index -= 1
        return max(self.start, index)

    def take(self, end: int) -> tuple[int, int]:
        """Return offset and length in the file of everything before an index, and be done with it."""
        begin = self.offset_of(self.start)
        length = self.offset_of(end) - begin if self._is_wide else end - self.start
        self.advance(end)
        return begin, length

    def advance(self, index: int) -> None:
        """Be done with everything before an index."""
        if self._is_wide:
            self._count_to(index)
        self.start = index

    def _count_to(self, index: int) -> None:
        self._offset = self.offset_of(index)
        self._counted = index

    def _count_lines_to(self, index: int) -> None:
        self._line += self.data.count(b"\n", self._lines_counted, index)
        self._lines_counted = index

    def _width(self, begin: int, end: int) -> int:
        """Return how many bytes of the file a part of the converted bytes stands for."""
        return len(self.original(begin, end)) if end > begin else 0

    def _converted(self, block: bytes, *, final: bool) -> bytes:
        if self._decoder is None:
            return block
        return self._decoder.decode(block, final).encode("utf-8", "surrogatepass")


def _keep_undecodable(error: UnicodeError) -> tuple[str, int]:
    """Turn what is not text into a lone surrogate, which later fails the event it is in, and only that one."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    try:
        return error.object[error.start : error.end].decode(error.encoding, "surrogatepass"), error.end
    except UnicodeDecodeError:
        return _NOT_TEXT, error.end


codecs.register_error(_KEEP_UNDECODABLE, _keep_undecodable)


def _read_fully(file: BinaryIO, count: int) -> bytes:
    """Return ``count`` bytes, or fewer at the end of the file; a raw stream may give fewer in between."""
    parts: list[bytes] = []
    while count and (part := file.read(count)):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
