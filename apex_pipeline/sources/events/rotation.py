"""Names of rotated event files: which files are events, their stamps, their order and the names they are stored under.

Contains rules about names alone, no I/O; see the package ``events`` for the files themselves.
"""

import re
from datetime import UTC, date, datetime
from pathlib import PurePosixPath

from apex_pipeline.errors import ConfigurationError

_STAMP = re.compile(r"(\d{4})(\d\d)(\d\d)_(\d\d)(\d\d)(\d\d)(?!\d)", re.ASCII)
_DATE = re.compile(r"\d{8}(?!\d)", re.ASCII)
_FORMAT = "%Y%m%d_%H%M%S"
_NS_PER_S = 1_000_000_000
# The file that the producer is appending to.
_CURRENT = "current.xml"
_UNFINISHED_ENDINGS = (".tmp", ".part", "~")
# A suffix of compression stays behind the suffix of the content: name_1.xml.gz, not name.xml_1.gz.
_COMPRESSED = frozenset({".gz", ".zst", ".bz2", ".xz"})
# Longest file name that Linux, macOS and Windows allow, in bytes.
_LONGEST_NAME_BYTES = 255
_XML, _JSON = frozenset({".xml"}), frozenset({".json", ".ndjson", ".jsonl"})


def rotated_name(moment: datetime, suffix: str = ".xml", number: int = 0) -> str:
    """Return the name of a file rotated at this time, such as ``20250729_161500.xml``.

    Args:
        moment: Time of the rotation, with its time zone.
        suffix: Ending of the name.
        number: 0, or the number of the rotation within the same second: ``20250729_161500_1.xml``.

    Raises:
        ConfigurationError: The time has no time zone, so its UTC time is unknown.
    """
    if moment.tzinfo is None:
        raise ConfigurationError(
            f"{moment.isoformat()} has no time zone, so the file cannot be named after it.",
            "Use an aware time, such as datetime.now(UTC).",
        )
    name = f"{moment.astimezone(UTC):{_FORMAT}}{suffix}"
    return numbered(name, number) if number else name


def is_event_name(name: str) -> bool:
    """Return whether a file of this name may be taken: it is neither hidden, nor unfinished, nor still written to."""
    return not (name.startswith(".") or name.lower() == _CURRENT or name.lower().endswith(_UNFINISHED_ENDINGS))


def stamp_of(name: str) -> datetime | None:
    """Return the time (UTC) that a name starts with; ``None`` if it starts with none, or with one like 31 February."""
    found = _STAMP.match(name)
    if found is None:
        return None
    year, month, day, hour, minute, second = map(int, found.groups())
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None


def date_of(name: str) -> date | None:
    """Return the date that a name starts with; ``None`` if it starts with none, or with one like 31 February.

    The day of a file is this date everywhere, also if the time behind it is impossible, or else that of its delivery.
    """
    found = _DATE.match(name)
    try:
        return None if found is None else date.fromisoformat(found[0])
    except ValueError:
        return None


def folder_of(day: date) -> str:
    """Return the folder of a day, such as ``2025/07/29``."""
    return day.isoformat().replace("-", "/")


def order_of(name: str, mtime_ns: int) -> tuple[int, str]:
    """Return the place of a file in the order of shipping: by the stamp in its name, then by name.

    A file without a stamp is placed by the second in which it was last modified.
    """
    stamp = stamp_of(name)
    return mtime_ns // _NS_PER_S if stamp is None else int(stamp.timestamp()), name


def content_kind(name: str) -> str | None:
    """Return ``xml`` or ``json`` by the ending of a name; ``None`` for any other."""
    suffix = PurePosixPath(name.lower()).suffix
    return "xml" if suffix in _XML else "json" if suffix in _JSON else None


def raw_name(name: str) -> str:
    """Return the name under which an ill-formed file is stored: ``20250729_161500_raw.xml``."""
    stem, suffix = _split(name)
    return name if stem.endswith("_raw") else f"{stem}_raw{suffix}"


def numbered(name: str, number: int) -> str:
    """Return another name for a file whose own is taken: ``name_1.xml``; at most 255 bytes long."""
    stem, suffix = _split(name)
    ending = f"_{number}{suffix}"
    while stem and len(f"{stem}{ending}".encode(errors="surrogateescape")) > _LONGEST_NAME_BYTES:
        stem = stem[:-1]
    return f"{stem}{ending}"


def _split(name: str) -> tuple[str, str]:
    path = PurePosixPath(name)
    suffix = path.suffix
    if suffix.lower() in _COMPRESSED:
        suffix = PurePosixPath(path.stem).suffix + suffix
    return name.removesuffix(suffix) if suffix else name, suffix
