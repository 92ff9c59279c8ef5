"""Decodes and decompresses a recording as a stream: base64, and then zlib, gzip or raw deflate, found by trying.

A damaged stream gives what can be read and says what is wrong with it. See ``framing.py`` for the datagrams in it.
"""

import binascii
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Protocol

from apex_pipeline.sources.ams2.errors import RecordingError
from apex_pipeline.sources.ams2.limits import DEFAULT_LIMITS, RecordingLimits

# Compressed bytes read at a time; with more, zlib copies its unused input too often.
_COMPRESSED_BYTES = 65_536
# Largest piece of inflated bytes: 64 kB of a bomb would otherwise become 67 MB at once.
_INFLATED_BYTES = 1_000_000
_WHITESPACE = b" \t\r\n\f\v"
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
# Enough for the tables at the start of a compressed block and a first byte out of it.
_TRIED_BYTES = 512
_QUANTUM = 4  # characters of base64 that give three bytes

_GZIP, _ZLIB, _DEFLATE = 31, 15, -15
_NAMES = {_GZIP: "gzip", _ZLIB: "zlib", _DEFLATE: "raw deflate"}
_GZIP_MAGIC = b"\x1f\x8b"
_ZLIB_METHOD, _ZLIB_DIVISOR = 8, 31  # RFC 1950: the two bytes of its header


class _Inflater(Protocol):
    """What is used of an inflater of ``zlib``, whose class has no public name."""

    @property
    def eof(self) -> bool:
        """Whether the stream has ended."""
        ...

    def decompress(self, data: bytes, /) -> bytes:
        """Return what the next compressed bytes give."""
        ...


class Base64Decoder:
    """Decodes base64 text that arrives in pieces; white space and the URL-safe alphabet are accepted."""

    def __init__(self) -> None:
        self._rest = b""
        self._is_padded = False
        self._is_empty = True

    def feed(self, text: bytes) -> bytes:
        """Return the bytes that the next piece completes.

        Raises:
            RecordingError: It is not base64.
        """
        characters = self._rest + text.translate(_URL_SAFE, _WHITESPACE)
        whole = len(characters) - len(characters) % _QUANTUM
        self._rest = characters[whole:]
        if characters and self._is_padded:
            raise _not_base64("it goes on after its padding")
        try:
            decoded = binascii.a2b_base64(characters[:whole], strict_mode=True)
        except binascii.Error as error:
            raise _not_base64(str(error)) from error
        if whole:
            self._is_padded = characters.endswith(b"=", 0, whole)
        self._is_empty = self._is_empty and not whole
        return decoded

    def finish(self) -> None:
        """Check, after the last piece, that the text is complete.

        Raises:
            RecordingError: It is not base64, or nothing.
        """
        if self._rest:
            raise _not_base64("its length is not a multiple of 4")
        if self._is_empty:
            raise RecordingError("empty", "The recording is empty.", "Send the base64 text of a compressed recording.")


def _not_base64(why: str) -> RecordingError:
    return RecordingError(
        "not base64", f"The recording is not base64: {why}.", "Encode the compressed file with base64, as one text."
    )


