"""Bytes of a telemetry file in pieces of whole lines, whatever the stream gives at a time."""

import gzip
import io
import itertools
import tracemalloc
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.sources.gr_cup.telemetry import chunks as raw_file
from apex_pipeline.sources.gr_cup.telemetry.chunks import CHUNK_BYTES, Chunk, ChunkReader, TelemetryFile
from apex_pipeline_tests.sources.gr_cup.telemetry.readings import COLUMNS, convert, csv_bytes, reading, write_file

# Small, so that a few bytes are many pieces; a line may be half a piece long.
PIECE, LONGEST = 24, 11


@pytest.fixture(autouse=True)
def small_pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "small" in request.keywords:
        monkeypatch.setattr(raw_file, "CHUNK_BYTES", PIECE)
        monkeypatch.setattr(raw_file, "LONGEST_LINE_BYTES", LONGEST)


class Stingy(io.RawIOBase):
    """Gives a few bytes at a time, as a network does."""

    def __init__(self, content: bytes, most: int) -> None:
        super().__init__()
        self._stream = io.BytesIO(content)
        self._most = most

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]  # the stub's Buffer is 3.12's
        content = self._stream.read(min(self._most, len(buffer)))
        buffer[: len(content)] = content
        return len(content)


class Chunks(io.RawIOBase):
    """Gives what is made only when it is read."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        super().__init__()
        self._chunks = chunks
        self._rest = b""

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]  # as above
        self._rest = self._rest or next(self._chunks, b"")
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size

    def read(self, size: int = -1, /) -> bytes:
        buffer = bytearray(size)
        return bytes(buffer[: self.readinto(buffer)])


def cut(content: bytes, most: int = 1_000_000) -> Iterator[tuple[Chunk, bytes]]:
    pieces = ChunkReader(cast("BinaryIO", Stingy(content, most)))
    buffer = bytearray(raw_file.CHUNK_BYTES + 1)
    while piece := pieces.next_into(buffer):
        yield piece, bytes(buffer[: piece.size])


@pytest.mark.small
@given(st.lists(st.text("ab,", max_size=60).map(str.encode), max_size=30), st.integers(1, 40), st.booleans())
def test_the_pieces_are_the_file_but_for_the_ends_of_long_lines(lines: list[bytes], most: int, ends: bool) -> None:  # noqa: FBT001  -- Hypothesis passes it by place
    content = b"\n".join(lines) + (b"\n" if ends else b"")

    found = list(cut(content, most))

    expected = content.split(b"\n")
    if not expected[-1]:
        expected.pop()
    got = b"".join(text for _, text in found).split(b"\n")[:-1]
    assert len(got) == len(expected)
    for line, whole in zip(got, expected, strict=True):
        # Of a line that is too long at least so much is given that it can be seen.
        assert line == whole or (len(line) > LONGEST and whole.startswith(line))
    first = 1
    for piece, text in found:
        assert (piece.first_line, piece.lines) == (first, text.count(b"\n"))
        assert text.endswith(b"\n")
        first += piece.lines


@pytest.mark.small
def test_after_a_stop_there_is_nothing_more() -> None:
    pieces = ChunkReader(io.BytesIO(b"line\n" * 100))
    buffer = bytearray(PIECE + 1)
    assert pieces.next_into(buffer)

    pieces.stop()

    assert pieces.next_into(buffer) is None


@pytest.mark.req("A-123")
def test_a_line_of_a_hundred_megabytes_is_read_in_bounded_memory(tmp_path: Path) -> None:
    header, line = csv_bytes([reading(0)]).splitlines(keepends=True)

    def opened() -> AbstractContextManager[BinaryIO]:
        chunks = itertools.chain([header], itertools.repeat(b"7" * 1_000_000, 100), [b"\n" + line])
        return nullcontext(cast("BinaryIO", Chunks(chunks)))

    file = TelemetryFile(write_file(tmp_path, header).identity, opened)
    convert(tmp_path, write_file(tmp_path, csv_bytes([reading(0)])))  # everything is loaded and compiled
    tracemalloc.start()
    made = convert(tmp_path, file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert made.samples == [(2, "line_too_long")]
    assert made.report.counts.cells_out == 1
    assert peak < 20 * CHUNK_BYTES


def test_the_whole_of_a_compressed_file_is_told_in_its_own_bytes(tmp_path: Path) -> None:
    packed = gzip.compress(csv_bytes([reading(second) for second in range(3_000)]), mtime=0)
    told: list[int] = []

    with write_file(tmp_path, packed, "a.csv.gz").open_text(told.append) as stream:
        assert stream.read(3) == COLUMNS[0][:3].encode()
        stream.read()

    assert sum(told) == len(packed)
