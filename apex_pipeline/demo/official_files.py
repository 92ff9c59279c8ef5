"""Builds the anonymised official timing files and their classification; see simulation.py for lap times.

All files use semicolons, LF line endings and the extension ``.CSV``.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from apex_pipeline.demo.faults import FaultKind, InjectedFault
from apex_pipeline.demo.formatting import MINUTE_MS, minutes, mixed, seconds
from apex_pipeline.demo.simulation import CarRace, DrivenLap, Race
from apex_pipeline.demo.tracks import FileName

_PENALTY_MS = 10_000
_VEHICLE = "Toyota GR86"
_RESULTS = (
    "POSITION;NUMBER;STATUS;LAPS;TOTAL_TIME;GAP_FIRST;GAP_PREVIOUS;FL_LAPNUM;FL_TIME;FL_KPH;CLASS;GROUP;DIVISION;"
    "VEHICLE;TIRES;ECM Participant Id;ECM Team Id;ECM Category Id;ECM Car Id;ECM Brand Id;ECM Country Id;*Extra 7;"
    "*Extra 8;*Extra 9;Sort Key;DRIVER_*Extra 3;DRIVER_*Extra 4;DRIVER_*Extra 5"
)
_EMPTY_RESULT_COLUMNS = 14  # TIRES and the columns after it
_BY_CLASS = (
    "CLASS_TYPE;POS;PIC;NUMBER;VEHICLE;LAPS;ELAPSED;GAP_FIRST;GAP_PREVIOUS;BEST_LAP_NUM;BEST_LAP_TIME;BEST_LAP_KPH"
)
# The leading spaces are real: in every sections file, 14 column names have one.
_SECTIONS = (
    "NUMBER; DRIVER_NUMBER; LAP_NUMBER; LAP_TIME; LAP_IMPROVEMENT; CROSSING_FINISH_LINE_IN_PIT; S1; S1_IMPROVEMENT; S2;"
    " S2_IMPROVEMENT; S3; S3_IMPROVEMENT; KPH; ELAPSED; HOUR;S1_LARGE;S2_LARGE;S3_LARGE;TOP_SPEED;PIT_TIME;CLASS;GROUP;"
    "MANUFACTURER;FLAG_AT_FL;S1_SECONDS;S2_SECONDS;S3_SECONDS;IM1a_time;IM1a_elapsed;IM1_time;IM1_elapsed;IM2a_time;"
    "IM2a_elapsed;IM2_time;IM2_elapsed;IM3a_time;IM3a_elapsed;FL_time;FL_elapsed"
)
_WEATHER = "TIME_UTC_SECONDS;TIME_UTC_STR;AIR_TEMP;TRACK_TEMP;HUMIDITY;PRESSURE;WIND_SPEED;WIND_DIRECTION;RAIN"
_BEST_LAPS_SHOWN = 10
_WEATHER_EVERY_S = 62
_HALF_SECTOR_SHARE = 0.6  # share of a sector before its intermediate point


@dataclass(frozen=True)
class _Classification:
    """One car's line in the results; ``place`` includes cars that did not start."""

    place: int
    entry: CarRace
    total_ms: int

    @property
    def laps(self) -> int:
        return len(self.entry.race_laps)


def official_files(race: Race, seed: int) -> dict[FileName, bytes]:
    """Return the content of every official file of a race."""
    provisional = _classify(race, penalised=None)
    final = _classify(race, penalised=race.plan.penalised_chassis)
    return {
        "provisional_results": _csv(_RESULTS, _results(race, provisional)),
        "official_results": _csv(_RESULTS, _results(race, final)),
        "provisional_by_class": _csv(_BY_CLASS, _by_class(race, provisional)),
        "official_by_class": _csv(_BY_CLASS, _by_class(race, final)),
        "sections": _csv(_SECTIONS, _sections(race)),
        "weather": _csv(_WEATHER, _weather(race, seed)),
        "best_laps": _csv(_best_laps_header(), _best_laps(race)),
    }


def _csv(header: str, rows: Iterable[list[str]]) -> bytes:
    return "".join(line + "\n" for line in (header, *(";".join(row) for row in rows))).encode()


