"""Cutting the bytes of a recording into datagrams."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.sources.ams2 import framing
from apex_pipeline.sources.ams2.framing import MAGIC, Framer
from apex_pipeline_tests.examples import at_least

_DATAGRAMS = st.lists(st.binary(min_size=12, max_size=90), max_size=30)


def _frames(content: bytes, piece: int = 10**6) -> tuple[list[bytes], Framer]:
    framer = Framer()
    pieces = (content[start : start + piece] for start in range(0, len(content), piece))
    found = [
        frames.data[start : start + size]
        for frames in framer.frames(pieces)
        for start, size in zip(frames.starts.tolist(), frames.sizes.tolist(), strict=True)
    ]
    return found, framer


@given(_DATAGRAMS, st.integers(1, 200), st.integers(1, 300))
@at_least(100)
def test_pieces_and_batches_of_any_size_give_the_same_datagrams(datagrams: list[bytes], piece: int, batch: int) -> None:
    content = b"".join(struct.pack("<I", len(datagram)) + datagram for datagram in datagrams)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(framing, "_BATCH_BYTES", batch)
        found, framer = _frames(content, piece)
    assert found == datagrams
    assert framer.notes == []


@given(_DATAGRAMS)
@at_least(50)
def test_ams2rec_files_have_a_time_and_a_short_length(datagrams: list[bytes]) -> None:
    content = MAGIC + b"".join(struct.pack("<IH", 7, len(datagram)) + datagram for datagram in datagrams)
    assert _frames(content)[0] == datagrams
    assert _frames(content + content)[0] == datagrams * 2


@given(_DATAGRAMS, st.integers(1, 15))
@at_least(50)
def test_a_cut_datagram_is_left_out_and_its_offset_is_given(datagrams: list[bytes], kept: int) -> None:
    content = b"".join(struct.pack("<I", len(datagram)) + datagram for datagram in datagrams)
    cut = (struct.pack("<I", 12) + bytes(12))[:kept]
    found, framer = _frames(content + cut)
    assert found == datagrams
    assert framer.notes == [f"truncated at byte {len(content)}"]
    assert framer.unread_bytes == kept


@pytest.mark.parametrize("length", [0, 3, 11, 1501, 0xFFFFFFFF])
def test_a_length_that_cannot_be_ends_the_search_with_its_offset(length: int) -> None:
    whole = struct.pack("<I", 12) + bytes(12)
    found, framer = _frames(whole + struct.pack("<I", length) + bytes(500), piece=9)
    assert len(found) == 1
    assert framer.notes == [f"truncated at byte 16, where a length of {length} cannot be"]
    assert framer.unread_bytes == 504
