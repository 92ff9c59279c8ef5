"""Reads scripted recordings, and compares what was read with the truth."""

import io
from collections.abc import Iterable

from apex_pipeline.demo.race_packets import recording
from apex_pipeline.demo.race_script import LapTruth, Script
from apex_pipeline.sources.ams2.recording import Recording, read_recording
from apex_pipeline.tables.model import Row


def read(datagrams: Iterable[bytes], container: str = "zlib") -> Recording:
    """Return what is read of datagrams."""
    return read_blob(recording(datagrams, container))


def read_blob(blob: bytes) -> Recording:
    """Return what is read of a compressed recording."""
    return read_recording(io.BytesIO(blob))


def whole_laps(result: Recording) -> list[Row]:
    """Return the laps with a time."""
    return [row for row in result.laps.to_pylist() if row["lap_time_s"] is not None]


def misread_laps(script: Script, result: Recording, tolerance_s: float) -> list[tuple[object, object]]:
    """Return every whole lap that was read wrongly, with the truth; all of them if their number differs."""
    true = [lap for lap in script.laps if lap.lap_time_s is not None]
    found = whole_laps(result)
    if len(true) != len(found):
        return [(true, found)]
    return [(lap, row) for lap, row in zip(true, found, strict=True) if not _is_right(lap, row, tolerance_s)]


def _is_right(lap: LapTruth, row: Row, tolerance_s: float) -> bool:
    same = (lap.session, lap.lap, lap.kind, lap.is_valid)
    found = (row["session_index"], row["lap_number"], row["kind"], row["is_valid"])
    return same == found and abs(row["lap_time_s"] - (lap.lap_time_s or 0)) <= tolerance_s
