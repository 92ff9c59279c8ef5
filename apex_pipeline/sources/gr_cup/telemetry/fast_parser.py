"""Runs the fast parser in one thread: owns its buffers and returns the readings of a chunk as arrays and names.

This is the interface between Python and ``kernels``. The buffers are reused for every chunk: allocating them again
costs more than parsing (6 CPU seconds for 3 GB against 0.7).
"""

from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from apex_pipeline.sources.gr_cup.laps.triggers import LOST_LAP
from apex_pipeline.sources.gr_cup.parsing import is_vehicle_id
from apex_pipeline.sources.gr_cup.telemetry.arrow_arrays import values_of
from apex_pipeline.sources.gr_cup.telemetry.chunks import CHUNK_BYTES
from apex_pipeline.sources.gr_cup.telemetry.header import Header
from apex_pipeline.sources.gr_cup.telemetry.line_parser import NO_LAP, UNREADABLE_LAP
from apex_pipeline.sources.gr_cup.telemetry.notation import Notation
from apex_pipeline.sources.gr_cup.telemetry.spill import Frames, join

# Maximum number of lines set aside per call.
_ASIDE = 10_000
_LINE_FEED = 10


class ParsedChunk(NamedTuple):
    """Readings parsed from a chunk of text.

    Attributes:
        end: Position of the next line.
        lines: Number of lines consumed.
        blank: Number of blank lines among them.
        frames: The readings; their channel codes are indices of ``channels``.
        vehicle: Index of each frame's car in ``vehicles``. Shape (frames,).
        session: Index of each frame's session in ``sessions``, -1 if it has none. Shape (frames,).
        line: Line of each frame's first reading, from 0. Shape (frames,).
        aside: Line from 0, first byte and end of each line set aside for the reference parser.
        vehicles: Vehicle ids in the chunk.
        sessions: Session names in the chunk.
        channels: Raw channels in the chunk.
    """

    end: int
    lines: int
    blank: int
    frames: Frames
    vehicle: np.ndarray
    session: np.ndarray
    line: np.ndarray
    aside: list[tuple[int, int, int]]
    vehicles: list[str]
    sessions: list[str]
    channels: list[str]


