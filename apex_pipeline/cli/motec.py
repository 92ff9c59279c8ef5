"""Implements ``apex motec``: the telemetry of a car as a log for MoTeC i2; see export/motec for what is in it."""

import re
from pathlib import Path
from typing import Annotated, NamedTuple

import pyarrow as pa
import typer

from apex_pipeline.catalog.reader import Catalog, open_catalog
from apex_pipeline.catalog.selection import line_times
from apex_pipeline.catalog.session import RaceSession
from apex_pipeline.catalog.telemetry_reader import Selection
from apex_pipeline.cli.emit import emit, print_line
from apex_pipeline.cli.options import AsJson, AsOf, Lake, SessionArgument, TrackArgument
from apex_pipeline.cli.telemetry import best_lap_with_samples
from apex_pipeline.errors import ConfigurationError, ObjectMissingError
from apex_pipeline.export.motec.ld_file import LogDetails
from apex_pipeline.export.motec.log import LogSpan, MotecLog, motec_log, write_log
from apex_pipeline.tables import LAPS

# So much before and after the laps: i2 needs a beacon at both ends of a lap, and samples on both sides of a beacon. As
# much again is read, so that the first and the last value lie between two readings as well.
_MARGIN_MS = 1_000
_LAPS = re.compile(r"(-?\d+)(?:-(-?\d+))?")


class _LapLine(NamedTuple):
    """When a car crossed the line to begin and to end a lap, milliseconds since 1970 UTC."""

    number: int
    start_ms: int | None
    end_ms: int | None


class _Laps(NamedTuple):
    """The laps that are wanted, from the first to the last one."""

    first: int
    last: int
    notes: tuple[str, ...] = ()


