"""The quick reader for one thread: its buffers, and what it took from a piece of text as arrays and texts.

Here belongs the border between Python and ``compiled``. The buffers are used again for every piece: memory the
system has to hand out anew costs more than parsing (6 CPU seconds for 3 GB against 1.6).
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from apex_pipeline.sources.gr_cup.laps.triggers import LOST_LAP
from apex_pipeline.sources.gr_cup.telemetry.chunks import CHUNK_BYTES, LONGEST_LINE_BYTES
from apex_pipeline.sources.gr_cup.telemetry.header import Header
from apex_pipeline.sources.gr_cup.telemetry.line_parser import NO_LAP, UNREADABLE_LAP
from apex_pipeline.sources.gr_cup.telemetry.spill import Frames, join

# Different cars, sessions and channels in one piece; with more it is read in several goes.
_TEXTS = 1_000
# Lines set aside in one go.
_ASIDE = 10_000
_BLANK = (b"", b"\r")


class ParsedChunk(NamedTuple):
    """What was taken from a piece of text.

    Attributes:
        end: Where the next line begins.
        lines: Lines passed.
        blank: Blank lines among them.
        frames: The readings; channels are places in ``channels``.
        vehicle: Place of each frame's car in ``vehicles``. Shape (frames,).
        session: Place of each frame's session in ``sessions``, -1 if it tells none. Shape (frames,).
        line: Line of each frame's first reading, from 0. Shape (frames,).
        aside: Line from 0, first byte and end of each line left to others.
        vehicles: Texts.
        sessions: The same.
        channels: The same.
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
    """Takes what it can from pieces of text."""

    def __init__(self) -> None:
        from apex_pipeline.sources.gr_cup.telemetry.kernels import buffers as space  # noqa: PLC0415 -- see there
        from apex_pipeline.sources.gr_cup.telemetry.kernels import json_lists  # noqa: PLC0415 -- see there
        from apex_pipeline.sources.gr_cup.telemetry.kernels import rows as lines  # noqa: PLC0415 -- see there
        from apex_pipeline.sources.gr_cup.telemetry.kernels import scan as text  # noqa: PLC0415 -- see there

        most = CHUNK_BYTES // space.SHORTEST_READING + 1
        self._places = space
        self._gather_bytes = text.gather_bytes
        self._parse_lines, self._parse_lists = lines.parse_lines, json_lists.parse_lists
        self._space = space.Buffers(
            frames=np.empty((space.FRAME_ROWS, most), np.int64),
            channel=np.empty(most, np.uint16),
            value=np.empty(most, np.float64),
            aside=np.empty((_ASIDE, 3), np.int64),
            long_numbers=np.empty((most, 3), np.int64),
            texts=np.empty((3, _TEXTS, 2), np.int64),
            counts=np.zeros(space.COUNTS, np.int64),
        )

    def parse_chunk(self, buffer: bytearray, start: int, size: int, most_lines: int, layout: Header) -> ParsedChunk:
        """Take the readings of whole lines, until the text ends or something is full.

        Args:
            buffer: Holds the text.
            start: Where to begin in it.
            size: Where the text ends, behind a line feed.
            most_lines: Stop after so many lines.
            layout: Of these lines.

        Returns:
            Copies of nothing: the arrays are used again by the next call.
        """
        text = np.frombuffer(buffer, np.uint8, size)
        parse = self._parse_lists if layout.is_listed else self._parse_lines
        end = parse(text, start, most_lines, *_rules_of(layout), *self._space)
        self._fill_in_long_numbers(text)
        taken = self._taken(text, end)
        is_plain = all(text == text.strip() for text in (*taken.vehicles, *taken.channels))
        return taken if is_plain else self._leave_all(buffer, start, end, taken.lines)

    def _taken(self, text: np.ndarray, end: int) -> ParsedChunk:
        kinds, space = self._places, self._space
        counts = [int(count) for count in space.counts]
        frames, readings = counts[kinds.FRAMES], counts[kinds.READINGS]
        row = [space.frames[index, :frames] for index in range(kinds.FRAME_ROWS)]
        return ParsedChunk(
            end=end,
            lines=counts[kinds.LINES],
            blank=counts[kinds.BLANK],
            frames=Frames(
                row[kinds.FRAME_CAR_MS],
                row[kinds.FRAME_RECEIVED_MS],
                row[kinds.FRAME_LAP],
                row[kinds.FRAME_READINGS],
                space.channel[:readings],
                space.value[:readings],
            ),
            vehicle=row[kinds.FRAME_VEHICLE],
            session=row[kinds.FRAME_SESSION],
            line=row[kinds.FRAME_LINE],
            aside=[tuple(place) for place in space.aside[: counts[kinds.ASIDE]].tolist()],
            vehicles=self._texts(text, kinds.VEHICLES),
            sessions=self._texts(text, kinds.SESSIONS),
            channels=self._texts(text, kinds.CHANNELS),
        )

    def _texts(self, text: np.ndarray, kind: int) -> list[str]:
        places = self._space.texts[kind, : self._space.counts[kind]].tolist()
        return [text[first : first + length].tobytes().decode("ascii") for first, length in places]

    def _fill_in_long_numbers(self, text: np.ndarray) -> None:
        """Give the numbers with 17 digits their value: Arrow finds the nearest double, at 50 ns each."""
        places = self._space.long_numbers[: self._space.counts[self._places.LONG_NUMBERS]]
        if not len(places):
            return
        offsets = np.zeros(len(places) + 1, np.int32)
        np.cumsum(places[:, 2], out=offsets[1:])
        digits = np.empty(offsets[-1], np.uint8)
        self._gather_bytes(text, places, digits)
        texts = pa.StringArray.from_buffers(len(places), pa.py_buffer(offsets), pa.py_buffer(digits))
        # A zero without sign, so that two zeros are equal in every way.
        self._space.value[places[:, 0]] = texts.cast(pa.float64()).to_numpy() + 0.0

    def _leave_all(self, buffer: bytearray, start: int, size: int, most_lines: int) -> ParsedChunk:
        """Take nothing from the text: every line is left to others."""
        text = np.frombuffer(buffer, np.uint8, size - start, start)
        ends = (np.flatnonzero(text == ord("\n")) + start)[:most_lines]
        begins = np.append(start, ends[:-1] + 1)
        lines = [
            (line, begin, end) for line, (begin, end) in enumerate(zip(begins.tolist(), ends.tolist(), strict=True))
        ]
        aside = [place for place in lines if bytes(buffer[place[1] : place[2]]) not in _BLANK]
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


@lru_cache
def _rules_of(layout: Header) -> tuple[np.ndarray, np.ndarray]:
    """Return what each column holds and how the lines are written, as ``compiled`` wants it."""
    from apex_pipeline.sources.gr_cup.telemetry.kernels import buffers as space  # noqa: PLC0415 -- see there

    roles = {
        "vehicle_id": space.VEHICLE,
        "timestamp": space.CAR_TIME,
        "meta_time": space.RECEIVED_TIME,
        "lap": space.LAP,
        "meta_session": space.SESSION,
        "telemetry_name": space.CHANNEL,
        "value" if layout.is_listed else "telemetry_value": space.VALUE,
    }
    if layout.is_listed:
        # A list names its channels itself; a column of that name means nothing.
        del roles["telemetry_name"]
    columns = np.array([roles.get(name, space.NOTHING) for name in layout.columns], np.uint8)
    laps = space.LapCodes(LOST_LAP, NO_LAP, UNREADABLE_LAP)
    delimiter, is_quoted = layout.dialect.delimiter, layout.is_quoted
    return columns, space.rules_of(columns, delimiter, is_quoted=is_quoted, longest=LONGEST_LINE_BYTES, laps=laps)