class FastParser:
    """Parses ordinary lines with compiled code and sets all others aside."""

    def __init__(self) -> None:
        from apex_pipeline.sources.gr_cup.telemetry.kernels import buffers, vectors  # noqa: PLC0415 -- see there

        capacity = CHUNK_BYTES // buffers.SHORTEST_READING + 1
        self._kinds = buffers
        self._padding = vectors.PADDING
        self._buffers = buffers.Buffers(
            frames=np.empty((buffers.FRAME_ROWS, capacity), np.int64),
            channel=np.empty(capacity, np.uint16),
            value=np.empty(capacity, np.float64),
            aside=np.empty((_ASIDE, 3), np.int64),
            long_numbers=np.empty((capacity, 3), np.int64),
            texts=np.empty((3, buffers.MAX_TEXTS, 2), np.int64),
            counts=np.zeros(buffers.COUNTS, np.int64),
            fields=np.empty(buffers.FRAME_ROWS, np.int64),
        )

    def text_buffer(self, size: int) -> bytearray:
        """Return a buffer for ``size`` bytes of text, padded as :meth:`parse_chunk` needs it."""
        return bytearray(size + self._padding)

    def parse_chunk(self, buffer: bytearray, start: int, size: int, max_lines: int, header: Header) -> ParsedChunk:
        """Parse complete lines until the text ends or a buffer is full.

        Args:
            buffer: Buffer with the text, from :meth:`text_buffer`.
            start: Position of the first line.
            size: End of the text, after a line feed.
            max_lines: Maximum number of lines.
            header: Header of these lines.

        Returns:
            The parsed readings. The arrays are views of the buffers, which the next call overwrites.

        Raises:
            ValueError: The buffer has no padding after the text, which would be read.
        """
        padded = size + self._padding
        if len(buffer) < padded or (size and buffer[size - 1] != _LINE_FEED):
            raise ValueError(
                f"A text of {size:,} bytes needs a buffer of {padded:,} and a line feed at its end; use `text_buffer`."
            )
        text = np.frombuffer(buffer, np.uint8, padded)
        roles, rules, classes = _rules_of(header)
        cells = np.empty((len(roles) + 1, self._kinds.CELL), np.int64)
        end = _parser_for(header)(text, start, max_lines, roles, rules, classes, cells, *self._buffers)
        self._fill_in_long_numbers(text)
        parsed = self._parsed_chunk(text, end)
        longest = header.limits.cell_characters
        is_clean = (
            header.notation is not Notation.DECIMAL_COMMA
            and all(text == text.strip() for text in (*parsed.vehicles, *parsed.channels))
            and all(len(text) <= longest for text in (*parsed.vehicles, *parsed.sessions, *parsed.channels))
            and all(map(is_vehicle_id, parsed.vehicles))
        )
        return parsed if is_clean else self._set_all_aside(buffer, start, end, parsed.lines)

    def _parsed_chunk(self, text: np.ndarray, end: int) -> ParsedChunk:
        kinds, buffers = self._kinds, self._buffers
        counts = [int(count) for count in buffers.counts]
        frames, readings = counts[kinds.FRAMES], counts[kinds.READINGS]
        row = [buffers.frames[index, :frames] for index in range(kinds.FRAME_ROWS)]
        return ParsedChunk(
            end=end,
            lines=counts[kinds.LINES],
            blank=counts[kinds.BLANK],
            frames=Frames(
                row[kinds.FRAME_CAR_MS],
                row[kinds.FRAME_RECEIVED_MS],
                row[kinds.FRAME_LAP],
                row[kinds.FRAME_READINGS],
                buffers.channel[:readings],
                buffers.value[:readings],
            ),
            vehicle=row[kinds.FRAME_VEHICLE],
            session=row[kinds.FRAME_SESSION],
            line=row[kinds.FRAME_LINE],
            aside=[tuple(line) for line in buffers.aside[: counts[kinds.ASIDE]].tolist()],
            vehicles=self._interned(text, kinds.VEHICLES),
            sessions=self._interned(text, kinds.SESSIONS),
            channels=self._interned(text, kinds.CHANNELS),
        )

    def _interned(self, text: np.ndarray, kind: int) -> list[str]:
        slices = self._buffers.texts[kind, : self._buffers.counts[kind]].tolist()
        return [text[first : first + length].tobytes().decode("ascii") for first, length in slices]

    def _fill_in_long_numbers(self, text: np.ndarray) -> None:
        """Fill in numbers of more than 19 digits or 27 decimals: Arrow finds the nearest double, at 50 ns each."""
        slices = self._buffers.long_numbers[: self._buffers.counts[self._kinds.LONG_NUMBERS]]
        if not len(slices):
            return
        from apex_pipeline.sources.gr_cup.telemetry.kernels.decimals import gather_bytes  # noqa: PLC0415 -- see above

        offsets = np.zeros(len(slices) + 1, np.int32)
        np.cumsum(slices[:, 2], out=offsets[1:])
        digits = np.empty(offsets[-1], np.uint8)
        gather_bytes(text, slices, digits)
        texts = pa.StringArray.from_buffers(len(slices), pa.py_buffer(offsets), pa.py_buffer(digits))
        # Adding 0.0 removes the sign of a zero, so that all zeros have equal bits.
        self._buffers.value[slices[:, 0]] = values_of(texts.cast(pa.float64()), np.float64) + 0.0

    def _set_all_aside(self, buffer: bytearray, start: int, size: int, max_lines: int) -> ParsedChunk:
        """Set aside every line of the text for the reference parser."""
        text = np.frombuffer(buffer, np.uint8, size - start, start)
        ends = (np.flatnonzero(text == ord("\n")) + start)[:max_lines]
        starts = np.append(start, ends[:-1] + 1)
        lines = [
            (line, first, end) for line, (first, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True))
        ]
        aside = [line for line in lines if bytes(buffer[line[1] : line[2]]).strip(b"\r")]
        none = np.empty(0, np.int64)
        return ParsedChunk(
            end=int(ends[-1]) + 1,
            lines=len(lines),
            blank=len(lines) - len(aside),
            frames=join([]),
            vehicle=none,
            session=none,
            line=none,
            aside=aside,
            vehicles=[],
            sessions=[],
            channels=[],
        )


def _parser_for(header: Header) -> Callable[..., int]:
    """Return the compiled parser of these lines; the others are not loaded, which takes 0.1 s each."""
    if header.is_listed:
        from apex_pipeline.sources.gr_cup.telemetry.kernels.json_lists import parse_lists  # noqa: PLC0415 -- as above

        return parse_lists
    if not header.is_quoted and ("telemetry_name", "telemetry_value") in pairwise(header.columns):
        from apex_pipeline.sources.gr_cup.telemetry.kernels.plain_rows import (  # noqa: PLC0415 -- as above
            parse_plain_lines,
        )

        return parse_plain_lines
    from apex_pipeline.sources.gr_cup.telemetry.kernels.rows import parse_lines  # noqa: PLC0415 -- as above

    return parse_lines


@lru_cache
def _rules_of(header: Header) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the roles of the columns, the rules of the lines and the classes of bytes, as the kernels take them."""
    from apex_pipeline.sources.gr_cup.telemetry.kernels import buffers  # noqa: PLC0415 -- see there

    roles = {
        "vehicle_id": buffers.VEHICLE,
        "timestamp": buffers.CAR_TIME,
        "meta_time": buffers.RECEIVED_TIME,
        "lap": buffers.LAP,
        "meta_session": buffers.SESSION,
        "telemetry_name": buffers.CHANNEL,
        "value" if header.is_listed else "telemetry_value": buffers.VALUE,
    }
    if header.is_listed:
        # A list names its channels itself, so a channel column is ignored.
        del roles["telemetry_name"]
    columns = np.array([roles.get(name, buffers.NOTHING) for name in header.columns], np.uint8)
    laps = buffers.LapCodes(LOST_LAP, NO_LAP, UNREADABLE_LAP)
    delimiter, is_quoted, longest = header.dialect.delimiter, header.is_quoted, header.limits.line_bytes
    rules = buffers.rules_of(columns, delimiter, is_quoted=is_quoted, longest=longest, laps=laps)
    return columns, rules, buffers.classes_of(rules, is_listed=header.is_listed)