def motec_command(
    track: TrackArgument,
    session: SessionArgument,
    car: Annotated[str, typer.Option("--car", help="Car number, with or without #, or vehicle_id.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE.ld", help="New file; FILE.ldx comes beside it.")],
    lap: Annotated[
        str | None,
        typer.Option(help="One lap (5), the best valid one (best), or a stint (5-12); by default the session."),
    ] = None,
    lake: Lake = None,
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """Write a lap, a stint or a whole session of a car as a MoTeC log, with its laps as beacons."""
    catalog = open_catalog(lake, as_of=as_of)
    race = catalog.session(track, session)
    vehicle_id = race.find_car(car)
    lines = _lap_lines(catalog, race, vehicle_id)
    wanted = _wanted(race, vehicle_id, lap)
    samples, span = _samples(race, vehicle_id, lines, wanted)
    what = _named(vehicle_id, wanted)
    log = motec_log(samples, _crossings(lines, wanted), span, f"{what} in {race.key}")
    write_log(log, _details(race, vehicle_id, what, span), out)
    notes = wanted.notes if wanted else ()
    facts = {
        "target": out,
        "vehicle_id": vehicle_id,
        "start_utc": span.start_utc,
        "duration_s": span.duration_s,
        "beacons": [beacon._asdict() for beacon in log.beacons],
        "channels": {channel.name: channel.rate_hz for channel in log.channels},
        "left_out": log.left_out,
        "notes": notes,
    }
    emit(facts, as_json=as_json, render=lambda: _print_log(out, what, log, notes))


def _wanted(race: RaceSession, vehicle_id: str, text: str | None) -> _Laps | None:
    """Return the laps that a text names; ``None`` for the whole session.

    Raises:
        ConfigurationError: The text names no laps, or the car has no such lap.
        ObjectMissingError: The best lap is asked for, and no valid one has samples.
    """
    if text is None:
        return None
    if text == "best":
        best = best_lap_with_samples(race.catalog, race.key, vehicle_id)
        return _Laps(best.lap_number, best.lap_number, best.notes)
    found = _LAPS.fullmatch(text)
    if found is None:
        raise ConfigurationError(f"--lap {text!r} names no lap.", "Write 5 for a lap, 5-12 for a stint, or best.")
    first, last = int(found[1]), int(found[2] or found[1])
    if first > last:
        raise ConfigurationError(f"--lap {text} ends before it begins.", f"Write {last}-{first}.")
    return _Laps(race.lap(car=vehicle_id, number=first).number, race.lap(car=vehicle_id, number=last).number)


def _lap_lines(catalog: Catalog, race: RaceSession, vehicle_id: str) -> list[_LapLine]:
    laps = catalog.table_arrow(LAPS.name, *race.key, car=vehicle_id)
    starts, ends = (column.cast(pa.int64()).to_pylist() for column in line_times(laps))
    return list(map(_LapLine, laps["lap_number"].to_pylist(), starts, ends))


def _crossings(lines: list[_LapLine], wanted: _Laps | None) -> list[tuple[int, str]]:
    """Return every crossing of the line, those of the wanted laps first: the next lap's begin may differ by some ms."""
    inner = [line for line in lines if wanted and wanted.first <= line.number <= wanted.last]
    ends = [(line.end_ms, f"Lap {line.number} ends") for line in [*inner, *lines]]
    starts = [(line.start_ms, f"Lap {line.number} begins") for line in lines]
    first = [(line.start_ms, f"Lap {line.number} begins") for line in inner if wanted and line.number == wanted.first]
    return [(at_ms, name) for at_ms, name in [*first, *ends, *starts] if at_ms is not None]


def _samples(
    race: RaceSession, vehicle_id: str, lines: list[_LapLine], wanted: _Laps | None
) -> tuple[pa.Table, LogSpan]:
    """Return the samples of a car in some laps, or all of them, and the time they are to cover.

    Raises:
        ConfigurationError: The begin or end of the laps is not known.
        ObjectMissingError: There are no samples.
    """
    reader = race.catalog.telemetry_reader
    if not reader.has_car(race.key, vehicle_id):
        raise _nothing(f"{vehicle_id} sent no telemetry in {race.key}.", race)
    if wanted is None:
        samples = reader.read(race.key, Selection(vehicle_id=vehicle_id))
        times = samples["sample_time_utc"].cast(pa.int64())
        return samples, LogSpan(times[0].as_py(), times[-1].as_py())
    laps = _span_of(vehicle_id, lines, wanted)
    span = LogSpan(laps.start_ms - _MARGIN_MS, laps.end_ms + _MARGIN_MS)
    read = LogSpan(span.start_ms - _MARGIN_MS, span.end_ms + _MARGIN_MS)
    samples = reader.read(
        race.key, Selection(vehicle_id=vehicle_id, start_utc=read.start_utc, end_utc=read.after_end_utc)
    )
    times = samples["sample_time_utc"].cast(pa.int64()).to_numpy()
    if not ((times >= laps.start_ms) & (times < laps.end_ms)).any():
        raise _nothing(f"{_named(vehicle_id, wanted)}: nothing was sent in {race.key}.", race)
    return samples, span


def _span_of(vehicle_id: str, lines: list[_LapLine], wanted: _Laps) -> LogSpan:
    by_number = {line.number: line for line in lines}
    start_ms, end_ms = by_number[wanted.first].start_ms, by_number[wanted.last].end_ms
    if start_ms is None or end_ms is None or start_ms >= end_ms:
        raise ConfigurationError(
            f"The begin or the end of {_named(vehicle_id, wanted)} is not known.",
            "Choose laps that have lap_start_utc and lap_end_utc in `apex laps`.",
        )
    return LogSpan(start_ms, end_ms)


def _nothing(problem: str, race: RaceSession) -> ObjectMissingError:
    track, session = race.key
    return ObjectMissingError(
        problem, f"`apex table telemetry_cars {track} {session}` lists the cars that sent some, and when."
    )


def _named(vehicle_id: str, wanted: _Laps | None) -> str:
    if wanted is None:
        return f"{vehicle_id}, all laps"
    first, last, _ = wanted
    return f"{vehicle_id}, lap {first}" if first == last else f"{vehicle_id}, laps {first} to {last}"


def _details(race: RaceSession, vehicle_id: str, what: str, span: LogSpan) -> LogDetails:
    return LogDetails(
        start_utc=span.start_utc,
        event=f"{race.track} {span.start_utc:%Y}",
        session=race.name,
        venue=race.track,
        vehicle=vehicle_id,
        comment=f"{what}. Times are UTC.",
    )


def _print_log(target: Path, what: str, log: MotecLog, notes: tuple[str, ...]) -> None:
    print_line(f"{what}: {log.span.duration_s:,.1f} s from {log.span.start_utc:%Y-%m-%dT%H:%M:%S}Z")
    for channel in log.channels:
        print_line(f"  {channel.name}: {channel.rate_hz} Hz, {channel.count:,} samples")
    if log.left_out:
        print_line(f"Without any reading, so not in the log: {', '.join(log.left_out)}.")
    if not log.beacons:
        print_line("The car never crossed the line in it, so i2 shows no laps.")
    for note in notes:
        print_line(note)
    print_line(f"{target}: {target.stat().st_size / 1e6:,.2f} MB; {target}x: {len(log.beacons)} beacons")
