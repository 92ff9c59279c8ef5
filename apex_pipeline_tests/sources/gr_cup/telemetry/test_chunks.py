"""Chunks of complete lines, independent of how many bytes the stream returns per read."""

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

from apex_pipeline.sources.gr_cup.telemetry import chunks as chunks_module
from apex_pipeline.sources.gr_cup.telemetry.chunks import CHUNK_BYTES, Chunk, ChunkReader, TelemetryFile
from apex_pipeline_tests.sources.gr_cup.telemetry.readings import COLUMNS, convert, csv_bytes, reading, write_file

# Small, so that a few bytes make many chunks; the longest line is about half a chunk.
CHUNK, LONGEST = 24, 11


@pytest.fixture(autouse=True)
def small_chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "small" in request.keywords:
        monkeypatch.setattr(chunks_module, "CHUNK_BYTES", CHUNK)


class SlowStream(io.RawIOBase):
    """Returns only a few bytes per read, like a network stream."""

    def __init__(self, content: bytes, max_bytes: int) -> None:
        super().__init__()
        self._stream = io.BytesIO(content)
        self._max_bytes = max_bytes

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]  # the stub's Buffer is 3.12's
        content = self._stream.read(min(self._max_bytes, len(buffer)))
        buffer[: len(content)] = content
        return len(content)


class GeneratedStream(io.RawIOBase):
    """Generates its content while it is read."""

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


def cut(content: bytes, max_bytes: int = 1_000_000) -> Iterator[tuple[Chunk, bytes]]:
    reader = ChunkReader(cast("BinaryIO", SlowStream(content, max_bytes)), LONGEST)
    buffer = bytearray(chunks_module.CHUNK_BYTES + 1)
    while chunk := reader.next_into(buffer):
        yield chunk, bytes(buffer[: chunk.size])


@pytest.mark.small
@given(st.lists(st.text("ab,", max_size=60).map(str.encode), max_size=30), st.integers(1, 40), st.booleans())
def test_chunks_hold_the_complete_file_except_the_ends_of_long_lines(
    lines: list[bytes],
    max_bytes: int,
    ends_with_line_feed: bool,  # noqa: FBT001  -- Hypothesis passes it by position
) -> None:
    content = b"\n".join(lines) + (b"\n" if ends_with_line_feed else b"")

    found = list(cut(content, max_bytes))

    expected = content.split(b"\n")
    if not expected[-1]:
        expected.pop()
    found_lines = b"".join(text for _, text in found).split(b"\n")[:-1]
    assert len(found_lines) == len(expected)
    for line, full_line in zip(found_lines, expected, strict=True):
        # A line that is too long keeps at least enough bytes to be recognized as such.
        assert line == full_line or (len(line) > LONGEST and full_line.startswith(line))
    first = 1
    for chunk, text in found:
        assert (chunk.first_line, chunk.lines) == (first, text.count(b"\n"))
        assert text.endswith(b"\n")
        first += chunk.lines


@pytest.mark.small
def test_a_stopped_reader_returns_no_more_chunks() -> None:
    reader = ChunkReader(io.BytesIO(b"line\n" * 100), LONGEST)
    buffer = bytearray(CHUNK + 1)
    assert reader.next_into(buffer)

    reader.stop()

    assert reader.next_into(buffer) is None


@pytest.mark.req("A-123")
def test_a_line_of_a_hundred_megabytes_is_read_in_bounded_memory(tmp_path: Path) -> None:
    header, line = csv_bytes([reading(0)]).splitlines(keepends=True)

    def opened() -> AbstractContextManager[BinaryIO]:
        chunks = itertools.chain([header], itertools.repeat(b"7" * 1_000_000, 100), [b"\n" + line])
        return nullcontext(cast("BinaryIO", GeneratedStream(chunks)))

    file = TelemetryFile(write_file(tmp_path, header).identity, opened)
    convert(tmp_path, write_file(tmp_path, csv_bytes([reading(0)])))  # loads and compiles everything first
    tracemalloc.start()
    made = convert(tmp_path, file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert made.samples == [(2, "line_too_long")]
    assert made.report.counts.cells_out == 1
    assert peak < 20 * CHUNK_BYTES


def test_progress_of_a_compressed_file_counts_its_compressed_bytes(tmp_path: Path) -> None:
    compressed = gzip.compress(csv_bytes([reading(second) for second in range(3_000)]), mtime=0)
    progress: list[int] = []

    with write_file(tmp_path, compressed, "a.csv.gz").open_text(progress.append) as stream:
        assert stream.read(3) == COLUMNS[0][:3].encode()
        stream.read()

    assert sum(progress) == len(compressed)
