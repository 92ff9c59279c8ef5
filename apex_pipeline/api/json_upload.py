"""Splits an uploaded JSON object while it arrives: one large text is passed on, everything else kept in memory.

A JSON parser would hold the whole body, and then the text once more. An hour of racing is 187 MB of JSON.
"""

import json
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, Final

from apex_pipeline.errors import LimitExceededError, MalformedFileError

# The other fields of an upload are a few words.
_MOST_OTHER_BYTES: Final = 65_536
_QUOTE, _BACKSLASH = ord('"'), ord("\\")
_HINT = 'Send {"data": "<base64 of the compressed race>"}.'


class _Mode(Enum):
    """What the next byte belongs to."""

    STRUCTURE = auto()
    TEXT = auto()
    FIELD = auto()


class JsonUpload:
    """One JSON object that arrives in blocks.

    Args:
        field: Name of the field with the large text.
        pass_on: Called with its text, piece by piece, with JSON's escapes resolved.
    """

    def __init__(self, field: str, pass_on: Callable[[bytes], object]) -> None:
        self._field = field
        self._pass_on = pass_on
        self._mode = _Mode.STRUCTURE
        self._other = bytearray()  # the object with an empty text in the field's place
        self._cut = b""  # an escape whose end has not arrived yet
        self._depth = 0
        self._text_start = 0
        self._key: str | None = None
        self._is_value = False
        self._is_found = False

    def feed(self, block: bytes) -> None:
        """Take the next block.

        Raises:
            MalformedFileError: This cannot become such an object.
            LimitExceededError: There is too much beside the field.
        """
        block, self._cut = self._cut + block, b""
        position = 0
        while position < len(block):
            if self._mode is _Mode.FIELD:
                position = self._take_field(block, position)
            elif self._mode is _Mode.TEXT:
                position = self._take_text(block, position)
            else:
                position = self._take_structure(block, position)
        if len(self._other) > _MOST_OTHER_BYTES:
            raise LimitExceededError(f"There is too much beside the field {self._field!r} of the upload.", _HINT)

    def finish(self) -> dict[str, Any]:
        """Return the other fields, after the last block.

        Raises:
            MalformedFileError: It is no JSON object, or its field is missing or not text.
        """
        try:
            found = json.loads(bytes(self._other + self._cut))
        except (ValueError, RecursionError):
            raise MalformedFileError("The upload is not JSON, or it was cut off.", _HINT) from None
        if not isinstance(found, dict):
            raise MalformedFileError("The upload is not a JSON object.", _HINT)
        if self._field not in found:
            raise MalformedFileError(f"The upload has no field {self._field!r}.", _HINT)
        if not isinstance(found.pop(self._field), str) or not self._is_found:
            raise MalformedFileError(f"The field {self._field!r} of the upload is not text.", _HINT)
        return found

    def _take_field(self, block: bytes, position: int) -> int:
        """Pass the field's text on up to its end, or to the end of the block; return where to go on."""
        quote = block.find(b'"', position)
        end = len(block) if quote < 0 else quote
        while (escape := block.find(b"\\", position, end)) >= 0:
            self._pass_on(block[position:escape])
            length = 6 if block[escape + 1 : escape + 2] == b"u" else 2
            if escape + length > len(block):
                self._cut = block[escape:]
                return len(block)
            self._pass_on(_resolve(block[escape : escape + length]))
            position = escape + length
            if position > end:  # the quote was part of the escape
                quote = block.find(b'"', position)
                end = len(block) if quote < 0 else quote
        self._pass_on(block[position:end])
        if quote < 0:
            return len(block)
        self._other += b'"'
        self._mode = _Mode.STRUCTURE
        return quote + 1

    def _take_text(self, block: bytes, position: int) -> int:
        """Keep one character of another text; texts beside the field are short."""
        byte = block[position]
        if byte == _BACKSLASH:
            if position + 1 == len(block):
                self._cut = block[position:]
                return len(block)
            self._other += block[position : position + 2]
            return position + 2
        self._other.append(byte)
        if byte == _QUOTE:
            self._mode = _Mode.STRUCTURE
            if self._depth == 1 and not self._is_value:
                self._key = _text_or_none(bytes(self._other[self._text_start :]))
        elif len(self._other) > _MOST_OTHER_BYTES:
            return len(block)
        return position + 1

    def _take_structure(self, block: bytes, position: int) -> int:
        byte = block[position : position + 1]
        self._other += byte
        if byte == b'"':
            self._begin_text()
        elif byte in b"{[":
            self._depth += 1
        elif byte in b"}]":
            self._depth -= 1
        elif self._depth == 1 and byte in b":,":
            self._is_value = byte == b":"
        elif len(self._other) > _MOST_OTHER_BYTES:
            return len(block)
        return position + 1

    def _begin_text(self) -> None:
        is_field = self._depth == 1 and self._is_value and self._key == self._field
        if is_field and self._is_found:
            raise MalformedFileError(f"The upload has the field {self._field!r} twice.", _HINT)
        self._is_found = self._is_found or is_field
        self._mode = _Mode.FIELD if is_field else _Mode.TEXT
        self._text_start = len(self._other) - 1


def _resolve(escape: bytes) -> bytes:
    resolved = _text_or_none(b'"' + escape + b'"')
    if resolved is None:
        raise MalformedFileError("The upload is not JSON: a text has an unknown escape.", _HINT)
    return resolved.encode("utf-8", "replace")


def _text_or_none(text: bytes) -> str | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, str) else None
