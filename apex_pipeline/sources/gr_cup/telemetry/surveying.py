"""The first reading of a telemetry file, as bytes: its data lines counted, and the lines nobody can parse found.

The count makes the conservation check real, because it does not come from the engine it checks. A broken line can do
harm beyond itself (an open quote swallows the lines up to the next one, a very long line is lost without a word, half a
million lines of the wrong width take a gigabyte of memory), so it never reaches that engine: it is rejected here, and
the engine gets a copy with an empty line in its place. What the cells of a line mean is not looked at.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from apex_pipeline.progress import Progress
from apex_pipeline.sources.gr_cup.files import FileKind, Reject
from apex_pipeline.sources.gr_cup.telemetry.loading import Bytes, Shape, TelemetryFile
from apex_pipeline.sources.gr_cup.telemetry.report import TOLD_REJECTS

# A line of telemetry has 135 characters, one with a list of readings a few kilobytes; anything longer is no line.
LONGEST_LINE_BYTES = 1_000_000
_BLOCK_BYTES = 4_000_000
_SHOWN_BYTES = 200
_QUOTED = re.compile(b'"[^"]*+"')
_LINE_FEED, _CARRIAGE_RETURN = b"\n\r"


@dataclass(frozen=True)
class Survey:
    """What a file's bytes tell.

    Attributes:
        lines: Data lines; the header and empty lines are none.
        broken: Broken lines among them, counted by reason.
        told: The first of them one by one.
    """

    lines: int
    broken: dict[str, int]
    told: tuple[Reject, ...]


def survey_lines(file: TelemetryFile, shape: Shape, progress: Progress | None) -> Survey:
    """Count a file's data lines and find the broken ones.

    Raises:
        VanishedFileError: The file is gone.
        MalformedFileError: It cannot be unpacked.
    """
    lines, broken = 0, Counter[str]()
    told: list[Reject] = []
    find = _BrokenLines(shape)
    with file.open_text() as stream:
        for block in _blocks(stream, progress):
            clean = find.pass_clean(block)
            if clean is not None:
                lines += clean
                continue
            for number, line, reason in find.lines_of(block):
                lines += bool(line)
                if reason:
                    broken[reason] += 1
                    if len(told) < TOLD_REJECTS:
                        start = line[:_SHOWN_BYTES].decode(shape.dialect.encoding, errors="replace")
                        told.append(Reject(file.identity.path, number, FileKind.TELEMETRY, reason, start))
    return Survey(max(lines - 1, 0), dict(broken), tuple(told))  # the header is no data line


def write_clean_copy(file: TelemetryFile, shape: Shape, path: Path) -> TelemetryFile:
    """Write a file with an empty line for each broken one, so that all others keep their line numbers."""
    find = _BrokenLines(shape)
    with file.open_text() as stream, path.open("wb") as copy:
        for block in _blocks(stream, None):
            copy.writelines((b"" if reason else line) + b"\n" for _, line, reason in find.lines_of(block))
    return TelemetryFile(path, file.identity, is_clean_copy=True)


class _BrokenLines:
    """Tells broken lines, block by block, and keeps count of the lines passed."""

    def __init__(self, shape: Shape) -> None:
        self._passed = 0
        self._delimiter = shape.dialect.delimiter.encode()
        self._width = len(shape.dialect.columns)
        self._cells = _cells_pattern(shape.dialect.delimiter) if shape.is_quoted else None

    def pass_clean(self, block: bytes) -> int | None:
        """Pass a block whose lines can all be seen at once to be whole; return their number.

        Returns:
            ``None`` where a line might be empty or broken: then each must be looked at, with :meth:`lines_of`.
        """
        text = np.frombuffer(block, np.uint8)
        ends = np.flatnonzero(text == _LINE_FEED)
        lengths = np.diff(ends, prepend=-1)  # each with its line feed: an empty line has one byte, or two with CR
        if (
            (self._cells and b'"' in block)
            or b"\0" in block
            or not block.endswith(b"\n")
            or lengths.min() <= len(b"\r\n")
            or lengths.max() > LONGEST_LINE_BYTES
            or not self._all_fit(np.flatnonzero(text == ord(self._delimiter)), ends)
            or np.count_nonzero(text == _CARRIAGE_RETURN) != np.count_nonzero(text[ends - 1] == _CARRIAGE_RETURN)
        ):
            return None
        self._passed += len(ends)
        return len(ends)

    def _all_fit(self, delimiters: np.ndarray, ends: np.ndarray) -> bool:
        """Tell whether each line has as many delimiters as the header; a sum would hide a surplus behind a lack."""
        between = self._width - 1
        if len(delimiters) != len(ends) * between:
            return False
        of_line = delimiters.reshape(len(ends), between)
        return bool((of_line[1:, 0] > ends[:-1]).all() and (of_line[:, -1] < ends).all())

    def lines_of(self, block: bytes) -> Iterator[tuple[int, bytes, str | None]]:
        """Yield number, bytes without end, and what is wrong of each line; of a line that is too long the beginning."""
        lines = block.split(b"\n")
        if block.endswith(b"\n"):
            lines.pop()
        for raw in lines:
            self._passed += 1
            line = raw.removesuffix(b"\r")
            yield self._passed, line, self._reason(line) if self._passed > 1 else None

    def _reason(self, line: bytes) -> str | None:
        if len(line) > LONGEST_LINE_BYTES:
            return "line_too_long"
        if b"\0" in line:
            return "nul_byte"
        if b"\r" in line:
            return "stray_carriage_return"
        if self._cells and b'"' in line:
            if not self._cells.fullmatch(line):
                return "broken_quotes"
            line = _QUOTED.sub(b"", line)
        return self._misfit(line) if line else None

    def _misfit(self, line: bytes) -> str | None:
        cells = line.count(self._delimiter) + 1
        if cells < self._width:
            return "too_few_columns"
        # One empty cell more is what a delimiter at the end of every line leaves.
        if cells > self._width + line.endswith(self._delimiter):
            return "too_many_columns"
        return None


def _cells_pattern(delimiter: str) -> re.Pattern[bytes]:
    """Return the pattern of a line whose cells are each either in quotes or without any."""
    cell = rf'(?:"[^"]*+(?:""[^"]*+)*+"|[^"{delimiter}]*+)'
    return re.compile(rf"{cell}(?:{delimiter}{cell})*+".encode())


def _blocks(stream: Bytes, progress: Progress | None) -> Iterator[bytes]:
    """Yield the file in blocks of whole lines; of a line that is too long, just enough to tell that it is."""
    while block := stream.read(_BLOCK_BYTES):
        rest = stream.readline(LONGEST_LINE_BYTES + 1)
        skipped = _skip_line(stream) if len(rest) > LONGEST_LINE_BYTES and not rest.endswith(b"\n") else 0
        if progress:
            progress(len(block) + len(rest) + skipped)
        yield block + rest + (b"\n" if skipped else b"")


def _skip_line(stream: Bytes) -> int:
    """Read to the end of the line; return how many bytes that were."""
    skipped = 0
    while more := stream.readline(_BLOCK_BYTES):
        skipped += len(more)
        if more.endswith(b"\n"):
            break
    return skipped


__all__ = ["LONGEST_LINE_BYTES", "Survey", "survey_lines", "write_clean_copy"]
