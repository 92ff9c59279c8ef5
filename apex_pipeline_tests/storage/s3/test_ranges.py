"""Tests of the seekable stream over ranged requests."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.storage.s3.ranges import READ_AHEAD_BYTES, RangedReader

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
def test_it_reads_as_a_file_does(size: int, steps: list[tuple[str, int]]) -> None:
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


def test_small_reads_from_the_start_are_one_request() -> None:
    reader, requests = _reader(_CONTENT)
    assert b"".join(reader.read(100) for _ in range(100)) == _CONTENT[:10_000]
    assert requests == [(0, READ_AHEAD_BYTES)]


def test_a_reader_that_goes_on_where_it_stopped_is_fetched_ahead() -> None:
    reader, requests = _reader(_CONTENT)
    reader.seek(1000)
    assert b"".join(reader.read(100) for _ in range(100)) == _CONTENT[1000:11_000]
    assert requests == [(1000, 100), (1100, READ_AHEAD_BYTES)]


def test_a_reader_that_jumps_about_gets_no_more_than_it_asks_for() -> None:
    reader, requests = _reader(_CONTENT)
    pieces = [(900_000, 20), (500_000, 30_000), (600_000, 10), (10, 20)]
    for start, length in pieces:
        reader.seek(start)
        assert reader.read(length) == _CONTENT[start : start + length]
    assert requests == pieces


def test_a_large_read_is_one_request() -> None:
    reader, requests = _reader(_CONTENT)
    assert reader.readall() == _CONTENT
    assert requests == [(0, len(_CONTENT))]


def test_nothing_is_fetched_beyond_the_end() -> None:
    reader, requests = _reader(_CONTENT)
    reader.seek(-10, io.SEEK_END)
    assert reader.read(100) == _CONTENT[-10:]
    assert reader.read(100) == b""
    assert requests == [(len(_CONTENT) - 10, 10)]


def test_it_fills_a_buffer() -> None:
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
