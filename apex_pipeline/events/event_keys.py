"""Defines where the records of rotated events lie in the lake, one function per kind of object."""

import re
from dataclasses import dataclass
from datetime import date

from apex_pipeline.errors import ConfigurationError
from apex_pipeline.sources.events.mapping import PRIVATE_PREFIX
from apex_pipeline.storage.keys import check_key

_RECORDS = "events/records"
_REJECTS = "quarantine/events"
# A source is part of keys and partitions.
_SOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class DayKey:
    """One source on one UTC day.

    Attributes:
        source: Name of the source.
        day: The day, ISO.
    """

    source: str
    day: str

    def __str__(self) -> str:
        return f"{self.source}/{self.day}"


def parse_day_key(text: str) -> DayKey:
    """Return the source and day that a text like ``xml-stream-aggregator/2025-07-29`` names.

    Raises:
        ConfigurationError: It names none.
    """
    source, _, day = text.rpartition("/")
    try:
        if _SOURCE.fullmatch(source):
            return DayKey(source, date.fromisoformat(day).isoformat())
    except ValueError:
        pass
    raise ConfigurationError(
        f"{text!r} is not a source and a day.", "Write it like xml-stream-aggregator/2025-07-29; see EVENT_SOURCE."
    )


def records_key(key: DayKey, *, is_private: bool) -> str:
    """Return the key of the records of a day; the private ones have the personal fields."""
    return _table_key(_RECORDS, key, "records.parquet", is_private=is_private)


def rejects_key(key: DayKey, *, is_private: bool) -> str:
    """Return the key of the rejects of a day, which have bytes of the files in them."""
    return _table_key(_REJECTS, key, "rejects.parquet", is_private=is_private)


def day_report_key(key: DayKey) -> str:
    """Return the key of the report of a day."""
    return _table_key(_RECORDS, key, "report.json", is_private=False)


def is_private_key(key: str) -> bool:
    """Return whether a key is out of the reach of public readers."""
    return key.startswith(PRIVATE_PREFIX)


def _table_key(folder: str, key: DayKey, name: str, *, is_private: bool) -> str:
    private = PRIVATE_PREFIX if is_private else ""
    return check_key(f"{private}{folder}/source={key.source}/day={key.day}/{name}")
