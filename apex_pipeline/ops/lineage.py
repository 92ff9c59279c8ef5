"""Contains the way from a published lap back to its raw rows: file, content, line and text.

A lap names the message that ended it (``source_file``, ``source_row``). The message belongs to a crossing, and the
difference of the timestamps (``trigger_lap_time_s``) leads to the crossing before. So nothing is inferred here that the
derivation did not record. See cli/trace.py for the output.
"""

import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from apex_pipeline.errors import ConfigurationError, StoreCorruptionError
from apex_pipeline.lake.catalog_tables import session_files
from apex_pipeline.lake.published import read_published, require_session, require_snapshot, session_table
from apex_pipeline.schemas import CARS, LAPS, OFFICIAL_LAPS
from apex_pipeline.session_key import SessionKey
from apex_pipeline.sources.base import FileIdentity
from apex_pipeline.sources.gr_cup.crossings import Crossing, find_crossings
from apex_pipeline.sources.gr_cup.kinds import LAP_KINDS, FileKind
from apex_pipeline.sources.gr_cup.laps.lap import Flag
from apex_pipeline.sources.gr_cup.packed import unpack
from apex_pipeline.sources.gr_cup.triggers import Trigger, read_triggers
from apex_pipeline.storage.contract import ObjectStore
from apex_pipeline.storage.layout import raw_key

Row = dict[str, Any]


@dataclass(frozen=True)
class RawRow:
    """One row of a raw file.

    Attributes:
        file: Path relative to ``data/`` in the lake.
        sha256: Digest of the file; ``None`` if the catalog has none.
        line: Line number, the header being line 1; ``None`` where the whole file is the source.
        text: The row as in the file, without its line end; ``None`` likewise.
    """

    file: str
    sha256: str | None
    line: int | None
    text: str | None


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
        lines = unpack(self._content(path), path).splitlines()
        return RawRow(path, self._sha256.get(path), line, _text(lines[line - 1]))

    def rows_of(self, triggers: Iterable[Trigger]) -> tuple[RawRow, ...]:
        """Return the rows that these triggers were read from."""
        return tuple(self.row(item.file, item.line) for item in triggers)

    def triggers(self, files: Sequence[FileIdentity]) -> list[Trigger]:
        """Return the triggers of these lap files.

        Raises:
            ObjectMissingError: A file is not in the lake.
            StoreCorruptionError: One is not the content the catalog lists.
            MalformedFileError: One lacks a column it cannot do without.
        """
        return [item for file in files for item in read_triggers(io.BytesIO(self._content(file.path)), file)[0]]

    def _content(self, path: str) -> bytes:
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
class Evidence:
    """The raw rows behind one event of a lap; the fields are keys of ``apex trace --json``.

    Attributes:
        tells: Role: the crossing that starts or ends the lap, an ignored one in between, or official timing.
        stamped_utc_ms: Timestamp of its first message, milliseconds since 1970; ``None`` without one.
        used_utc_ms: The time the lap uses; ``None`` for a crossing in between and for official timing.
        note: Remark; empty if there is none.
        rows: The raw rows, in chronological order.
    """

    tells: Literal["begin", "between", "end", "official"]
    stamped_utc_ms: int | None
    used_utc_ms: int | None
    note: str
    rows: tuple[RawRow, ...]


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
    raw = RawFiles(store, files)
    lap_files = [file for file in session_files(files, key) if file.kind in LAP_KINDS]
    ends = _Ends(laps, find_crossings(raw.triggers(lap_files)).get(unit, []))
    official_laps = session_table(store, session, OFFICIAL_LAPS).to_pylist()
    return LapTrace(lap, (*_own_evidence(lap, ends, raw), *_official_evidence(lap, cars, official_laps, raw)))


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


