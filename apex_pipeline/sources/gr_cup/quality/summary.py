"""Writes the session note: a few plain sentences to read before using a session.

Each sentence is included only if it applies; the note of a session without problems has only counts.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from itertools import pairwise
from statistics import median

from apex_pipeline.tables.model import Row

# Maximum names listed, to keep the note readable; the rest are only counted.
_MAX_NAMES = 6


def counted(number: int, noun: str) -> str:
    """Return ``1 lap``, ``2 laps``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def listed(names: Iterable[str]) -> str:
    """Return the first six names and the number of the rest: ``a, b, c, d, e, f and 3 more``."""
    found = list(names)
    more = f" and {len(found) - _MAX_NAMES} more" if len(found) > _MAX_NAMES else ""
    return ", ".join(found[:_MAX_NAMES]) + more


def by_number(car_number: str) -> tuple[int, str]:
    """Return the sort key of a car number: 03 and 3 come before 12, anything that is not a number comes last."""
    return (int(car_number) if car_number.isdecimal() else 10**9, car_number)


def minutes(seconds: float) -> str:
    """Return ``2 min 26 s``, ``40 s``."""
    whole, rest = divmod(round(seconds), 60)
    return f"{whole} min {rest} s" if whole else f"{rest} s"


# Below this the official clock is as accurate as the triggers, which are up to half a second late.
_MIN_CLOCK_ERROR_S = 1.0
# Zone offsets are multiples of a quarter hour, so the remainder of a difference is the clock error.
_QUARTER_HOUR_S = 900


@dataclass(frozen=True)
class SessionTables:
    """Rows of the published tables of one session, and what the note reports about its files.

    ``unreadable`` has path and reason of each file that could not be read, ``columns`` a sentence per column that has
    lost precision, and ``remarks`` those on the cells of the other files.
    """

    laps: Sequence[Row]
    cars: Sequence[Row]
    official_laps: Sequence[Row]
    results: Sequence[Row]
    telemetry_cars: Sequence[Row]
    unreadable: Sequence[tuple[str, str]] = ()
    columns: Sequence[str] = ()
    remarks: Sequence[str] = ()


def session_summary(tables: SessionTables) -> str:
    """Return the note of a session, one paragraph of two to eight sentences, more if files could not be read."""
    sentences = [
        *_unreadable(tables.unreadable),
        *_remarks(tables.remarks),
        *_who(tables),
        *_laps(tables.laps),
        *_doubts(tables.laps),
        *_export(tables.laps),
        *_clocks(tables.telemetry_cars),
        *_identities(tables.cars),
        *_official_witness(tables),
        *_official_clock(tables),
        *_absent(tables),
    ]
    return " ".join(sentences)


def _unreadable(files: Sequence[tuple[str, str]]) -> Iterator[str]:
    for path, reason in files[:_MAX_NAMES]:
        yield f"Nothing is from {path}, which {reason}"
    if len(files) > _MAX_NAMES:
        yield f"{counted(len(files) - _MAX_NAMES, 'more file')} could not be read."


def _remarks(remarks: Sequence[str]) -> Iterator[str]:
    yield from remarks[:_MAX_NAMES]
    if len(remarks) > _MAX_NAMES:
        yield f"{counted(len(remarks) - _MAX_NAMES, 'more remark')} on files: see the rejects."


def _who(tables: SessionTables) -> Iterator[str]:
    units = {car["vehicle_id"] for car in (*tables.cars, *tables.laps) if car["vehicle_id"] is not None}
    others = [car["car_number"] for car in tables.cars if car["vehicle_id"] is None and car["has_started"]]
    sent = {car["vehicle_id"] for car in tables.telemetry_cars}
    telemetry = f"{len(sent)} with telemetry" if sent else "none with telemetry"
    # An undecided car may be one of these, so the note does not count them as additional cars.
    unmatched = f"; official cars matched with none of them: {listed(sorted(others, key=by_number))}" if others else ""
    yield f"{counted(len(units), 'car')} with lap triggers, {telemetry}{unmatched}."
    if not tables.official_laps:
        yield "There is no official timing: car numbers are what the ids say, lap times are the cars' own."


