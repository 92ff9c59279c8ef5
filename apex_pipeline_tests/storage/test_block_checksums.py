"""Tests of block checksums: independent of chunking, short enough for metadata, and sensitive to every bit."""

import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.storage.block_checksums import (
    SMALLEST_BLOCK_BYTES,
    START_BYTES,
    BlockChecksumBuilder,
    block_bytes_of,
    combine_crc32,
    parse_sums,
    sums_of,
)

_BLOCK = SMALLEST_BLOCK_BYTES
_CONTENT = bytes(range(251)) * 400  # seven distinct blocks, the last one shorter


@given(st.lists(st.integers(0, len(_CONTENT)), max_size=8))
def test_checksums_do_not_depend_on_the_chunking_of_the_bytes(cuts: list[int]) -> None:
    builder = BlockChecksumBuilder(len(_CONTENT))
    edges = [0, *sorted(cuts), len(_CONTENT)]
    for start, end in pairwise(edges):
        builder.update(_CONTENT[start:end])
    assert builder.sums == sums_of(_CONTENT)


def test_each_checksum_is_the_crc32_of_its_bytes() -> None:
    sums = sums_of(_CONTENT)
    assert sums.whole == zlib.crc32(_CONTENT)
    assert sums.start == zlib.crc32(_CONTENT[:START_BYTES])
    assert sums.blocks == tuple(
        zlib.crc32(_CONTENT[offset : offset + _BLOCK]) for offset in range(0, len(_CONTENT), _BLOCK)
    )


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_combine_crc32_returns_the_crc32_of_the_concatenation(first: bytes, second: bytes) -> None:
    assert combine_crc32(zlib.crc32(first), zlib.crc32(second), len(second)) == zlib.crc32(first + second)


@pytest.mark.parametrize(
    ("size", "block"),
    [
        (0, _BLOCK),
        (256 * _BLOCK, _BLOCK),
        (256 * _BLOCK + 1, _BLOCK + 4096),
        (3_000_000_000, 2862 * 4096),
        (5 * 1024**4, 20 * 1024**3),
    ],
)
def test_the_block_size_limits_the_number_of_blocks_to_256(size: int, block: int) -> None:
    assert block_bytes_of(size) == block
    assert -(-size // block) <= 256


def test_256_checksums_and_a_digest_fit_into_the_2_kb_of_s3_metadata() -> None:
    text = sums_of(bytes(256 * _BLOCK)).to_text()
    assert len("crc32-blocks") + len(text) + len("sha256") + 64 < 2048


@pytest.mark.parametrize("content", [b"", b"lap", _CONTENT], ids=["none", "few", "many"])
def test_checksums_survive_a_round_trip_through_text(content: bytes) -> None:
    sums = sums_of(content)
    assert parse_sums(sums.to_text(), len(content)) == sums


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "16384",
        "16384:???",
        "16384:AAAA",
        "half:AAAAAAAAAAA=",
        "20480:" + sums_of(_CONTENT).to_text().partition(":")[2],
        sums_of(_CONTENT[:_BLOCK]).to_text(),
    ],
)
def test_invalid_or_mismatched_text_is_parsed_as_none(text: str | None) -> None:
    assert parse_sums(text, len(_CONTENT)) is None


@given(st.integers(0, len(_CONTENT) - 1), st.integers(0, 7))
def test_any_flipped_bit_is_detected_in_its_block(offset: int, bit: int) -> None:
    damaged = bytearray(_CONTENT)
    damaged[offset] ^= 1 << bit
    sums = sums_of(_CONTENT)
    block = offset // _BLOCK * _BLOCK
    assert sums.damaged_block(0, bytes(damaged), len(_CONTENT)) == block
    assert sums.damaged_block(block, bytes(damaged[block : block + _BLOCK]), len(_CONTENT)) == block


def test_complete_blocks_are_checked_and_incomplete_ones_are_not() -> None:
    sums = sums_of(_CONTENT)
    assert sums.damaged_block(_BLOCK, _CONTENT[_BLOCK : 3 * _BLOCK], len(_CONTENT)) is None
    assert sums.damaged_block(_BLOCK, _CONTENT[_BLOCK : _BLOCK + 5] + b"x", len(_CONTENT)) is None