def _classify(race: Race, penalised: str | None) -> list[_Classification]:
    """Return the classification: most laps first, then the shortest time; cars that did not start come last."""
    results = [
        _Classification(0, entry, _elapsed(entry) + (_PENALTY_MS if entry.car.chassis == penalised else 0))
        for entry in race.entries
    ]
    results.sort(key=lambda line: (-line.laps, line.total_ms))
    return [replace(line, place=place) for place, line in enumerate(results, start=1)]


def _elapsed(entry: CarRace) -> int:
    return sum(lap.official_ms for lap in entry.race_laps)


def _results(race: Race, results: list[_Classification]) -> Iterator[list[str]]:
    for line, first, previous in _gaps(results, leader="-", one_lap="1 Lap"):
        has_started = line.laps > 0
        yield [
            str(line.place),
            line.entry.car.printed_number,
            "Classified" if has_started else "Not started",
            str(line.laps),
            minutes(line.total_ms) if has_started else "",
            first,
            previous,
            *_fastest(race, line.entry),
            *("Am", "", "GR Cup", _VEHICLE),
            *[""] * _EMPTY_RESULT_COLUMNS,
        ]


def _by_class(race: Race, results: list[_Classification]) -> Iterator[list[str]]:
    for line, first, previous in _gaps(results, leader="", one_lap="1 Laps"):
        place = str(line.place)
        elapsed = minutes(line.total_ms) if line.laps else ""
        yield [
            *("Am", place, place, line.entry.car.printed_number, _VEHICLE),
            *(str(line.laps), elapsed, first, previous),
            *_fastest(race, line.entry),
        ]


def _gaps(results: list[_Classification], leader: str, one_lap: str) -> Iterable[tuple[_Classification, str, str]]:
    """Yield the line of every car with its gaps to the first and to the previous car."""
    for place, line in enumerate(results):
        if place == 0:
            yield line, leader, leader
        elif line.laps == 0:
            yield line, "", ""
        else:
            yield (
                line,
                _gap(results[0], line, one_lap),
                _gap(results[place - 1], line, one_lap),
            )


def _gap(ahead: _Classification, behind: _Classification, one_lap: str) -> str:
    laps = ahead.laps - behind.laps
    if laps:
        return one_lap if laps == 1 else f"{laps} Laps"
    gap_ms = behind.total_ms - ahead.total_ms
    return f"+{minutes(gap_ms)}" if gap_ms >= MINUTE_MS else f"+{gap_ms / 1000:.3f}"


def _fastest(race: Race, entry: CarRace) -> list[str]:
    """Return number, time and average speed of a car's fastest lap."""
    laps = entry.race_laps
    if not laps:
        return ["0", "", ""]
    best = min(laps, key=lambda lap: lap.official_ms)
    return [str(best.number), minutes(best.official_ms), _kph(race, best)]


def _kph(race: Race, lap: DrivenLap) -> str:
    return f"{race.track.length_m / lap.official_ms * 3600:.1f}"


def _sections(race: Race) -> Iterator[list[str]]:
    """Yield a row per car and lap, cars sorted by their true number as text: 03 and 3 become two blocks of ``3``."""
    _, race_best = race.best()
    for entry in sorted(race.entries, key=lambda entry: entry.car.number):
        elapsed_ms, car_best_ms = 0, min((lap.official_ms for lap in entry.race_laps), default=0)
        for lap in entry.race_laps:
            elapsed_ms += lap.official_ms
            rank = "3" if lap == race_best else "2" if lap.official_ms == car_best_ms else "0"
            yield _section_row(race, entry, lap, elapsed_ms, rank)


def _section_row(race: Race, entry: CarRace, lap: DrivenLap, elapsed_ms: int, rank: str) -> list[str]:
    hour = race.track.local_time(lap.end_ms - race.official_behind_ms(lap.end_ms)).strftime("%H:%M:%S.%f")[:-3]
    sectors = lap.sectors_ms
    return [
        *(entry.car.printed_number, "1", str(lap.number), minutes(lap.official_ms), rank, "B" if lap.is_in_pit else ""),
        *(text for sector in sectors for text in (mixed(sector), "0")),
        *(_kph(race, lap), minutes(elapsed_ms), hour),
        *(minutes(sector) for sector in sectors),
        # The speed trap is at the fastest point: about 1.42 times the average speed on both tracks.
        f"{race.track.length_m / lap.official_ms * 3600 * 1.42:.1f}",
        f"0:{lap.pit_ms // 60_000:02}:{lap.pit_ms % 60_000 / 1000:06.3f}" if lap.pit_ms else "",
        *("Am", "", "Toyota Gazoo Racing", lap.flag),
        *(seconds(sector) for sector in sectors),
        *_points(sectors),
    ]


