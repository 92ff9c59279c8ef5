"""Generates a weekend in a folder, with the sample rate that gives the requested size."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from apex_pipeline.demo.faults import FaultKind, InjectedFault, InjectedReject
from apex_pipeline.demo.ground_truth import GroundTruth, SessionTruth, WrittenFile, session_truth
from apex_pipeline.demo.lap_files import LapFiles, make_lap_files
from apex_pipeline.demo.official_files import official_faults, official_files
from apex_pipeline.demo.options import FULL_RATE_HZ, SLOW_RATE_HZ, WeekendOptions, ground_truth_path
from apex_pipeline.demo.simulation import Race, car_faults, make_race
from apex_pipeline.demo.telemetry_files import SampleRates, TelemetryWriter, frame_bytes, telemetry_seconds
from apex_pipeline.demo.tracks import TRACKS, FileName
from apex_pipeline.errors import ConfigurationError
from apex_pipeline.version import package_version

Progress = Callable[[int], None]

_DEFAULT = WeekendOptions()
_SLOWEST_RATE_HZ = 1 / 60
# Rate of the cars with the best laps, and how much of the size they may take: the other cars need some, too.
PLOT_RATE_HZ = 10.0
_MOST_FOR_BEST = 0.75
# The content starts like the real file types, so that it is not mistaken for CSV.
_JUNK = {".DS_Store": b"\x00\x00\x00\x01Bud1\x00\x00\x10\x00", ".pdf": b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n%%EOF\n"}


def make_weekend(folder: Path, options: WeekendOptions = _DEFAULT, progress: Progress | None = None) -> GroundTruth:
    """Generate a weekend of 2 tracks with 2 races each, completely or not at all.

    A folder that already contains the same weekend, by file names and sizes, is left unchanged; another generated
    weekend is replaced.

    Args:
        folder: Target folder; created if missing. The ground truth goes to :func:`ground_truth_path` next to it.
        options: Seed and size.
        progress: Called after each write with the number of bytes written.

    Returns:
        The ground truth.

    Raises:
        ConfigurationError: The folder contains other files, or the size cannot be met with these cars and laps.
    """
    folder = folder.absolute()
    existing = _check_folder(folder)
    if existing and existing.options == options and existing.version == package_version():
        return existing
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        truth = _write_weekend(unfinished, options, progress or _ignore)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    truth_path = ground_truth_path(folder)
    truth_path.with_suffix(".tmp").write_text(truth.to_json(), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    truth_path.with_suffix(".tmp").replace(truth_path)
    unfinished.rename(folder)
    return truth


def _ignore(_written: int) -> None:
    """Ignore progress."""


def _check_folder(folder: Path) -> GroundTruth | None:
    """Check that the folder may be replaced, and return the ground truth if it contains a complete weekend."""
    if folder.exists() and not folder.is_dir():
        raise ConfigurationError(f"{folder} is a file.", "Choose a new or empty folder for the weekend.")
    found = {file.path: file.size for file in _list_files(folder)}
    truth = _read_ground_truth(ground_truth_path(folder))
    expected = {file.path: file.size for file in truth.files} if truth else {}
    unexpected = sorted(set(found) - set(expected))
    if unexpected:
        raise ConfigurationError(
            f"{folder} contains files that are not part of a synthetic weekend, such as {unexpected[0]}.",
            "Choose a new or empty folder for the weekend.",
        )
    return truth if found == expected else None


def _list_files(folder: Path) -> tuple[WrittenFile, ...]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return tuple(WrittenFile(path.relative_to(folder).as_posix(), path.stat().st_size) for path in files)


def _read_ground_truth(path: Path) -> GroundTruth | None:
    try:
        return GroundTruth.from_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # missing, or written by a version with another format
        return None


def _write_weekend(root: Path, options: WeekendOptions, progress: Progress) -> GroundTruth:
    races = [make_race(track, number, options) for track in TRACKS for number in (1, 2)]
    lap_files = [_write_small_files(root, race, options.seed, progress) for race in races]
    used = sum(file.size for file in _list_files(root))
    rates = _sample_rates(races, options, used)
    sessions: list[SessionTruth] = []
    faults: list[InjectedFault] = []
    rejects: list[InjectedReject] = []
    for race, laps in zip(races, lap_files, strict=True):
        telemetry = TelemetryWriter(race, rates, options.seed)
        telemetry.write(root / race.track.path("telemetry", race.number), progress)
        sessions.append(session_truth(race, telemetry.truth))
        rejects += [*laps.rejects, *telemetry.rejects]
        faults += [*laps.faults, *car_faults(race), *telemetry.faults(), *official_faults(race), *_file_faults(race)]
    return GroundTruth(
        version=package_version(),
        options=options,
        sample_rate_hz=rates.others_hz,
        sessions=tuple(sessions),
        faults=tuple(faults),
        rejects=tuple(sorted(rejects, key=lambda reject: (reject.file, reject.line))),
        files=_list_files(root),
    )


def _write_small_files(root: Path, race: Race, seed: int, progress: Progress) -> LapFiles:
    """Write everything except telemetry, and return the lap files."""
    track, number, plan = race.track, race.number, race.plan
    lap_files = make_lap_files(race, seed)
    contents: dict[FileName, bytes] = {**lap_files.contents, **official_files(race, seed)}
    if plan.has_wrong_lap_time:
        contents["lap_time"] = (root / track.path("lap_time", 1)).read_bytes()
    if plan.empty_file:
        contents[plan.empty_file] = b""
    if plan.has_junk:
        contents["junk"] = next(junk for end, junk in _JUNK.items() if track.path("junk", number).endswith(end))
    for name, content in contents.items():
        path = root / track.path(name, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        progress(len(content))
    return lap_files


def _file_faults(race: Race) -> Iterator[InjectedFault]:
    plan = race.plan
    if plan.short_row_in:
        detail = "One row is cut short; the sheet's rejects have its line."
        yield race.fault(FaultKind.MALFORMED_ROW, plan.short_row_in, detail)
    if plan.empty_file:
        yield race.fault(FaultKind.EMPTY_FILE, plan.empty_file, "The file has 0 bytes.")
    if plan.has_wrong_lap_time:
        detail = "The file is a byte for byte copy of race 1's: its rows say R1 and the day before."
        yield race.fault(FaultKind.WRONG_RACE_FILE, "lap_time", detail)
    if plan.has_junk:
        yield race.fault(FaultKind.JUNK_FILE, "junk", "No race data.")


def _sample_rates(races: list[Race], options: WeekendOptions, used: int) -> SampleRates:
    """Return the rates of the fast channels at which telemetry fills the rest of the requested size.

    Up to 4.6 Hz every frame has all channels; above that, the slow ones stay at 4.6 Hz. Where the size allows it, the
    cars that drive the best laps send 10 Hz, so that the first plot looks like a lap.
    """
    wanted = options.target_bytes - used
    costs = [(telemetry_seconds(race), frame_bytes(race)) for race in races]
    best = [sum(seconds[0] * per_frame[kind] for seconds, per_frame in costs) for kind in (0, 1)]
    others = [sum(seconds[1] * per_frame[kind] for seconds, per_frame in costs) for kind in (0, 1)]
    rate_hz = _filling_rate(wanted, best[0] + others[0], best[1] + others[1])
    of_best = PLOT_RATE_HZ * best[0] + SLOW_RATE_HZ * best[1]
    if rate_hz < PLOT_RATE_HZ and of_best <= wanted * _MOST_FOR_BEST:
        return SampleRates(PLOT_RATE_HZ, _filling_rate(wanted - of_best, *others))
    if _SLOWEST_RATE_HZ <= rate_hz <= FULL_RATE_HZ:
        return SampleRates(rate_hz, rate_hz)
    fast, slow = best[0] + others[0], best[1] + others[1]
    field = f"{options.car_count} cars and {options.lap_count} laps"
    if rate_hz > FULL_RATE_HZ:
        most = used + FULL_RATE_HZ * fast + SLOW_RATE_HZ * slow
        raise ConfigurationError(
            f"target_bytes {options.target_bytes:,} needs more telemetry than {field} produce at {FULL_RATE_HZ:g} Hz.",
            f"Choose more cars or laps, or at most {most:,.0f} bytes.",
        )
    least = used + _SLOWEST_RATE_HZ * (fast + slow)
    raise ConfigurationError(
        f"target_bytes {options.target_bytes:,} is too small for {field}.",
        f"Choose fewer cars or laps, or at least {least:,.0f} bytes.",
    )


def _filling_rate(wanted: float, fast: float, slow: float) -> float:
    """Return the rate at which frames fill a size.

    Args:
        wanted: Size in bytes.
        fast: Bytes of the fast channels in a second, at 1 Hz.
        slow: Bytes of the slow channels in a second, at 1 Hz.
    """
    rate_hz = wanted / (fast + slow)
    return (wanted - SLOW_RATE_HZ * slow) / fast if rate_hz > SLOW_RATE_HZ else rate_hz
