"""Tests of the read-only streams: ranges, verified sequential reads and opened objects."""

import hashlib
import io
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from typing import BinaryIO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.errors import StoreCorruptionError
from apex_pipeline.storage import streams
from apex_pipeline.storage.streams import (
    READ_AHEAD_BYTES,
    ObjectStream,
    RangedReader,
    ReadOnlyStream,
    VerifiedStream,
)

_CONTENT = bytes(range(256)) * 4096  # 1 MiB


def _reader(content: bytes) -> tuple[RangedReader, list[tuple[int, int]]]:
    requests: list[tuple[int, int]] = []

    def fetch(start: int, length: int) -> bytes:
        requests.append((start, length))
        assert 0 < length <= len(content) - start
        return content[start : start + length]

    return RangedReader(fetch, len(content)), requests


_STEPS = st.one_of(
    st.tuples(st.just("read"), st.integers(-1, 400_000)),
    st.tuples(st.just("seek"), st.integers(0, 1_100_000)),
    st.tuples(st.just("back"), st.integers(0, 300_000)),
)


@given(size=st.integers(0, len(_CONTENT)), steps=st.lists(_STEPS, max_size=12))
def test_a_ranged_reader_behaves_like_a_file(size: int, steps: list[tuple[str, int]]) -> None:
    content = _CONTENT[:size]
    file = io.BytesIO(content)
    reader, _ = _reader(content)
    for step, number in steps:
        if step == "read":
            assert reader.read(number) == file.read(number)
        elif step == "seek":
            assert reader.seek(number) == file.seek(number)
        else:
            assert reader.seek(-min(number, size), io.SEEK_END) == file.seek(-min(number, size), io.SEEK_END)
        assert reader.tell() == file.tell()


@given(
    ranges=st.lists(st.tuples(st.integers(0, len(_CONTENT) - 1), st.integers(0, 200_000)), max_size=6),
    unit=st.sampled_from([1, 16_384]),
)
def test_ranges_that_were_prefetched_are_read_without_a_request(ranges: list[tuple[int, int]], unit: int) -> None:
    requests: list[tuple[int, int]] = []

    def fetch(start: int, length: int) -> bytes:
        requests.append((start, length))
        assert start % unit == 0
        return _CONTENT[start : start + length]

    reader = RangedReader(fetch, len(_CONTENT), unit)
    reader.prefetch(ranges)
    assert len(requests) <= len([length for _, length in ranges if length])
    requests.clear()
    for start, length in ranges:
        reader.seek(start)
        assert reader.read(length) == _CONTENT[start : start + length]
    assert requests == []


def test_ranges_close_to_each_other_are_fetched_together_and_distant_ones_at_once() -> None:
    reader, requests = _reader(_CONTENT)
    reader.prefetch([(0, 1_000), (15_000, 1_000), (500_000, 1_000)])
    assert sorted(requests) == [(0, 16_000), (500_000, 1_000)]


def test_more_than_fits_in_memory_is_not_prefetched() -> None:
    reader = RangedReader(lambda *_: pytest.fail("fetched"), 1 << 30)
    reader.prefetch([(0, 1 << 29)])


def test_an_opened_object_passes_a_prefetch_on_if_its_stream_can() -> None:
    reader, requests = _reader(_CONTENT)
    with ObjectStream(nullcontext(cast("BinaryIO", reader))) as stream:
        stream.prefetch([(5, 10)])
    assert requests == [(5, 10)]
    with ObjectStream(nullcontext(io.BytesIO(_CONTENT))) as stream:
        stream.prefetch([(5, 10)])
        assert stream.read(3) == _CONTENT[:3]


def test_small_sequential_reads_from_the_start_take_one_request() -> None:
    reader, requests = _reader(_CONTENT)
    assert b"".join(reader.read(100) for _ in range(100)) == _CONTENT[:10_000]
    assert requests == [(0, READ_AHEAD_BYTES)]


def test_sequential_reads_are_fetched_ahead() -> None:
    reader, requests = _reader(_CONTENT)
    reader.seek(1000)
    assert b"".join(reader.read(100) for _ in range(100)) == _CONTENT[1000:11_000]
    assert requests == [(1000, 100), (1100, READ_AHEAD_BYTES)]


