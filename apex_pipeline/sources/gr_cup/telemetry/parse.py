"""Parses the lines of telemetry files into readings by car, in several threads, with every line accounted for.

For each chunk of text, the fast parser reads it, the reference parser reads the lines that the fast one set aside, and
the readings are stored by car. See ``kernels.plain_rows`` and ``line_parser`` for the meaning of a line, and
``spill`` for the storage.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np

from apex_pipeline.errors import MalformedFileError
from apex_pipeline.progress import Progress
from apex_pipeline.sources.base import Reject
from apex_pipeline.sources.cells import quoted
from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.sources.gr_cup.laps.triggers import is_wrong_session
from apex_pipeline.sources.gr_cup.telemetry import line_parser
from apex_pipeline.sources.gr_cup.telemetry.chunks import CHUNK_BYTES, Chunk, ChunkReader, TelemetryFile
from apex_pipeline.sources.gr_cup.telemetry.fast_parser import FastParser, ParsedChunk
from apex_pipeline.sources.gr_cup.telemetry.header import Header, parse_header
from apex_pipeline.sources.gr_cup.telemetry.line_parser import UNREADABLE_LAP, Line
from apex_pipeline.sources.gr_cup.telemetry.notation import EITHER, Notation, decide_notation, notation_of
from apex_pipeline.sources.gr_cup.telemetry.report import REPORTED_REJECTS
from apex_pipeline.sources.gr_cup.telemetry.spill import Frames, ReadingSpill

# Each thread needs its own memory, and the smallest machine has two cores.
THREADS = 2
_END_OF_FILE = 2**62
# Every extra header costs another pass over the file. A file concatenated by hand has a few.
_MAX_HEADERS = 20
# Rows that a spreadsheet can hold, in its current and its old format.
_ROW_LIMITS = frozenset({1_048_576, 65_536})
# Fewer readings without a time are damage, not the way in which the file writes its times.
_MIN_JUDGED = 20
# A few lines with one cell too many are damage; of a file with thousands separators engine speed alone is 8 %.
_MIN_SPLIT, _SPLIT_SHARE = 5, 0.001


@dataclass
class ParseStats:
    """Counts of the readings and rejects of one file.

    Attributes:
        path: Path of the file.
        readings_in: Readings in the file: non-blank lines except the header, or the list elements if lines hold lists.
        unreadable_laps: Usable readings whose lap is not a valid lap number.
        lines: Lines of the file, the header included.
        reasons: Rejected readings by reason.
        notations: Numbers that are not written plainly, by the notation they show.
        samples: The first rejects; may hold more than are reported.
    """

    readings_in: int = 0
    path: str = ""
    unreadable_laps: int = 0
    lines: int = 0
    reasons: Counter[str] = field(default_factory=Counter[str])
    notations: Counter[str] = field(default_factory=Counter[str])
    samples: list[Reject] = field(default_factory=list[Reject])

    def reject(self, path: str, line: int, reason: str, detail: str) -> None:
        """Count one unusable reading, and keep it as a sample if it may be among the first."""
        self.reasons[reason] += 1
        self.samples.append(Reject(path, line, FileKind.TELEMETRY, reason, detail))
        # A file of nothing but bad lines must not fill the memory.
        if len(self.samples) > 4 * REPORTED_REJECTS:
            self.samples = self.first_samples()

    def first_samples(self) -> list[Reject]:
        """Return the first rejects of the file, in file order."""
        return sorted(self.samples, key=lambda reject: reject.line or 0)[:REPORTED_REJECTS]

    def add(self, other: "ParseStats") -> None:
        """Add the counts of another thread."""
        self.readings_in += other.readings_in
        self.unreadable_laps += other.unreadable_laps
        self.lines += other.lines
        self.reasons.update(other.reasons)
        self.notations.update(other.notations)
        self.samples += other.samples


class _HeaderChanged(Exception):  # noqa: N818  -- not an error: the file is read again with both headers
    """Raised at another header with different columns."""

    def __init__(self, line: int, header: Header) -> None:
        super().__init__(line)
        self.line = line
        self.header = header


def read_file(
    file: TelemetryFile,
    readings: ReadingSpill,
    progress: Progress | None = None,
    only_channels: Collection[str] | None = None,
) -> ParseStats:
    """Parse a telemetry file and store its readings.

    Args:
        file: The file.
        readings: Receives its readings.
        progress: Called with the number of bytes as the file is read.
        only_channels: Raw channel names in lower case; readings of other channels are skipped.

    Returns:
        Counts of its readings and rejects.

    Raises:
        FileChangedError: The file no longer exists.
        MalformedFileError: It is empty, binary, cannot be decompressed, or lacks a required column.
        LimitExceededError: It exceeds a limit.
    """
    readings.file = file.identity.path
    headers = {1: parse_header(file)}
    checkpoint = readings.checkpoint()
    while True:
        try:
            stats = _read_lines(file, headers, readings, progress, only_channels)
            if not stats.notations:
                return _checked(stats, file.identity.path)
            headers = _with_notation(headers, stats.notations, file.identity.path)
            readings.rewind(checkpoint)
            progress = None
        except _HeaderChanged as found:
            # By now the threads have parsed later lines with the old columns. This is rare, so the file is read again.
            headers[found.line] = found.header
            if len(headers) > _MAX_HEADERS:
                raise MalformedFileError(
                    f"{file.identity.path} has more than {_MAX_HEADERS} headers with different columns.",
                    "Export it again, or split it at its headers.",
                ) from None
            readings.rewind(checkpoint)
            progress = None


def _with_notation(headers: dict[int, Header], found: Counter[str], path: str) -> dict[int, Header]:
    """Return the headers for another pass over a file whose numbers are written in another notation.

    Raises:
        MalformedFileError: The notation is not clear, or this was the second pass.
    """
    notation = decide_notation(found, path)
    if any(header.notation is not Notation.PLAIN for header in headers.values()):
        raise MalformedFileError(
            f"{path} has numbers in two notations, with decimal commas and with decimal points.",
            "Export it with a decimal point and without thousands separators.",
        )
    return {line: replace(header, notation=notation) for line, header in headers.items()}


def _checked(stats: ParseStats, path: str) -> ParseStats:
    """Return the counts of a file, with a remark if it ends where a spreadsheet does.

    Raises:
        MalformedFileError: Numbers are cut at their commas, or no time can be read; the rest would be a biased part.
    """
    cut = stats.reasons[line_parser.SPLIT_NUMBER]
    if cut >= _MIN_SPLIT and cut >= _SPLIT_SHARE * stats.readings_in:
        raise MalformedFileError(
            f"{path} has {cut:,} numbers with a comma that are not in quotes, so that the comma cuts them.",
            "Export it without thousands separators, or with quotes or another delimiter.",
        )
    if stats.readings_in >= _MIN_JUDGED and stats.reasons["bad_time"] == stats.readings_in:
        raise MalformedFileError(
            f"{path} has no time with a zone in {stats.readings_in:,} lines; the first is {stats.samples[0].detail}.",
            "Export the times in UTC, for example 2025-05-17T18:26:30.493Z.",
        )
    if stats.lines in _ROW_LIMITS:
        detail = (
            f"it ends at row {stats.lines:,}, where a spreadsheet stops, so later rows are probably missing; "
            "export it without a spreadsheet"
        )
        stats.samples.insert(0, Reject(path, None, FileKind.TELEMETRY, "ends_at_row_limit", detail))
    return stats


def _read_lines(
    file: TelemetryFile,
    headers: dict[int, Header],
    readings: ReadingSpill,
    progress: Progress | None,
    only_channels: Collection[str] | None,
) -> ParseStats:
    total = ParseStats(path=file.identity.path)
    with file.open_text(progress) as stream, ThreadPoolExecutor(THREADS) as threads:
        chunks = ChunkReader(stream, file.limits.line_bytes)
        workers = [_ChunkParser(file, headers, readings, only_channels) for _ in range(THREADS)]
        try:
            for done in [threads.submit(worker.parse_all, chunks) for worker in workers]:
                total.add(done.result())
        finally:
            chunks.stop()
    total.samples = total.first_samples()
    return total


class _ChunkParser:
    """Parses chunks of a file in one thread."""

    def __init__(
        self,
        file: TelemetryFile,
        headers: dict[int, Header],
        readings: ReadingSpill,
        only_channels: Collection[str] | None,
    ) -> None:
        self._path = file.identity.path
        self._session = file.identity.session
        self._headers = headers
        self._readings = readings
        self._only_channels = only_channels
        self._stats = ParseStats()

    def parse_all(self, chunks: ChunkReader) -> ParseStats:
        """Parse chunks until none are left."""
        fast_parser = FastParser()
        buffer = fast_parser.text_buffer(CHUNK_BYTES + 1)
        try:
            while chunk := chunks.next_into(buffer):
                self._parse_chunk(buffer, chunk, fast_parser)
        except BaseException:
            chunks.stop()
            raise
        return self._stats

    def _parse_chunk(self, buffer: bytearray, chunk: Chunk, fast_parser: FastParser) -> None:
        at, line, blank = 0, chunk.first_line, 0
        while at < chunk.size:
            header, lines = self._header_at(line)
            parsed = fast_parser.parse_chunk(buffer, at, chunk.size, lines, header)
            self._add_parsed(parsed, line, header)
            self._parse_set_aside(buffer, parsed, line, header)
            if header.is_listed:
                self._stats.readings_in += _elements(buffer, at, parsed) - _parsed_lines(parsed)
            at, line, blank = parsed.end, line + parsed.lines, blank + parsed.blank
        # Lines are counted by their line feeds, so the count does not depend on the code that parses them.
        self._stats.readings_in += chunk.lines - blank
        self._stats.lines += chunk.lines

    def _header_at(self, line: int) -> tuple[Header, int]:
        """Return the header that applies to a line, and the number of lines it applies to from there."""
        current = max(first for first in self._headers if first <= line)
        following = [first for first in self._headers if first > line]
        return self._headers[current], min(following, default=_END_OF_FILE) - line

    def _add_parsed(self, parsed: ParsedChunk, line: int, header: Header) -> None:
        """Store the readings of the fast parser by car."""
        is_wrong = [is_wrong_session(text, self._session) for text in parsed.sessions]
        frames, vehicle, channels = parsed.frames, parsed.vehicle, parsed.channels
        if any(is_wrong):
            is_rejected = np.array([*is_wrong, False])[parsed.session]  # the last one is for frames without a session
            self._reject_frames(parsed, is_rejected, line, header)
            frames, vehicle = frames.filter(~is_rejected), vehicle[~is_rejected]
        frames = self._with_codes(frames, channels)
        self._stats.unreadable_laps += int(frames.readings[frames.unit_lap == UNREADABLE_LAP].sum())
        for code, of_car in frames.group_by(vehicle):
            self._add(parsed.vehicles[code], of_car)

    def _add(self, vehicle: str, frames: Frames) -> None:
        """Store the frames of a car that have a reading of a wanted channel."""
        if self._only_channels is not None:
            frames = frames.filter(frames.readings > 0)
        if len(frames.value):
            self._readings.add(vehicle, frames)

    def _with_codes(self, frames: Frames, channels: Sequence[str]) -> Frames:
        codes = np.array([self._code_of(channel) for channel in channels] or [0])
        channel = codes[frames.channel]
        if self._only_channels is None:
            return frames._replace(channel=channel.astype(np.uint16))
        wanted = channel >= 0
        ends = np.cumsum(frames.readings)
        counted = np.append(0, np.cumsum(wanted))
        kept = counted[ends] - counted[ends - frames.readings]
        return frames._replace(readings=kept, channel=channel[wanted].astype(np.uint16), value=frames.value[wanted])

    def _code_of(self, channel: str) -> int:
        """Return the code of a channel in this session, -1 if the channel is not wanted."""
        if self._only_channels is not None and channel.lower() not in self._only_channels:
            return -1
        return self._readings.channel_code(channel)

    def _reject_frames(self, parsed: ParsedChunk, is_rejected: np.ndarray, line: int, header: Header) -> None:
        """Reject the frames of another race; a frame is one line, or consecutive lines with one reading each."""
        readings = int(parsed.frames.readings[is_rejected].sum())
        # Beyond the reported samples, rejects are only counted: listing every row of a wrong file takes minutes.
        reported = 0
        for frame in np.flatnonzero(is_rejected):
            first = line + int(parsed.line[frame])
            detail = f"meta_session={quoted(parsed.sessions[parsed.session[frame]])}"
            for index in range(int(parsed.frames.readings[frame])):
                number = first if header.is_listed else first + index
                self._stats.reject(self._path, number, "wrong_session", detail)
                reported += 1
            if reported >= REPORTED_REJECTS:
                break
        self._stats.reasons["wrong_session"] += readings - reported

    def _parse_set_aside(self, buffer: bytearray, parsed: ParsedChunk, line: int, header: Header) -> None:
        found: dict[str, list[Line]] = {}
        for offset, start, end in parsed.aside:
            number = line + offset
            if number <= self._headers[1].dialect.header_line:
                self._stats.readings_in -= 1
                continue
            result = line_parser.read_line(bytes(memoryview(buffer)[start:end]), header, self._session)
            if result.header and result.header != header and number not in self._headers:
                raise _HeaderChanged(number, result.header)
            for reason, detail in result.problems:
                self._stats.reject(self._path, number, reason, detail)
                if reason == line_parser.OTHER_NOTATION:
                    self._stats.notations[notation_of(detail.partition("=")[2].strip("'")) or EITHER] += 1
            # Each line feed was already counted as one reading; add the list's remaining elements.
            self._stats.readings_in += len(result.readings) + len(result.problems) - 1
            if result.readings:
                found.setdefault(result.vehicle_id, []).append(result)
        for vehicle, lines in found.items():
            self._add_lines(vehicle, lines)

    def _add_lines(self, vehicle: str, lines: list[Line]) -> None:
        pairs = [pair for line in lines for pair in line.readings]
        names = sorted({channel for channel, _ in pairs})
        code_of_name = {name: index for index, name in enumerate(names)}
        frames = Frames(
            *(
                np.array(column, np.int64)
                for column in zip(
                    *((line.car_ms, line.received_ms, line.unit_lap, len(line.readings)) for line in lines),
                    strict=True,
                )
            ),
            channel=np.array([code_of_name[channel] for channel, _ in pairs], np.uint16),
            value=np.array([value for _, value in pairs], np.float64),
        )
        frames = self._with_codes(frames, names)
        self._stats.unreadable_laps += int(frames.readings[frames.unit_lap == UNREADABLE_LAP].sum())
        self._add(vehicle, frames)


def _elements(buffer: bytearray, start: int, parsed: ParsedChunk) -> int:
    """Count the list elements by their braces, independently of the code that parsed them."""
    text = np.frombuffer(buffer, np.uint8, parsed.end - start, start)
    braces = int(np.count_nonzero(text == ord("{")))
    return braces - sum(buffer.count(b"{", first, end) for _, first, end in parsed.aside)


def _parsed_lines(parsed: ParsedChunk) -> int:
    return parsed.lines - parsed.blank - len(parsed.aside)
