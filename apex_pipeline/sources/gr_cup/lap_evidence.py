"""Finds the raw rows behind a GR Cup lap: its crossings and its row of official timing.

A lap names the message that ended it (``source_file``, ``source_row``), which identifies its end crossing; subtracting
``trigger_lap_time_s`` from the timestamp leads to the previous crossing. Only what the derivation recorded is used.
"""

from collections.abc import Sequence
from typing import Literal

from apex_pipeline.errors import ApexError
from apex_pipeline.sources.base import FileIdentity
from apex_pipeline.sources.gr_cup.kinds import LAP_KINDS, FileKind
from apex_pipeline.sources.gr_cup.laps.crossings import Crossing, find_crossings
from apex_pipeline.sources.gr_cup.laps.lap import Flag
from apex_pipeline.sources.gr_cup.laps.triggers import Trigger, read_triggers
from apex_pipeline.sources.gr_cup.vehicle_spellings import find_spellings, with_published_ids
from apex_pipeline.sources.limits import BYTES_PER_TRIGGER, RowBudget
from apex_pipeline.sources.lineage import Evidence, RawRows
from apex_pipeline.sources.unreadable import is_unreadable
from apex_pipeline.tables.model import Row


def find_lap_evidence(
    lap: Row,
    laps: Sequence[Row],
    cars: Sequence[Row],
    official_laps: Sequence[Row],
    files: Sequence[FileIdentity],
    raw: RawRows,
) -> list[Evidence]:
    """Return the evidence for a lap: its start, crossings in between, its end, and official timing.

    Args:
        lap: Its row of ``laps``, with start and end also given as ``start_ms`` and ``end_ms``.
        laps: All laps of its car, in the same form.
        cars: Rows of ``cars``.
        official_laps: Rows of ``official_laps``.
        files: The session's files in use.
        raw: Access to the rows of these files.

    Raises:
        ObjectMissingError: A lap file is no longer in the lake.
        StoreCorruptionError: A lap file is not the one the tables are from.
    """
    triggers = [item for file in files if file.kind in LAP_KINDS for item in _triggers_of(file, raw)]
    triggers = with_published_ids(triggers, find_spellings(triggers))
    ends = _Ends(laps, find_crossings(triggers).get(lap["vehicle_id"], []))
    return [*_own_evidence(lap, ends, raw), *_official_evidence(lap, cars, official_laps, raw)]


def _triggers_of(file: FileIdentity, raw: RawRows) -> list[Trigger]:
    """Return the triggers of a lap file; none if it cannot be read, because then the derivation left it out, too."""
    try:
        with raw.open(file.path) as stream:
            return read_triggers(stream, file, RowBudget(raw.limits, bytes_per_row=BYTES_PER_TRIGGER))[0]
    except ApexError as error:
        if not is_unreadable(error):
            raise
        return []


class _Ends:
    """Finds the crossings at both ends of one car's laps, as recorded by the derivation."""

    def __init__(self, laps: Sequence[Row], crossings: Sequence[Crossing]) -> None:
        self.crossings = crossings
        self._by_message = {(item.file, item.line): crossing for crossing in crossings for item in crossing.triggers}
        self._by_time = {crossing.utc_ms: crossing for crossing in crossings}
        self._ending_at = {lap["end_ms"]: lap for lap in laps if lap["end_ms"] is not None}

    def before(self, lap: Row) -> Row | None:
        """Return the lap that ends at the start of this one."""
        return self._ending_at.get(lap["start_ms"])

    def end_of(self, lap: Row) -> Crossing | None:
        """Return the crossing of the message that the lap names, unless that crossing starts the lap."""
        named = self._by_message.get((lap["source_file"], lap["source_row"]))
        return None if named is None or named.utc_ms == lap["start_ms"] else named

    def start_of(self, lap: Row) -> Crossing | None:
        """Return the crossing that starts a lap: by its trigger lap time, or else the end of the previous lap."""
        end = self.end_of(lap)
        if end is not None and lap["trigger_lap_time_s"] is not None:
            return self._by_time.get(end.utc_ms - round(lap["trigger_lap_time_s"] * 1000))
        before = self.before(lap)
        return (self.end_of(before) if before else None) or self._by_time.get(lap["start_ms"])


def _own_evidence(lap: Row, ends: _Ends, raw: RawRows) -> list[Evidence]:
    """Return the evidence from the car's own data: start, crossings in between, end."""
    start, end, before = ends.start_of(lap), ends.end_of(lap), ends.before(lap)
    start_ms = start.utc_ms if start else lap["start_ms"]
    end_ms = end.utc_ms if end else lap["end_ms"]
    between = [
        Evidence("between", _stamped_ms(crossing), None, "Not counted as a crossing.", raw.rows(_locations(crossing)))
        for crossing in ends.crossings
        if start_ms is not None and end_ms is not None and start_ms < crossing.utc_ms < end_ms
    ]
    return [
        _at_line("begin", start, lap, before, raw),
        *between,
        _at_line("end", end, lap, lap, raw),
    ]


def _at_line(
    role: Literal["begin", "end"], crossing: Crossing | None, lap: Row, ending: Row | None, raw: RawRows
) -> Evidence:
    """Return the evidence for the crossing at one end of a lap.

    Args:
        role: Which end of the lap.
        crossing: The crossing, if a lap file has it.
        lap: The lap.
        ending: The lap that ends with this crossing, if any; its source may be telemetry.
        raw: The raw files.
    """
    used_ms = lap["start_ms"] if role == "begin" else lap["end_ms"]
    if crossing is not None:
        note = _note(crossing, used_ms, lap["flags"])
        return Evidence(role, _stamped_ms(crossing), used_ms, note, raw.rows(_locations(crossing)))
    if ending is not None and raw.kind_of(ending["source_file"]) == FileKind.TELEMETRY:
        return Evidence(role, None, used_ms, "Only telemetry shows it.", (raw.whole(ending["source_file"]),))
    reason = " It is outside the period they cover." if Flag.TRUNCATED_EXPORT in lap["flags"] else ""
    return Evidence(role, None, used_ms, f"No lap file has it.{reason}", ())


def _stamped_ms(crossing: Crossing) -> int:
    return crossing.triggers[0].trigger_utc_ms


def _note(crossing: Crossing, used_ms: int | None, flags: Sequence[str]) -> str:
    """Explain any difference between the time used for the lap and the timestamp."""
    if used_ms is None or used_ms == _stamped_ms(crossing):
        return ""
    difference_s = (_stamped_ms(crossing) - used_ms) / 1000
    offset = f"Stamped {abs(difference_s):.3f} s {'late' if difference_s > 0 else 'early'}"
    if used_ms == crossing.utc_ms:
        return f"{offset}, as the rows of its bounce show."
    late = sorted({Flag.LATE_TRIGGER_PAIR, Flag.LATE_TRIGGER}.intersection(flags))
    return f"{offset} and repaired ({', '.join(late) or 'by official timing'})."


def _official_evidence(lap: Row, cars: Sequence[Row], official_laps: Sequence[Row], raw: RawRows) -> list[Evidence]:
    """Return the official timing row of a lap, if there is one."""
    entries = {
        (row["official_number"], row["official_entry"]) for row in cars if row["vehicle_id"] == lap["vehicle_id"]
    }
    return [
        Evidence("official", None, None, "", raw.rows([(row["source_file"], row["source_row"])]))
        for row in official_laps
        if (row["car_number"], row["entry"]) in entries and row["lap_number"] == lap["official_lap_number"]
    ]


def _locations(crossing: Crossing) -> list[tuple[str, int]]:
    return [(item.file, item.line) for item in crossing.triggers]