def _laps(laps: Sequence[Row]) -> Iterator[str]:
    official = [lap for lap in laps if lap["official_lap_number"] is not None]
    seen = sum(lap["trigger_lap_time_s"] is not None for lap in official)
    if official:
        counts = f"{len(official)} of them official, {seen} of these timed by the car itself too"
        yield f"{counted(len(laps), 'lap')}, {counts}."
    elif laps:
        yield f"{counted(len(laps), 'lap')}."


def _doubts(laps: Sequence[Row]) -> Iterator[str]:
    flags = [set(lap["flags"]) for lap in laps]
    counts = {
        "with a crossing stamped late": sum(bool({"late_trigger", "late_trigger_pair"} & found) for found in flags),
        "with a crossing never sent": sum("missing_crossing" in found for found in flags),
        "of another day than the session (not valid)": sum("other_day" in found for found in flags),
    }
    parts = [f"{number} {problem}" for problem, number in counts.items() if number]
    if parts:
        yield f"Laps to look at: {', '.join(parts)}."


def _export(laps: Sequence[Row]) -> Iterator[str]:
    cut = [lap for lap in laps if "truncated_export" in lap["flags"]]
    own = [lap for lap in laps if lap["trigger_lap_time_s"] is not None and "other_day" not in lap["flags"]]
    ends = [lap["lap_end_utc"] for lap in own if lap["lap_end_utc"] is not None]
    after = [lap["lap_end_utc"] for lap in cut if lap["lap_end_utc"] is not None and ends]
    if not cut:
        return
    known = f"{counted(len(cut), 'lap')} of official timing {'is' if len(cut) == 1 else 'are'} not in it as a whole"
    if after and max(after) > max(ends):
        early = minutes((max(after) - max(ends)).total_seconds())
        yield f"The export ends {early} before the last official crossing of its cars: {known}."
    else:
        yield f"The export does not cover the whole race: {known}."


def _clocks(telemetry_cars: Sequence[Row]) -> Iterator[str]:
    frozen = sorted({car["vehicle_id"] for car in telemetry_cars if car["is_clock_frozen"]})
    stops = [(before, after) for before, after in pairwise(telemetry_cars) if _is_same_clock(before, after)]
    unexplained = {car["vehicle_id"]: car["unexplained_rows"] for car in telemetry_cars if car["unexplained_rows"]}
    if len(frozen) == 1:
        yield f"The clock of {frozen[0]} stood still; its sample times are receive times."
    elif frozen:
        yield f"The clocks of {listed(frozen)} stood still; their sample times are receive times."
    if stops:
        yield f"Clocks stopped or were set during the session: {listed(_stop(*stop) for stop in stops)}."
    if unexplained:
        found = listed(f"{counted(rows, 'row')} of {car}" for car, rows in unexplained.items())
        yield f"Clock and receive time do not explain within 2 s when these were sampled (time_flag): {found}."


def _is_same_clock(before: Row, after: Row) -> bool:
    return before["vehicle_id"] == after["vehicle_id"]


def _stop(before: Row, after: Row) -> str:
    behind_s = after["clock_offset_s"] - before["clock_offset_s"]
    side = "further behind" if behind_s > 0 else "less far behind"
    hole = ""
    if after["piece_start_utc"] is not None and before["piece_end_utc"] is not None:
        hole_s = (after["piece_start_utc"] - before["piece_end_utc"]).total_seconds()
        hole = f" after {minutes(hole_s)} without telemetry" if hole_s > 0 else ""
    return f"{after['vehicle_id']} by {abs(behind_s):.0f} s {side}{hole}"


def _identities(cars: Sequence[Row]) -> Iterator[str]:
    known = [car for car in cars if car["method"] == "official_crossings"]
    renamed = [car for car in known if (car["suffix"] or "").lstrip("0") != car["car_number"].lstrip("0")]
    swapped = [car for car in known if car not in renamed and car["suffix"] != car["car_number"]]
    listed_cars = [*renamed, *(car for car in swapped if _is_taken(car["suffix"], known))]
    names = [
        *(f"{car['vehicle_id']} could be {_either(car['candidates'])}" for car in cars if car["candidates"]),
        *(f"{car['vehicle_id']} is car {car['car_number']}" for car in listed_cars),
    ]
    if names:
        yield f"By their crossings {listed(names)}."