class Container:
    """The decompressed bytes of a recording.

    Args:
        source: The recording as stored, compressed.
        limits: Limits on its size.

    Attributes:
        notes: What is wrong with the stream, one clause each; complete after :meth:`chunks` has ended.
        compressed_bytes: Bytes read so far.
        inflated_bytes: Bytes given so far.
        format: How it is compressed.
    """

    def __init__(self, source: BinaryIO, limits: RecordingLimits = DEFAULT_LIMITS) -> None:
        self._source = source
        self._limits = limits
        self.notes: list[str] = []
        self.compressed_bytes = 0
        self.inflated_bytes = 0
        self._unread = self._read()
        if not self._unread:
            raise RecordingError("empty", "The recording is empty.", "Send the compressed file of a recording.")
        window_bits = _format_of(self._unread)
        if window_bits is None:
            raise not_compressed()
        self._window_bits = window_bits
        self.format = _NAMES[self._window_bits]

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes in pieces of at most 1 MB.

        Raises:
            RecordingError: It exceeds a limit.
        """
        while self._unread:
            yield from self._stream()
            # Zeros fill up the last block of some file systems and tapes.
            self._unread = self._unread.lstrip(b"\0") or self._read().lstrip(b"\0")
            if self._unread and (self._window_bits == _DEFLATE or _format_of(self._unread) != self._window_bits):
                self._ignore_rest()

    def _stream(self) -> Iterator[bytes]:
        """Yield the bytes of one compressed stream; the bytes after it remain unread."""
        inflater = zlib.decompressobj(self._window_bits)
        while not inflater.eof:
            if not self._unread:
                self._unread = self._read()
            if not self._unread:
                yield self._counted(inflater.flush())
                self.notes.append("the compressed data is cut off")
                return
            # An error discards what was inflated before it in the same call, so that is repeated in small steps.
            before = inflater.copy()
            try:
                inflated = inflater.decompress(self._unread, _INFLATED_BYTES)
            except zlib.error as error:
                for piece in _salvage(before, self._unread):
                    yield self._counted(piece)
                self.notes.append(_damage(error))
                self._ignore_rest()
                return
            self._unread = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
            yield self._counted(inflated)

    def _ignore_rest(self) -> None:
        ignored = len(self._unread)
        while block := self._read():
            ignored += len(block)
        self._unread = b""
        self.notes.append(f"{ignored:,} compressed bytes could not be used")

    def _read(self) -> bytes:
        block = self._source.read(_COMPRESSED_BYTES)
        self.compressed_bytes += len(block)
        if self.compressed_bytes > self._limits.compressed_bytes:
            raise RecordingError(
                "compressed size limit",
                f"The recording has more than {self._limits.compressed_bytes:,} bytes.",
                "Check that it is a race; if so, raise MAX_RACE_MB.",
            )
        return block

    def _counted(self, piece: bytes) -> bytes:
        self.inflated_bytes += len(piece)
        limits = self._limits
        if self.inflated_bytes > limits.inflated_bytes:
            raise _inflates_too_much(f"to more than {limits.inflated_bytes:,} bytes")
        if self.inflated_bytes > max(limits.ratio_from_bytes, limits.ratio * self.compressed_bytes):
            raise _inflates_too_much(f"to more than {limits.ratio} times its size")
        return piece


def _format_of(head: bytes) -> int | None:
    """Return zlib's number for the compression that the first bytes belong to; ``None`` if it is none of the three."""
    if head.startswith(_GZIP_MAGIC):
        return _GZIP
    is_zlib = head[0] & 15 == _ZLIB_METHOD and int.from_bytes(head[:2], "big") % _ZLIB_DIVISOR == 0
    # Raw deflate has no header, and one of 1,000 begins by chance like zlib.
    for window_bits in (_ZLIB, _DEFLATE) if is_zlib else (_DEFLATE,):
        if any(_salvage(zlib.decompressobj(window_bits), head[:_TRIED_BYTES])):
            return window_bits
    return _ZLIB if is_zlib else None


def not_compressed() -> RecordingError:
    """Return the error for bytes that are not a compressed recording."""
    return RecordingError(
        "not compressed",
        "The recording is not compressed with zlib, deflate or gzip.",
        "Compress the length-prefixed packets with zlib, or send an .ams2rec file.",
    )


def _salvage(inflater: _Inflater, compressed: bytes) -> Iterator[bytes]:
    """Yield what an inflater gives for bytes with an error in them, up to the error."""
    for start in range(len(compressed)):
        if inflater.eof:
            return
        try:
            piece = inflater.decompress(compressed[start : start + 1])
        except zlib.error:
            return
        if piece:
            yield piece


def _damage(error: zlib.error) -> str:
    if "incorrect data check" in str(error) or "incorrect length check" in str(error):
        return "the checksum of the compressed data is wrong"
    return "the compressed data is damaged"


def _inflates_too_much(how: str) -> RecordingError:
    return RecordingError(
        "inflated size limit",
        f"The recording inflates {how}.",
        "Check that it is a race; split one of more than six hours.",
    )
