"""Base64 and compression of recordings, as streams."""

import base64
import io
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.sources.ams2.container import Container, decode_base64
from apex_pipeline.sources.ams2.recording import RecordingError
from apex_pipeline_tests.examples import at_least


class _Trickle(io.BytesIO):
    """A stream that gives a few bytes at a time, as a socket does."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(7, 7 if size is None or size < 0 else size))


_ENCODINGS = (base64.b64encode, base64.urlsafe_b64encode)
_STREAMS = (io.BytesIO, _Trickle)


@given(st.binary(min_size=1, max_size=300), st.sampled_from(_ENCODINGS), st.integers(0, 80), st.sampled_from(_STREAMS))
@at_least(100)
def test_base64_decodes_in_both_alphabets_with_any_white_space(
    content: bytes, encode: Callable[[bytes], bytes], line: int, stream_type: type[io.BytesIO]
) -> None:
    text = encode(content)
    if line:
        text = b" \r\n\t".join(text[place : place + line] for place in range(0, len(text), line))
    assert decode_base64(stream_type(text)).read() == content


@pytest.mark.parametrize(
    "text", [b"!!!!", b"AAAA!", b"AAA", b"AAAA=", b"AA==AAAA", b"AA==\nAA==", b"A===", b"\xff\xfe\xfd\xfc"]
)
@pytest.mark.parametrize("stream_type", _STREAMS)
def test_anything_else_is_not_base64(text: bytes, stream_type: type[io.BytesIO]) -> None:
    with pytest.raises(RecordingError) as caught:
        decode_base64(stream_type(text)).read()
    assert caught.value.error_class == "not base64"


@pytest.mark.parametrize("text", [b"", b" \n"])
def test_base64_of_nothing_is_empty(text: bytes) -> None:
    with pytest.raises(RecordingError) as caught:
        decode_base64(io.BytesIO(text)).read()
    assert caught.value.error_class == "empty"


def test_base64_is_decoded_in_little_memory() -> None:
    text = base64.b64encode(bytes(6_000_000))
    stream = decode_base64(io.BytesIO(text))
    tracemalloc.start()
    total = 0
    while piece := stream.read(65_536):
        total += len(piece)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 6_000_000
    assert peak < 1_000_000


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
