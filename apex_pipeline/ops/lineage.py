"""Contains the way from a published lap back to its raw rows: file, content, line and text.

The evidence is found by the session's source, from what the derivation recorded. See cli/trace.py for the output.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from apex_pipeline.errors import ConfigurationError, StoreCorruptionError
from apex_pipeline.ingest.catalog import session_files
from apex_pipeline.lake.tables import read_published, require_session, require_snapshot, session_table
from apex_pipeline.sources import sources_named
from apex_pipeline.sources.base import tables_of
from apex_pipeline.sources.compression import decompress
from apex_pipeline.sources.lineage import Evidence, RawRow
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import raw_key
from apex_pipeline.tables import CARS, LAPS, OFFICIAL_LAPS
from apex_pipeline.tables.session_key import SessionKey

Row = dict[str, Any]


class RawFiles:
    """The raw files of a lake that a table ``files`` lists.

    Only small files are read (lap triggers, official timing). They stay in memory as long as this object.
    """

    def __init__(self, store: ObjectStore, files: pa.Table) -> None:
        self._store = store
        listed = files.select(["path", "sha256", "kind"]).to_pylist()
        self._sha256 = {row["path"]: row["sha256"] for row in listed}
        self._kind = {row["path"]: row["kind"] for row in listed}
        self._contents: dict[str, bytes] = {}

    def kind_of(self, path: str) -> str | None:
        """Return the kind of a file; ``None`` for one that is not listed."""
        return self._kind.get(path)

    def whole(self, path: str) -> RawRow:
        """Return a file as a source without a line."""
        return RawRow(path, self._sha256.get(path), None, None)

    def row(self, path: str, line: int) -> RawRow:
        """Return a row of a file.

        Raises:
            ObjectMissingError: The file is not in the lake.
            StoreCorruptionError: It is not the content the catalog lists.
            MalformedFileError: It cannot be unpacked.
        """
        # Of bytes, splitlines() knows the same three line ends as the reader of these files and no others.
        lines = decompress(self.content(path), path).splitlines()
        return RawRow(path, self._sha256.get(path), line, _text(lines[line - 1]))

    def rows(self, places: Iterable[tuple[str, int]]) -> tuple[RawRow, ...]:
        """Return the rows at these paths and lines; errors as for :meth:`row`."""
        return tuple(self.row(path, line) for path, line in places)

    def content(self, path: str) -> bytes:
        """Return a file as it is stored.

        Raises:
            ObjectMissingError: The file is not in the lake.
            StoreCorruptionError: It is not the content the catalog lists.
        """
        if path not in self._contents:
            content = self._store.read_bytes(raw_key(path))
            expected = self._sha256.get(path)
            if expected and hashlib.sha256(content).hexdigest() != expected:
                raise StoreCorruptionError(
                    f"{self._store.uri_of(raw_key(path))} is not the file the published tables were made from.",
                    "Run a sync: it makes the tables again from the file that is there now.",
                )
            self._contents[path] = content
        return self._contents[path]


def _text(line: bytes) -> str:
    try:
        return line.decode("utf-8-sig")
    except UnicodeDecodeError:
        return line.decode("latin-1")


@dataclass(frozen=True)
class LapTrace:
    """A lap and its evidence.

    Attributes:
        lap: Its row of ``laps``, with start and end also as ``start_ms`` and ``end_ms``.
        evidence: Start, crossings in between, end, official timing.
    """

    lap: Row
    evidence: tuple[Evidence, ...]


def trace_lap(store: ObjectStore, key: SessionKey, car: str, lap_number: int) -> LapTrace:
    """Find the raw rows that made a published lap.

    Args:
        store: The lake.
        key: The session.
        car: Whole vehicle_id, chassis, or car number, with or without ``#``.
        lap_number: The lap, as numbered in ``laps``.

    Raises:
        ConfigurationError: No car or more than one matches, or the car has no such lap.
        ObjectMissingError: The session is not published, or a raw file is missing from the lake.
        StoreCorruptionError: A raw file was replaced after the tables were derived.
    """
    snapshot = require_snapshot(store)
    session = require_session(snapshot, key)
    cars = session_table(store, session, CARS).to_pylist()
    unit = find_car(cars, car)
    laps = [lap for lap in _with_milliseconds(session_table(store, session, LAPS)) if lap["vehicle_id"] == unit]
    lap = _lap_numbered(laps, unit, lap_number)
    files = read_published(store, snapshot.catalog["files"])
    official_laps = session_table(store, session, OFFICIAL_LAPS).to_pylist()
    source = next(source for source in sources_named(session.sources) if LAPS in tables_of(source))
    evidence = source.find_lap_evidence(
        lap, laps, cars, official_laps, session_files(files, key, source.name), RawFiles(store, files)
    )
    return LapTrace(lap, tuple(evidence))


def find_car(cars: Sequence[Row], called: str) -> str:
    """Return the vehicle_id of the car with this name.

    Args:
        cars: Rows of the table ``cars`` of a session.
        called: Whole vehicle_id, chassis, or car number; with ``#`` in front a car number only.

    Raises:
        ConfigurationError: No car or more than one matches.
    """
    units = [row for row in cars if row["vehicle_id"] is not None]
    number = called.removeprefix("#")
    names = ("car_number",) if called.startswith("#") else ("vehicle_id", "chassis", "car_number")
    found = [row for row in units if number in {row[name] for name in names}]
    if len(found) == 1:
        return str(found[0]["vehicle_id"])
    if not found:
        raise ConfigurationError(f"No car is called {called!r}.", f"The session has: {_listed(units)}.")
    raise ConfigurationError(f"{called!r} may be any of {_listed(found)}.", "Give the whole vehicle_id.")


def _listed(cars: Sequence[Row]) -> str:
    words = [f"{row['vehicle_id']} (#{row['car_number']})" if row["car_number"] else row["vehicle_id"] for row in cars]
    return ", ".join(words) or "no car with lap triggers"


def _lap_numbered(laps: Sequence[Row], unit: str, number: int) -> Row:
    for lap in laps:
        if lap["lap_number"] == number:
            return lap
    known = f"It has {laps[0]['lap_number']} to {laps[-1]['lap_number']}" if laps else "It has none"
    raise ConfigurationError(f"{unit} has no lap {number}.", f"{known}; `apex laps` lists them.")


def _with_milliseconds(laps: pa.Table) -> list[Row]:
    """Return the rows with start and end as milliseconds since 1970."""
    starts, ends = (laps[name].cast(pa.int64()).to_pylist() for name in ("lap_start_utc", "lap_end_utc"))
    rows = zip(laps.to_pylist(), starts, ends, strict=True)
    return [{**row, "start_ms": start, "end_ms": end} for row, start, end in rows]