def test_random_reads_fetch_exactly_the_requested_ranges() -> None:
    reader, requests = _reader(_CONTENT)
    pieces = [(900_000, 20), (500_000, 30_000), (600_000, 10), (10, 20)]
    for start, length in pieces:
        reader.seek(start)
        assert reader.read(length) == _CONTENT[start : start + length]
    assert requests == pieces


def test_a_large_read_takes_one_request() -> None:
    reader, requests = _reader(_CONTENT)
    assert reader.readall() == _CONTENT
    assert requests == [(0, len(_CONTENT))]


def test_nothing_is_fetched_beyond_the_end() -> None:
    reader, requests = _reader(_CONTENT)
    reader.seek(-10, io.SEEK_END)
    assert reader.read(100) == _CONTENT[-10:]
    assert reader.read(100) == b""
    assert requests == [(len(_CONTENT) - 10, 10)]


def test_readinto_fills_the_buffer() -> None:
    reader, _ = _reader(_CONTENT)
    buffer = bytearray(10)
    reader.seek(5)
    assert reader.seek(5, io.SEEK_CUR) == 10
    assert reader.readinto(buffer) == 10
    assert bytes(buffer) == _CONTENT[10:20]
    assert reader.readable()
    assert reader.seekable()


def test_a_position_before_the_start_is_refused() -> None:
    reader, _ = _reader(_CONTENT)
    with pytest.raises(ValueError, match="before the start"):
        reader.seek(-1)


# -- verified sequential reads -----------------------------------------------------------------------------------------


def _verified(content: bytes, unit: int = 1) -> tuple[VerifiedStream, list[tuple[int, int]], list[str]]:
    requests: list[tuple[int, int]] = []
    verified: list[str] = []

    def fetch(start: int, length: int) -> bytes:
        requests.append((start, length))
        return content[start : start + length]

    return VerifiedStream(fetch, len(content), unit, verified.append), requests, verified


@given(content=st.binary(max_size=200), unit=st.integers(1, 20), sizes=st.lists(st.integers(1, 50), max_size=20))
def test_a_verified_stream_fetches_aligned_ranges_and_verifies_the_digest(
    content: bytes, unit: int, sizes: list[int]
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(streams, "STREAM_BLOCK_BYTES", 32)
        stream, requests, verified = _verified(content, unit)
        with stream:
            first = [stream.read(size) for size in sizes]
            assert b"".join(first) + stream.read() == content
            assert stream.read(1) == b""
    assert set(verified) == {hashlib.sha256(content).hexdigest()}
    assert all(start % unit == 0 for start, _ in requests)
    assert sum(length for _, length in requests) == len(content)


def test_the_digest_is_verified_only_after_the_end_was_read() -> None:
    stream, _, verified = _verified(_CONTENT)
    with stream:
        buffer = bytearray(len(_CONTENT))
        assert stream.readinto(buffer) == len(_CONTENT)
        assert (bytes(buffer), verified) == (_CONTENT, [])
        assert stream.readinto(buffer) == 0
    assert verified == [hashlib.sha256(_CONTENT).hexdigest()]


def test_a_stream_with_a_wrong_digest_raises_instead_of_ending() -> None:
    def refuse(_: str) -> None:
        raise StoreCorruptionError("Damaged.", "Write it again.")

    with VerifiedStream(lambda start, length: _CONTENT[start : start + length], 100, 1, refuse) as stream:
        assert stream.read(1_000) == _CONTENT[:100]
        for _ in range(2):
            with pytest.raises(StoreCorruptionError):
                stream.read(1)


# -- opened objects ----------------------------------------------------------------------------------------------------


def test_an_opened_object_reports_its_reads_and_is_released_once() -> None:
    events: list[object] = []

    @contextmanager
    def opened() -> Generator[BinaryIO]:
        yield io.BytesIO(_CONTENT)
        events.append("released")

    stream = ObjectStream(opened(), events.append)
    assert stream.seek(-20, io.SEEK_END) == stream.tell() == len(_CONTENT) - 20
    assert stream.read(5) + stream.readall() == _CONTENT[-20:]
    assert stream.seekable()
    stream.close()
    stream.close()
    assert events == [5, 15, "released"]


def test_a_stream_without_a_read_method_cannot_be_read() -> None:
    with pytest.raises(NotImplementedError):
        ReadOnlyStream().readall()