def _points(sectors: tuple[int, int, int]) -> Iterable[str]:
    """Yield time and elapsed time of the six points of a lap, two per sector."""
    elapsed_ms = 0
    for sector in sectors:
        first_ms = int(sector * _HALF_SECTOR_SHARE)
        for part_ms in (first_ms, sector - first_ms):
            elapsed_ms += part_ms
            yield from (mixed(part_ms), mixed(elapsed_ms))


def _weather(race: Race, seed: int) -> Iterator[list[str]]:
    """Yield about one reading per minute from the green flag to the chequered flag."""
    rng = np.random.default_rng([seed, race.track.index, race.number, 3])
    for instant in range(race.green_ms // 1000 + 20, race.flag_ms // 1000, _WEATHER_EVERY_S):
        utc = datetime.fromtimestamp(instant, UTC)
        track_c = race.track.track_temperature_c
        yield [
            str(instant),
            f"{utc.month}/{utc.day}/{utc.year} {utc.hour % 12 or 12}:{utc:%M:%S %p}",
            f"{rng.uniform(28.5, 29.5):.2f}",
            f"{track_c + rng.uniform(-0.5, 0.5):.1f}" if track_c else "0",
            f"{rng.uniform(48, 52):.2f}",
            f"{rng.uniform(992, 993):.1f}",
            f"{rng.uniform(1, 15):.2f}",
            str(rng.integers(0, 360)),
            "0",
        ]


def _best_laps_header() -> str:
    shown = range(1, _BEST_LAPS_SHOWN + 1)
    names = [name for place in shown for name in (f"BESTLAP_{place}", f"BESTLAP_{place}_LAPNUM")]
    return ";".join(["NUMBER", "VEHICLE", "CLASS", "TOTAL_DRIVER_LAPS", *names, "AVERAGE"])


def _best_laps(race: Race) -> Iterator[list[str]]:
    """Yield a row per car that started, with its ten best laps; missing laps are empty with lap number 0."""
    for entry in sorted(race.entries, key=lambda entry: entry.car.number):
        if not entry.race_laps:
            continue
        best = sorted(entry.race_laps, key=lambda lap: lap.official_ms)[:_BEST_LAPS_SHOWN]
        cells = [text for lap in best for text in (minutes(lap.official_ms), str(lap.number))]
        cells += ["", "0"] * (_BEST_LAPS_SHOWN - len(best))
        average_ms = round(sum(lap.official_ms for lap in best) / len(best))
        total = str(len(entry.race_laps))
        yield [entry.car.printed_number, _VEHICLE, "Am", total, *cells, minutes(average_ms)]


def official_faults(race: Race) -> Iterator[InjectedFault]:
    """Yield the incidents and faults in the official files."""
    plan = race.plan
    if plan.yellow_lap:
        detail = "The whole field drives this lap under full-course yellow."
        yield race.fault(FaultKind.FULL_COURSE_YELLOW, "sections", detail, lap=plan.yellow_lap)
    if plan.pit_lap:
        detail = "The lap ends in the pits, the next one begins there."
        yield race.fault(FaultKind.PIT_LAP, "sections", detail, *plan.pit_lap)
    if plan.long_lap:
        chassis, number = plan.long_lap
        duration_ms = next(lap.official_ms for lap in race.entry(chassis).laps if lap.number == number)
        detail = f"The lap really takes {minutes(duration_ms)}."
        yield race.fault(FaultKind.LONG_LAP, "sections", detail, chassis, number)
    if plan.penalised_chassis:
        detail = f"Official results add {_PENALTY_MS / 1000:g} s to the provisional ones."
        yield race.fault(FaultKind.PENALTY, "official_results", detail, plan.penalised_chassis)
    if plan.is_official_clock_behind:
        at_green, at_flag = race.official_clock_behind_s
        detail = f"HOUR is {at_green:g} s behind true UTC at the green flag and {at_flag:g} s at the chequered one."
        yield race.fault(FaultKind.OFFICIAL_CLOCK_BEHIND, "sections", detail)
