"""Making a synthetic race weekend: one call, a folder of race files, and the answers beside it.

Here belong the folder, the order of work and the sample rate that meets the wanted size. Not here: any file's content.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from apex_pipeline import __version__
from apex_pipeline.demo.answers import AnswerSheet, PlantedFault, PlantedReject, SessionAnswer, WrittenFile
from apex_pipeline.demo.lap_files import LapFile, Triggers, lap_file_bytes, make_triggers
from apex_pipeline.demo.official_files import official_files
from apex_pipeline.demo.options import FULL_RATE_HZ, SLOW_RATE_HZ, WeekendOptions
from apex_pipeline.demo.telemetry_files import frame_bytes, telemetry_seconds, write_telemetry
from apex_pipeline.demo.tracks import TRACKS
from apex_pipeline.demo.truth import planted_faults, session_answer
from apex_pipeline.demo.world import Race, make_race
from apex_pipeline.errors import ConfigurationError

Progress = Callable[[int], None]

DEFAULT = WeekendOptions()
_LAP_FILES: tuple[LapFile, ...] = ("lap_start", "lap_end", "lap_time")
_SLOWEST_RATE_HZ = 1 / 60
# Starts like what it claims to be, so that readers by content see no CSV.
_JUNK = {".DS_Store": b"\x00\x00\x00\x01Bud1\x00\x00\x10\x00", ".pdf": b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n%%EOF\n"}


@dataclass(frozen=True)
class _Made:
    """A race with its triggers, between writing its small files and its telemetry."""

    race: Race
    triggers: Triggers


def answers_path(folder: Path) -> Path:
    """Return where the answer sheet of a weekend lies: beside its folder, so that it is no part of the data."""
    return folder.with_name(f"{folder.name}.answers.json")


def make_weekend(folder: Path, options: WeekendOptions = DEFAULT, progress: Progress | None = None) -> AnswerSheet:
    """Make a weekend of 2 tracks and 2 races each, whole or not at all.

    A folder that already holds the same weekend, by names and sizes, is left as it is; one that holds another weekend
    of ours is replaced.

    Args:
        folder: Where to; made if missing. The answer sheet goes to :func:`answers_path` beside it.
        options: Seed and size.
        progress: Told about bytes as they are written.

    Returns:
        The answer sheet.

    Raises:
        ConfigurationError: The folder holds other files, or the size cannot be met with these cars and laps.
    """
    folder = folder.absolute()
    known = _claim(folder)
    if known and known.options == options and known.version == __version__:
        return known
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        sheet = _write_weekend(unfinished, options, progress or _silent)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    sheet_path = answers_path(folder)
    sheet_path.with_suffix(".tmp").write_text(sheet.to_json(), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    sheet_path.with_suffix(".tmp").replace(sheet_path)
    unfinished.rename(folder)
    return sheet


def _silent(_written: int) -> None:
    """Take no notice of progress."""


def _claim(folder: Path) -> AnswerSheet | None:
    """Make sure the folder may be written, and return the sheet of the complete weekend in it, if there is one."""
    if folder.exists() and not folder.is_dir():
        raise ConfigurationError(f"{folder} is a file.", "Name a new or empty folder for the weekend.")
    found = {path.relative_to(folder).as_posix(): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    sheet = _read_sheet(answers_path(folder))
    expected = {file.path: file.size for file in sheet.files} if sheet else {}
    foreign = sorted(set(found) - set(expected))
    if foreign:
        raise ConfigurationError(
            f"{folder} holds files that are not of a synthetic weekend, {foreign[0]} for one.",
            "Name a new or empty folder for the weekend.",
        )
    return sheet if found == expected else None


def _read_sheet(path: Path) -> AnswerSheet | None:
    try:
        return AnswerSheet.from_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # no sheet, or one of another version: nothing in the folder is known
        return None


def _write_weekend(root: Path, options: WeekendOptions, progress: Progress) -> AnswerSheet:
    rejects: list[PlantedReject] = []
    made: list[_Made] = []
    for track in TRACKS:
        for number in (1, 2):
            race = make_race(track, number, options)
            triggers = make_triggers(race, options.seed)
            rejects += _write_small_files(root, race, triggers, options.seed, progress)
            made.append(_Made(race, triggers))
    used = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    rate_hz = _sample_rate([one.race for one in made], options, used)
    sessions: list[SessionAnswer] = []
    faults: list[PlantedFault] = []
    for one in made:
        path = root / one.race.track.path("telemetry", one.race.number)
        counts = write_telemetry(path, one.race, rate_hz, options.seed, progress)
        sessions.append(session_answer(one.race, counts))
        faults += planted_faults(one.race, one.triggers, counts)
        rejects += counts.rejects
    return AnswerSheet(
        version=__version__,
        options=options,
        sample_rate_hz=rate_hz,
        sessions=tuple(sessions),
        faults=tuple(faults),
        rejects=tuple(sorted(rejects, key=lambda reject: (reject.file, reject.line))),
        files=_written_files(root),
    )


def _written_files(root: Path) -> tuple[WrittenFile, ...]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return tuple(WrittenFile(path.relative_to(root).as_posix(), path.stat().st_size) for path in files)


def _write_small_files(
    root: Path, race: Race, triggers: Triggers, seed: int, progress: Progress
) -> list[PlantedReject]:
    """Write everything but telemetry, and return the rows no reader can use."""
    track, number = race.track, race.number
    rejects: list[PlantedReject] = []
    contents: dict[str, bytes] = {}
    for file in _LAP_FILES:
        contents[track.path(file, number)], cut_line = lap_file_bytes(race, file, triggers)
        if cut_line:
            rejects.append(PlantedReject(track.path(file, number), cut_line, "too_few_columns"))
    for name, content in official_files(race, seed).items():
        contents[track.path(name, number)] = content
    if race.plan.has_wrong_lap_time:
        contents[track.path("lap_time", number)] = (root / track.path("lap_time", 1)).read_bytes()
    if race.plan.empty_file:
        contents[track.path(race.plan.empty_file, number)] = b""
    if race.plan.has_junk:
        contents[track.junk_path] = next(junk for end, junk in _JUNK.items() if track.junk_path.endswith(end))
    for relative, content in contents.items():
        path = root / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        progress(len(content))
    return rejects


def _sample_rate(races: list[Race], options: WeekendOptions, used: int) -> float:
    """Return the rate of the fast channels at which the telemetry fills what is left of the wanted size.

    Below 4.6 Hz every frame has all channels; above it the slow ones stay at 4.6 Hz.
    """
    wanted = options.target_bytes - used
    costs = [(telemetry_seconds(race), *frame_bytes(race)) for race in races]
    fast = sum(duration_s * fast_bytes for duration_s, fast_bytes, _ in costs)
    slow = sum(duration_s * slow_bytes for duration_s, _, slow_bytes in costs)
    rate_hz = wanted / (fast + slow)
    if rate_hz > SLOW_RATE_HZ:
        rate_hz = (wanted - SLOW_RATE_HZ * slow) / fast
    if _SLOWEST_RATE_HZ <= rate_hz <= FULL_RATE_HZ:
        return rate_hz
    field = f"{options.car_count} cars and {options.lap_count} laps"
    if rate_hz > FULL_RATE_HZ:
        most = used + FULL_RATE_HZ * fast + SLOW_RATE_HZ * slow
        raise ConfigurationError(
            f"target_bytes {options.target_bytes:,} needs more telemetry than {field} send at {FULL_RATE_HZ:g} Hz.",
            f"Choose more cars or laps, or at most {most:,.0f} bytes.",
        )
    least = used + _SLOWEST_RATE_HZ * (fast + slow)
    raise ConfigurationError(
        f"target_bytes {options.target_bytes:,} is too small for {field}.",
        f"Choose fewer cars or laps, or at least {least:,.0f} bytes.",
    )


__all__ = ["DEFAULT", "answers_path", "make_weekend"]
