"""Reads lap_start, lap_end and lap_time files row by row into typed triggers.

See ``crossings.py`` for grouping triggers into crossings.
"""

import re
from dataclasses import dataclass
from typing import BinaryIO

from apex_pipeline.errors import MalformedFileError
from apex_pipeline.sources.base import FileIdentity, Reject
from apex_pipeline.sources.cells import quoted
from apex_pipeline.sources.csv_reader import CsvRow, iter_rows
from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.sources.gr_cup.parsing import is_vehicle_id
from apex_pipeline.sources.limits import RowBudget
from apex_pipeline.sources.parsing import parse_integer, parse_utc_ms

# Lap number sent by a device that has lost count.
LOST_LAP = 32768

_REQUIRED = ("vehicle_id", "lap", "timestamp", "meta_time")
_RACE = re.compile(r"R(\d+)")


@dataclass(frozen=True, order=True)
class Trigger:
    """A message from a car's device about a crossing of the finish line.

    Attributes:
        vehicle_id: ``GR86-<chassis>-<car>``, as in the file.
        trigger_utc_ms: Time of the event, true UTC, milliseconds since 1970.
        kind: Kind of the file: lap_end and lap_time refer to the lap that ends, lap_start to the lap that starts.
        unit_lap: The device's lap counter; ``None`` if it had lost count.
        received_utc_ms: Time the message was received, UTC milliseconds since 1970.
        unit_value_ms: Milliseconds since the car's previous trigger by the device's lap timer; only in the lap_time
            files of some tracks (elsewhere the column is missing or repeats the timestamp).
        file: Path of the raw file.
        line: Line in that file.
    """

    vehicle_id: str
    trigger_utc_ms: int
    kind: FileKind
    unit_lap: int | None
    received_utc_ms: int
    unit_value_ms: int | None
    file: str
    line: int


def read_triggers(
    stream: BinaryIO, identity: FileIdentity, budget: RowBudget | None = None
) -> tuple[list[Trigger], list[Reject]]:
    """Read one lap file.

    Args:
        stream: The file, open in binary mode.
        identity: Identity of the file.
        budget: Limits on the file, and memory for its rows.

    Returns:
        The triggers and the rejected rows, both in file order; every data row is one or the other.

    Raises:
        MalformedFileError: The file is empty, binary, damaged, lacks a required column, or no row has a time in UTC.
        LimitExceededError: It exceeds a limit.
    """
    triggers: list[Trigger] = []
    rejects: list[Reject] = []
    for row in iter_rows(stream, identity.path, identity.kind, _REQUIRED, budget):
        read = _read(row, identity) if isinstance(row, CsvRow) else row
        if isinstance(read, Reject):
            rejects.append(read)
        else:
            triggers.append(read)
    if not triggers and rejects and all(reject.reason == "bad_time" for reject in rejects):
        raise MalformedFileError(
            f"{identity.path} has no time with a zone in {len(rejects):,} rows; the first is {rejects[0].detail}.",
            "Export the times in UTC, for example 2025-05-17T18:26:30.493Z.",
        )
    return triggers, rejects


def _read(row: CsvRow, identity: FileIdentity) -> Trigger | Reject:
    values = row.values
    trigger_ms, received_ms = parse_utc_ms(values["timestamp"]), parse_utc_ms(values["meta_time"])
    lap = parse_integer(values["lap"])
    if not is_vehicle_id(values["vehicle_id"]):
        return _reject(row, identity, "no_vehicle", "vehicle_id")
    if trigger_ms is None:
        return _reject(row, identity, "bad_time", "timestamp")
    if received_ms is None:
        return _reject(row, identity, "bad_time", "meta_time")
    if lap is None or lap < 0:
        return _reject(row, identity, "bad_lap", "lap")
    if is_wrong_session(values.get("meta_session", ""), identity.session):
        return _reject(row, identity, "wrong_session", "meta_session")
    return Trigger(
        vehicle_id=values["vehicle_id"],
        trigger_utc_ms=trigger_ms,
        kind=FileKind(identity.kind),
        unit_lap=None if lap == LOST_LAP else lap,
        received_utc_ms=received_ms,
        unit_value_ms=parse_integer(values.get("value", "")) if identity.kind == FileKind.LAP_TIME else None,
        file=identity.path,
        line=row.line,
    )


def is_wrong_session(inside: str, session: str | None) -> bool:
    """Return whether row and file name different races, such as R1 in a file of R2; other names are not compared."""
    found = _RACE.fullmatch(inside)
    expected = _RACE.fullmatch((session or "").rpartition("_")[2])
    return bool(found and expected and int(found[1]) != int(expected[1]))


def _reject(row: CsvRow, identity: FileIdentity, reason: str, column: str) -> Reject:
    return Reject(identity.path, row.line, identity.kind, reason, f"{column}={quoted(row.values[column])}")