class _Ends:
    """Finds the crossings at both ends of one car's laps, as recorded by the derivation."""

    def __init__(self, laps: Sequence[Row], crossings: Sequence[Crossing]) -> None:
        self.crossings = crossings
        self._by_message = {(item.file, item.line): passing for passing in crossings for item in passing.triggers}
        self._by_time = {passing.utc_ms: passing for passing in crossings}
        self._ending_at = {lap["end_ms"]: lap for lap in laps if lap["end_ms"] is not None}

    def before(self, lap: Row) -> Row | None:
        """Return the lap that ends where this one starts."""
        return self._ending_at.get(lap["start_ms"])

    def end_of(self, lap: Row) -> Crossing | None:
        """Return the crossing that ends a lap: that of the message the lap names, unless it starts the lap."""
        named = self._by_message.get((lap["source_file"], lap["source_row"]))
        return None if named is None or named.utc_ms == lap["start_ms"] else named

    def begin_of(self, lap: Row) -> Crossing | None:
        """Return the crossing that starts a lap: by the difference of timestamps, else where the lap before ends."""
        end = self.end_of(lap)
        if end is not None and lap["trigger_lap_time_s"] is not None:
            return self._by_time.get(end.utc_ms - round(lap["trigger_lap_time_s"] * 1000))
        before = self.before(lap)
        return (self.end_of(before) if before else None) or self._by_time.get(lap["start_ms"])


def _own_evidence(lap: Row, ends: _Ends, raw: RawFiles) -> list[Evidence]:
    """Return the evidence in the car's own data: start, crossings in between, end."""
    begin, end, before = ends.begin_of(lap), ends.end_of(lap), ends.before(lap)
    begins_ms = begin.utc_ms if begin else lap["start_ms"]
    ends_ms = end.utc_ms if end else lap["end_ms"]
    between = [
        Evidence(
            "between", _stamped_ms(passing), None, "It counts as no crossing of its own.", raw.rows_of(passing.triggers)
        )
        for passing in ends.crossings
        if begins_ms is not None and ends_ms is not None and begins_ms < passing.utc_ms < ends_ms
    ]
    return [
        _at_line("begin", begin, lap, before, raw),
        *between,
        _at_line("end", end, lap, lap, raw),
    ]


def _at_line(
    tells: Literal["begin", "end"], crossing: Crossing | None, lap: Row, ending: Row | None, raw: RawFiles
) -> Evidence:
    """Return the evidence of the crossing at one end of a lap.

    Args:
        tells: Which end.
        crossing: The crossing, if a lap file has it.
        lap: The lap.
        ending: The lap that this crossing ends, if any: its source may be telemetry.
        raw: The raw files.
    """
    used_ms = lap["start_ms"] if tells == "begin" else lap["end_ms"]
    if crossing is not None:
        note = _note(crossing, used_ms, lap["flags"])
        return Evidence(tells, _stamped_ms(crossing), used_ms, note, raw.rows_of(crossing.triggers))
    if ending is not None and raw.kind_of(ending["source_file"]) == FileKind.TELEMETRY:
        return Evidence(tells, None, used_ms, "Only telemetry shows it.", (raw.whole(ending["source_file"]),))
    reason = " It lies outside the time they cover." if Flag.TRUNCATED_EXPORT in lap["flags"] else ""
    return Evidence(tells, None, used_ms, f"No lap file has it.{reason}", ())


def _stamped_ms(crossing: Crossing) -> int:
    return crossing.triggers[0].trigger_utc_ms


def _note(crossing: Crossing, used_ms: int | None, flags: Sequence[str]) -> str:
    """Return how the lap's time differs from the timestamp, and why."""
    if used_ms is None or used_ms == _stamped_ms(crossing):
        return ""
    difference_s = (_stamped_ms(crossing) - used_ms) / 1000
    moved = f"Stamped {abs(difference_s):.3f} s {'late' if difference_s > 0 else 'early'}"
    if used_ms == crossing.utc_ms:
        return f"{moved}, as the rows of its bounce show."
    late = sorted({Flag.LATE_TRIGGER_PAIR, Flag.LATE_TRIGGER}.intersection(flags))
    return f"{moved} and repaired ({', '.join(late) or 'by official timing'})."


def _official_evidence(lap: Row, cars: Sequence[Row], official_laps: Sequence[Row], raw: RawFiles) -> list[Evidence]:
    """Return the official row of a lap, if official timing lists it."""
    entries = {
        (row["official_number"], row["official_entry"]) for row in cars if row["vehicle_id"] == lap["vehicle_id"]
    }
    return [
        Evidence("official", None, None, "", (raw.row(row["source_file"], row["source_row"]),))
        for row in official_laps
        if (row["car_number"], row["entry"]) in entries and row["lap_number"] == lap["official_lap_number"]
    ]
