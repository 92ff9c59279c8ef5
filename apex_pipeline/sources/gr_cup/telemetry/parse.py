"""From the lines of telemetry files to readings by car, on all processors, every line accounted for.

Here belongs the work on one piece of text: the quick reader takes it, careful Python what is left, and the readings go
to their cars. Not here: what a line means (``compiled.lines``, ``careful``) and where readings are kept
(``car_readings``).
"""

from collections import Counter
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from apex_pipeline.errors import MalformedFileError
from apex_pipeline.progress import Progress
from apex_pipeline.sources.base import Reject
from apex_pipeline.sources.csv_reader import SHOWN_CHARACTERS
from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.sources.gr_cup.laps.triggers import is_wrong_session
from apex_pipeline.sources.gr_cup.telemetry import line_parser
from apex_pipeline.sources.gr_cup.telemetry.chunks import CHUNK_BYTES, Chunk, ChunkReader, TelemetryFile
from apex_pipeline.sources.gr_cup.telemetry.fast_parser import FastParser, ParsedChunk
from apex_pipeline.sources.gr_cup.telemetry.header import Header, parse_header
from apex_pipeline.sources.gr_cup.telemetry.line_parser import UNREADABLE_LAP, Line
from apex_pipeline.sources.gr_cup.telemetry.report import REPORTED_REJECTS
from apex_pipeline.sources.gr_cup.telemetry.spill import Frames, ReadingSpill

# More threads need more memory each, and two are what the smallest machine has.
THREADS = 2
_END_OF_FILE = 2**62
# Each one means reading the file once more. A file put together by hand has a few.
_MOST_HEADERS = 20


@dataclass
class ParseStats:
    """What became of the lines of one file.

    Attributes:
        readings_in: Readings in the file: lines by their line feeds, blank ones and the header left out, and where a
            line holds a list, its elements.
        unreadable_laps: Usable readings whose lap is no lap.
        reasons: Rejected readings by reason.
        told: Rejects one by one, more than are needed.
    """

    readings_in: int = 0
    unreadable_laps: int = 0
    reasons: Counter[str] = field(default_factory=Counter[str])
    samples: list[Reject] = field(default_factory=list[Reject])

    def reject(self, path: str, line: int, reason: str, detail: str) -> None:
        """Count one reading that cannot be used, and tell it if it may be among the first."""
        self.reasons[reason] += 1
        self.samples.append(Reject(path, line, FileKind.TELEMETRY, reason, detail))
        # A file of nothing but bad lines must not fill the memory.
        if len(self.samples) > 4 * REPORTED_REJECTS:
            self.samples = self.first_samples()

    def first_samples(self) -> list[Reject]:
        """Return the first rejects of the file, in its order."""
        return sorted(self.samples, key=lambda reject: reject.line or 0)[:REPORTED_REJECTS]

    def add(self, other: "ParseStats") -> None:
        """Add what another thread counted."""
        self.readings_in += other.readings_in
        self.unreadable_laps += other.unreadable_laps
        self.reasons.update(other.reasons)
        self.samples += other.samples


class _HeaderChanged(Exception):  # noqa: N818  -- no error: the file goes on in another way
    """A further header with other columns was met."""

    def __init__(self, line: int, layout: Header) -> None:
        super().__init__(line)
        self.line = line
        self.layout = layout


def read_file(
    file: TelemetryFile,
    readings: ReadingSpill,
    progress: Progress | None = None,
    only_channels: Collection[str] | None = None,
) -> ParseStats:
    """Read a telemetry file.

    Args:
        file: The file.
        readings: Where its readings go.
        progress: Told about the file's bytes as they are read.
        only_channels: Raw names in lower case; other readings are passed over.

    Returns:
        What became of its lines.

    Raises:
        VanishedFileError: The file is gone.
        MalformedFileError: It is empty, binary, cannot be unpacked, or lacks a column it cannot do without.
    """
    layouts = {1: parse_header(file)}
    mark = readings.mark()
    while True:
        try:
            return _read_lines(file, layouts, readings, progress, only_channels)
        except _HeaderChanged as found:
            # Threads have read further by then, with the columns of the first header. Rare, so begin again.
            layouts[found.line] = found.layout
            if len(layouts) > _MOST_HEADERS:
                raise MalformedFileError(
                    f"{file.identity.path} has more than {_MOST_HEADERS} headers with other columns than before.",
                    "Export it again, or take it apart at its headers.",
                ) from None
            readings.rewind(mark)
            progress = None


