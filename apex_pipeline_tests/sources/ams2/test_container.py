"""Base64 and compression of recordings, as streams."""

import base64
import io
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.sources.ams2.container import Base64Decoder, Container
from apex_pipeline.sources.ams2.recording import RecordingError
from apex_pipeline_tests.examples import at_least


def _decoded(text: bytes, size: int = 7) -> bytes:
    """Return what the decoder makes of a text that arrives in pieces."""
    decoder = Base64Decoder()
    decoded = [decoder.feed(text[start : start + size]) for start in range(0, len(text), size)]
    decoder.finish()
    return b"".join(decoded)


_ENCODINGS = (base64.b64encode, base64.urlsafe_b64encode)


@given(st.binary(min_size=1, max_size=300), st.sampled_from(_ENCODINGS), st.integers(0, 80), st.integers(1, 500))
@at_least(100)
def test_base64_decodes_in_both_alphabets_with_any_white_space(
    content: bytes, encode: Callable[[bytes], bytes], line: int, size: int
) -> None:
    text = encode(content)
    if line:
        text = b" \r\n\t".join(text[place : place + line] for place in range(0, len(text), line))
    assert _decoded(text, size) == content


@pytest.mark.parametrize(
    "text", [b"!!!!", b"AAAA!", b"AAA", b"AAAA=", b"AA==AAAA", b"AA==\nAA==", b"A===", b"\xff\xfe\xfd\xfc"]
)
@pytest.mark.parametrize("size", [1, 4, 7, 100])
def test_anything_else_is_not_base64(text: bytes, size: int) -> None:
    with pytest.raises(RecordingError) as caught:
        _decoded(text, size)
    assert caught.value.error_class == "not base64"


@pytest.mark.parametrize("text", [b"", b" \n"])
def test_base64_of_nothing_is_empty(text: bytes) -> None:
    with pytest.raises(RecordingError) as caught:
        _decoded(text)
    assert caught.value.error_class == "empty"


def _deflated(content: bytes, window_bits: int, level: int) -> bytes:
    compressor = zlib.compressobj(level, wbits=window_bits)
    return compressor.compress(content) + compressor.flush()


@given(st.binary(min_size=1, max_size=2_000), st.sampled_from([15, -15, 31]), st.integers(0, 9))
@at_least(100)
def test_every_compression_is_found_by_trying(content: bytes, window_bits: int, level: int) -> None:
    container = Container(io.BytesIO(_deflated(content, window_bits, level)))
    assert b"".join(container.chunks()) == content
    assert container.notes == []
    assert container.format == {15: "zlib", -15: "raw deflate", 31: "gzip"}[window_bits]


@given(st.binary(min_size=200, max_size=2_000), st.floats(0.3, 0.95))
@at_least(50)
def test_a_cut_stream_gives_a_beginning_of_its_content(content: bytes, share: float) -> None:
    blob = _deflated(content, 15, 6)
    container = Container(io.BytesIO(blob[: int(len(blob) * share)]))
    assert content.startswith(b"".join(container.chunks()))
    assert container.notes == ["the compressed data is cut off"]


def test_a_damaged_stream_gives_everything_before_the_damage() -> None:
    content = b"".join(number.to_bytes(4, "little") for number in range(50_000))
    blob = bytearray(_deflated(content, 15, 6))
    middle = len(blob) // 2
    blob[middle : middle + 40] = b"\xff" * 40
    container = Container(io.BytesIO(bytes(blob)))
    found = b"".join(container.chunks())
    # Up to the damage the bytes are right; a few wrong ones may follow before zlib notices.
    same = next(place for place in range(len(found)) if found[place] != content[place])
    assert same > len(content) * 0.4
    assert container.notes[0] == "the compressed data is damaged"
