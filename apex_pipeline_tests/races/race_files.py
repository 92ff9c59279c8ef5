"""Writes a race as the real CSV files of one track, for the whole way from the folder to the tables."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.sources.gr_cup.laps.triggers import LOST_LAP, Trigger
from apex_pipeline_tests.races.drive import Driven
from apex_pipeline_tests.races.official import official_rows
from apex_pipeline_tests.races.plan import Watch
from apex_pipeline_tests.races.sections_file import cells_of, text_of
from apex_pipeline_tests.races.units import Report

TRACK, SESSION = "road_america", "R1"
_FOLDER = Path("road-america/Road America/Race 1")
_NAMES = {
    FileKind.LAP_START: "road_america_lap_start_R1.csv",
    FileKind.LAP_END: "road_america_lap_end_R1.csv",
    FileKind.LAP_TIME: "road_america_lap_time_R1.csv",
}
_SECTIONS = "23_AnalysisEnduranceWithSections_Race 1_Anonymized.CSV"
_HEADER = "expire_at,lap,meta_event,meta_session,meta_source,meta_time,outing,timestamp,value,vehicle_id"


def write_race(root: Path, driven: Driven, sent: Report) -> None:
    """Write the lap files of a race below a folder, and official timing if it is visible."""
    folder = root / _FOLDER
    folder.mkdir(parents=True)
    for kind, name in _NAMES.items():
        rows = (trigger for trigger in sent.triggers if trigger.kind is kind)
        (folder / name).write_bytes(_lap_file(rows, driven.plan.watch))
    if driven.plan.has_official:
        (folder / _SECTIONS).write_bytes(text_of(cells_of(official_rows(driven))).encode())


def _lap_file(triggers: Iterable[Trigger], watch: Watch) -> bytes:
    lines = [_HEADER, *(_line(trigger, watch) for trigger in triggers)]
    return ("\r\n".join(lines) + "\r\n").encode()


def _line(trigger: Trigger, watch: Watch) -> str:
    lap = LOST_LAP if trigger.unit_lap is None else trigger.unit_lap
    received, stamp = _utc(trigger.received_utc_ms), _utc(trigger.trigger_utc_ms)
    value = stamp
    if trigger.kind is FileKind.LAP_TIME:
        value = "" if watch is Watch.NONE else str(trigger.unit_value_ms or 0)
    cells: Sequence[str] = (
        *("", str(lap), "I_R05_2025-09-07", SESSION, "kafka:gr-raw", received, "0", stamp, value),
        trigger.vehicle_id,
    )
    return ",".join(cells)


def _utc(ms: int) -> str:
    at = datetime.fromtimestamp(ms // 1000, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"
