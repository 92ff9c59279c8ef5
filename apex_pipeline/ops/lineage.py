"""Traces a published lap back to its raw rows: file, digest, line and text.

The session's source finds the evidence, using the records of the derivation. See cli/trace.py for the output.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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
from apex_pipeline.tables.model import Row
from apex_pipeline.tables.session_key import SessionKey


class RawFiles:
    """The raw files of a lake, as listed in a table ``files``.

    Only small files are read (lap triggers, official timing). They stay in memory for the lifetime of this object.
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
        """Return a reference to an entire file, without line and text."""
        return RawRow(path, self._sha256.get(path), None, None)

    def row(self, path: str, line: int) -> RawRow:
        """Return a row of a file.

        Raises:
            ObjectMissingError: The file is not in the lake.
            StoreCorruptionError: Its content is not the one listed in the catalog.
            MalformedFileError: It cannot be decompressed.
        """
        # bytes.splitlines() splits at the same three line endings as the CSV reader, and at no others.
        lines = decompress(self.content(path), path).splitlines()
        return RawRow(path, self._sha256.get(path), line, _text(lines[line - 1]))

    def rows(self, places: Iterable[tuple[str, int]]) -> tuple[RawRow, ...]:
        """Return the rows at these paths and lines; errors as for :meth:`row`."""
        return tuple(self.row(path, line) for path, line in places)

    def content(self, path: str) -> bytes:
        """Return the stored bytes of a file.

        Raises:
            ObjectMissingError: The file is not in the lake.
            StoreCorruptionError: Its content is not the one listed in the catalog.
        """
        if path not in self._contents:
            content = self._store.read_bytes(raw_key(path))
            expected = self._sha256.get(path)
            if expected and hashlib.sha256(content).hexdigest() != expected:
                raise StoreCorruptionError(
                    f"{self._store.uri_of(raw_key(path))} has changed since the published tables were derived.",
                    "Run a sync to derive the tables again from the current file.",
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
    """A lap and the raw rows behind it.

    Attributes:
        lap: Its row of ``laps``, with start and end also as ``start_ms`` and ``end_ms``.
        evidence: Start, crossings in between, end, official timing.
    """

    lap: Row
    evidence: tuple[Evidence, ...]


def trace_lap(store: ObjectStore, key: SessionKey, car: str, lap_number: int) -> LapTrace:
    """Find the raw rows that a published lap was derived from.

    Args:
        store: The lake.
        key: The session.
        car: Complete vehicle_id, chassis, or car number with or without ``#``.
        lap_number: The lap, as numbered in ``laps``.

    Raises:
        ConfigurationError: No car or more than one matches, or the car has no such lap.
        ObjectMissingError: The session is not published, or a raw file is missing from the lake.
        StoreCorruptionError: A raw file was replaced after the tables were derived.
    """
    snapshot = require_snapshot(store)
    session = require_session(snapshot, key)
    cars = session_table(store, session, CARS).to_pylist()
    vehicle_id = find_car(cars, car)
    laps = [lap for lap in _with_milliseconds(session_table(store, session, LAPS)) if lap["vehicle_id"] == vehicle_id]
    lap = _require_lap(laps, vehicle_id, lap_number)
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
        called: Complete vehicle_id, chassis, or car number; with a leading ``#`` only a car number.

    Raises:
        ConfigurationError: No car or more than one matches.
    """
    devices = [row for row in cars if row["vehicle_id"] is not None]
    number = called.removeprefix("#")
    names = ("car_number",) if called.startswith("#") else ("vehicle_id", "chassis", "car_number")
    found = [row for row in devices if number in {row[name] for name in names}]
    if len(found) == 1:
        return str(found[0]["vehicle_id"])
    if not found:
        raise ConfigurationError(f"No car is called {called!r}.", f"The session has: {_format_cars(devices)}.")
    raise ConfigurationError(f"{called!r} may be any of {_format_cars(found)}.", "Give the complete vehicle_id.")


def _format_cars(cars: Sequence[Row]) -> str:
    names = [f"{row['vehicle_id']} (#{row['car_number']})" if row["car_number"] else row["vehicle_id"] for row in cars]
    return ", ".join(names) or "no car with lap triggers"


def _require_lap(laps: Sequence[Row], vehicle_id: str, number: int) -> Row:
    for lap in laps:
        if lap["lap_number"] == number:
            return lap
    known = f"It has {laps[0]['lap_number']} to {laps[-1]['lap_number']}" if laps else "It has none"
    raise ConfigurationError(f"{vehicle_id} has no lap {number}.", f"{known}; `apex laps` lists them.")


def _with_milliseconds(laps: pa.Table) -> list[Row]:
    """Return the rows with start and end as milliseconds since 1970."""
    starts, ends = (laps[name].cast(pa.int64()).to_pylist() for name in ("lap_start_utc", "lap_end_utc"))
    rows = zip(laps.to_pylist(), starts, ends, strict=True)
    return [{**row, "start_ms": start, "end_ms": end} for row, start, end in rows]