def _either(numbers: Sequence[str]) -> str:
    return " or ".join(sorted(numbers, key=by_number))


def _is_taken(number: str | None, known: Sequence[Row]) -> bool:
    return any(car["car_number"] == number for car in known)


def _official_witness(tables: SessionTables) -> Iterator[str]:
    """Say where official timing is not believed: as a whole, in single laps, and in columns that lost precision."""
    used = any(lap["official_lap_number"] is not None for lap in tables.laps)
    reasons = sorted({car["evidence"].partition(": the number")[0] for car in tables.cars if car["method"] == "suffix"})
    if tables.official_laps and tables.laps and not used and reasons:
        yield f"Official timing is not used: {reasons[0][:1].lower()}{reasons[0][1:]}."
    wrong = sum("official_disagrees" in lap["flags"] for lap in tables.laps)
    if wrong:
        yield (
            f"In {counted(wrong, 'lap')} the official lap time contradicts other witnesses (official_disagrees); "
            "lap_time_s is what most of them support."
        )
    yield from (f"{sentence}." for sentence in tables.columns)


def _official_clock(tables: SessionTables) -> Iterator[str]:
    local = {(lap["car_number"], lap["entry"], lap["lap_number"]): lap for lap in tables.official_laps}
    cars = {car["vehicle_id"]: car for car in tables.cars if car["vehicle_id"] is not None}
    late_s: list[float | None] = []
    for lap in tables.laps:
        car = cars.get(lap["vehicle_id"])
        key = (car["official_number"], car["official_entry"], lap["official_lap_number"]) if car else None
        if key in local and lap["trigger_lap_time_s"] is not None and lap["lap_end_utc"] is not None:
            late_s.append(_late_s(lap["lap_end_utc"], local[key]["crossing_local_time"]))
    parts = [*_behind([late for late in late_s if late is not None]), *_jumps(tables.laps)]
    if parts:
        yield f"The official clock {' and '.join(parts)}."


def _behind(late_s: Sequence[float]) -> Iterator[str]:
    if late_s and abs(median(late_s)) > _MIN_CLOCK_ERROR_S:
        side = "behind" if median(late_s) > 0 else "ahead of"
        yield f"runs {abs(median(late_s)):.1f} s {side} the cars' crossings"


def _jumps(laps: Sequence[Row]) -> Iterator[str]:
    jumping = sorted({lap["lap_number"] for lap in laps if "field_wide_jump" in lap["flags"]})
    if jumping:
        noun = "lap" if len(jumping) == 1 else "laps"
        where = f"{noun} {listed(map(str, jumping))}"
        yield f"moved against the crossings of the whole field in {where} (the two may measure at different lines)"


def _late_s(utc: datetime, local: time | None) -> float | None:
    """Return crossing minus official crossing, in seconds, with the zone's quarter hours removed."""
    if local is None:
        return None
    own_s = utc.hour * 3600 + utc.minute * 60 + utc.second + utc.microsecond / 1e6
    official_s = local.hour * 3600 + local.minute * 60 + local.second + local.microsecond / 1e6
    return (own_s - official_s + _QUARTER_HOUR_S / 2) % _QUARTER_HOUR_S - _QUARTER_HOUR_S / 2


def _absent(tables: SessionTables) -> Iterator[str]:
    absent = {row["car_number"] for row in tables.results if row["is_final"] and "not" in (row["status"] or "").lower()}
    idle = [car["vehicle_id"] for car in tables.cars if car["vehicle_id"] is not None and not car["has_started"]]
    parts = [
        *([f"did not start: {listed(sorted(absent, key=by_number))}"] if absent else []),
        *([f"crossed the line without racing: {listed(idle)}"] if idle else []),
    ]
    if parts:
        yield f"Cars that {'; '.join(parts)}."
