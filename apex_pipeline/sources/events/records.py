"""Turns the events of a file into rows of the tables ``records`` and ``rejects``.

Contains the rules for ids, times, types and flat columns, and for what is left out of public rows. Pure; see
``events/days.py`` for whole days.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import orjson

from apex_pipeline.sources.events.mapping import SourceMapping
from apex_pipeline.sources.events.model import EXPLANATIONS, Event, EventReject, Node
from apex_pipeline.sources.events.paths import Path, first_text, without
from apex_pipeline.tables.model import Row

# Raised when the same files would give other rows.
RECORDS_VERSION: Final = "3"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Seconds since 1970 have 10 digits from 2001 to 2286, milliseconds 13.
_SECONDS_DIGITS, _MILLISECONDS_DIGITS = 10, 13
_ID_CHARACTERS = 32
_TRUE, _FALSE = frozenset({"true", "1", "yes"}), frozenset({"false", "0", "no"})
# A key with a prefix, in JSON text.
_PREFIX = re.compile(rb"\"@?[^\"\\:]+:[^\"\\]+\":")
# Python itself also takes 1_000, nan and the digits of every script.
_INTEGER = re.compile(r"\s*[+-]?[0-9]{1,19}\s*")
_REAL = re.compile(r"\s*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\s*")
_LARGEST_INTEGER = 2**63 - 1


@dataclass(frozen=True)
class DeliveredFile:
    """Where rows come from.

    Attributes:
        name: Key of the file.
        sha256: Digest of the file as delivered.
        source: Source that delivered it.
    """

    name: str
    sha256: str
    source: str


class RowMaker:
    """Makes the rows of one source.

    Args:
        mapping: What its events mean.
    """

    def __init__(self, mapping: SourceMapping) -> None:
        self._times = [_parts(path) for path in mapping.event_time]
        self._types = [_parts(path) for path in mapping.event_type]
        self._columns = [
            (name, _parts(column.path), _CONVERTERS[column.kind]) for name, column in mapping.columns.items()
        ]
        self._personal = mapping.personal_paths
        self._personal_columns = [name for name, column in mapping.columns.items() if column.personal]

    def record(self, event: Event, file: DeliveredFile) -> Row:
        """Return the complete row of an event."""
        node, has_prefixes = event.node, _has_prefixes(event)
        row: Row = {
            "event_time_utc": _time(first_text(node, self._times, has_prefixes=has_prefixes)),
            "file": file.name,
            "file_sha256": file.sha256,
            "position_in_file": event.position,
            "byte_offset": event.offset,
            "event_id": event_id(file.sha256, file.name, event.position),
            "event_type": first_text(node, self._types, has_prefixes=has_prefixes) or event.name or None,
            "source": file.source,
            "payload": event.payload,
            "flags": event.flags,
        }
        for name, path, convert in self._columns:
            row[name] = convert(first_text(node, (path,), has_prefixes=has_prefixes))
        return row

    def public(self, row: Row, event: Event) -> Row:
        """Return a row without anything personal, in its columns and in its payload."""
        masked = row | dict.fromkeys(self._personal_columns)
        payload = without(event.node, self._personal, has_prefixes=_has_prefixes(event))
        return masked | {"payload": orjson.dumps(payload)}


def reject_row(reject: EventReject, file: DeliveredFile) -> Row:
    """Return the row of a reject."""
    return {
        "file": file.name,
        "file_sha256": file.sha256,
        "position_in_file": reject.position,
        "byte_offset": reject.offset,
        "length": reject.length,
        "line": reject.line,
        "source": file.source,
        "reason": str(reject.reason),
        "detail": " ".join(filter(None, [EXPLANATIONS[reject.reason], reject.detail and f"({reject.detail})"])),
        "content": reject.content,
    }


def event_id(file_sha256: str, name: str, position: int) -> str:
    """Return the id of an event; the name of its file is part of it, because two files may have the same content."""
    return hashlib.sha256(f"{file_sha256}\n{name}\n{position}".encode()).hexdigest()[:_ID_CHARACTERS]


def _has_prefixes(event: Event) -> bool:
    return not event.is_plain and _PREFIX.search(event.payload) is not None


def _parts(path: str) -> Path:
    return tuple(path.split("/"))


def _time(text: str | None) -> datetime | None:
    """Return a time in UTC, given in ISO 8601 (without an offset: UTC) or as seconds or milliseconds since 1970."""
    if text is None:
        return None
    text = text.strip()
    try:
        if text.isascii() and text.isdigit():
            unit = {_SECONDS_DIGITS: timedelta(seconds=1), _MILLISECONDS_DIGITS: timedelta(milliseconds=1)}
            return _EPOCH + int(text) * unit[len(text)] if len(text) in unit else None
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _integer(text: str | None) -> int | None:
    if not _INTEGER.fullmatch(text or ""):
        return None
    number = int(text or "")
    return number if abs(number) <= _LARGEST_INTEGER else None


def _real(text: str | None) -> float | None:
    return float(text or "") if _REAL.fullmatch(text or "") else None


def _boolean(text: str | None) -> bool | None:
    word = (text or "").strip().lower()
    return True if word in _TRUE else False if word in _FALSE else None


def _text(text: str | None) -> Node:
    return text


_CONVERTERS = {
    "string": _text,
    "integer": _integer,
    "float": _real,
    "boolean": _boolean,
    "timestamp_utc": _time,
}