def _read_lines(
    file: TelemetryFile,
    layouts: dict[int, Header],
    readings: ReadingSpill,
    progress: Progress | None,
    only_channels: Collection[str] | None,
) -> ParseStats:
    total = ParseStats()
    with file.open_text(progress) as stream, ThreadPoolExecutor(THREADS) as threads:
        pieces = ChunkReader(stream)
        workers = [_ChunkParser(file, layouts, readings, only_channels) for _ in range(THREADS)]
        try:
            for done in [threads.submit(worker.read_all, pieces) for worker in workers]:
                total.add(done.result())
        finally:
            pieces.stop()
    total.samples = total.first_samples()
    return total


class _ChunkParser:
    """Reads pieces of a file, one thread's share of it."""

    def __init__(
        self,
        file: TelemetryFile,
        layouts: dict[int, Header],
        readings: ReadingSpill,
        only_channels: Collection[str] | None,
    ) -> None:
        self._path = file.identity.path
        self._session = file.identity.session
        self._layouts = layouts
        self._readings = readings
        self._only = only_channels
        self._tally = ParseStats()

    def read_all(self, pieces: ChunkReader) -> ParseStats:
        """Read pieces until there are none left."""
        buffer = bytearray(CHUNK_BYTES + 1)
        quick = FastParser()
        try:
            while piece := pieces.next_into(buffer):
                self._read(buffer, piece, quick)
        except BaseException:
            pieces.stop()
            raise
        return self._tally

    def _read(self, buffer: bytearray, piece: Chunk, quick: FastParser) -> None:
        at, line, blank = 0, piece.first_line, 0
        while at < piece.size:
            layout, lines = self._header_at(line)
            taken = quick.parse_chunk(buffer, at, piece.size, lines, layout)
            self._keep(taken, line, layout)
            self._read_carefully(buffer, taken, line, layout)
            if layout.is_listed:
                self._tally.readings_in += _elements(buffer, at, taken) - _lines_taken(taken)
            at, line, blank = taken.end, line + taken.lines, blank + taken.blank
        # The lines were counted by their line feeds, by other code than that which reads them.
        self._tally.readings_in += piece.lines - blank - (piece.first_line == 1)

    def _header_at(self, line: int) -> tuple[Header, int]:
        """Return the layout of a line and how many lines have it."""
        begins = max(begin for begin in self._layouts if begin <= line)
        following = [begin for begin in self._layouts if begin > line]
        return self._layouts[begins], min(following, default=_END_OF_FILE) - line

    def _keep(self, taken: ParsedChunk, line: int, layout: Header) -> None:
        """Give what the quick reader took to the cars."""
        refused = [is_wrong_session(text, self._session) for text in taken.sessions]
        frames, vehicle, channels = taken.frames, taken.vehicle, taken.channels
        if any(refused):
            is_refused = np.array([*refused, False])[taken.session]  # the last is for frames that tell no session
            self._refuse(taken, is_refused, line, layout)
            frames, vehicle = frames.only(~is_refused), vehicle[~is_refused]
        frames = self._with_codes(frames, channels)
        self._tally.unreadable_laps += int(frames.readings[frames.unit_lap == UNREADABLE_LAP].sum())
        for code, of_car in frames.by(vehicle):
            self._add(taken.vehicles[code], of_car)

    def _add(self, vehicle: str, frames: Frames) -> None:
        """Give frames to a car, without those of which no reading is wanted."""
        if self._only is not None:
            frames = frames.only(frames.readings > 0)
        if len(frames.value):
            self._readings.add(vehicle, frames)

    def _with_codes(self, frames: Frames, channels: Sequence[str]) -> Frames:
        codes = np.array([self._code_of(channel) for channel in channels] or [0])
        channel = codes[frames.channel]
        if self._only is None:
            return frames._replace(channel=channel.astype(np.uint16))
        wanted = channel >= 0
        ends = np.cumsum(frames.readings)
        counted = np.append(0, np.cumsum(wanted))
        kept = counted[ends] - counted[ends - frames.readings]
        return frames._replace(readings=kept, channel=channel[wanted].astype(np.uint16), value=frames.value[wanted])

    def _code_of(self, channel: str) -> int:
        """Return the session's code of a channel, -1 if it is not wanted."""
        if self._only is not None and channel.lower() not in self._only:
            return -1
        return self._readings.channel_code(channel)

    def _refuse(self, taken: ParsedChunk, is_refused: np.ndarray, line: int, layout: Header) -> None:
        """Reject the frames of another race; each is on one line, or has a line per reading, one after the other."""
        readings = int(taken.frames.readings[is_refused].sum())
        # More than are told are only counted, or a file of the wrong race would take minutes.
        told = 0
        for frame in np.flatnonzero(is_refused):
            first = line + int(taken.line[frame])
            detail = f"meta_session={taken.sessions[taken.session[frame]]!r}"[:SHOWN_CHARACTERS]
            for index in range(int(taken.frames.readings[frame])):
                number = first if layout.is_listed else first + index
                self._tally.reject(self._path, number, "wrong_session", detail)
                told += 1
            if told >= REPORTED_REJECTS:
                break
        self._tally.reasons["wrong_session"] += readings - told

    def _read_carefully(self, buffer: bytearray, taken: ParsedChunk, line: int, layout: Header) -> None:
        found: dict[str, list[Line]] = {}
        for after, begin, end in taken.aside:
            number = line + after
            if number == 1:
                continue  # the header
            said = line_parser.read_line(bytes(memoryview(buffer)[begin:end]), layout, self._session)
            if said.header and said.header != layout and number not in self._layouts:
                raise _HeaderChanged(number, said.header)
            for reason, detail in said.problems:
                self._tally.reject(self._path, number, reason, detail)
            # A line is one reading, counted by its line feed; of a list, the further elements are added.
            self._tally.readings_in += len(said.readings) + len(said.problems) - 1
            if said.readings:
                found.setdefault(said.vehicle_id, []).append(said)
        for vehicle, lines in found.items():
            self._add_lines(vehicle, lines)

    def _add_lines(self, vehicle: str, lines: list[Line]) -> None:
        pairs = [pair for line in lines for pair in line.readings]
        names = sorted({channel for channel, _ in pairs})
        place = {name: index for index, name in enumerate(names)}
        frames = Frames(
            *(
                np.array(column, np.int64)
                for column in zip(
                    *((line.car_ms, line.received_ms, line.unit_lap, len(line.readings)) for line in lines),
                    strict=True,
                )
            ),
            channel=np.array([place[channel] for channel, _ in pairs], np.uint16),
            value=np.array([value for _, value in pairs], np.float64),
        )
        frames = self._with_codes(frames, names)
        self._tally.unreadable_laps += int(frames.readings[frames.unit_lap == UNREADABLE_LAP].sum())
        self._add(vehicle, frames)


def _elements(buffer: bytearray, begin: int, taken: ParsedChunk) -> int:
    """Count the elements of the lists that were taken, by their braces and not by the code that read them."""
    text = np.frombuffer(buffer, np.uint8, taken.end - begin, begin)
    braces = int(np.count_nonzero(text == ord("{")))
    return braces - sum(buffer.count(b"{", first, end) for _, first, end in taken.aside)


def _lines_taken(taken: ParsedChunk) -> int:
    return taken.lines - taken.blank - len(taken.aside)
