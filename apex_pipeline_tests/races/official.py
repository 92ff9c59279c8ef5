"""Prints official timing of a race, right or of the wrong race, zone or clock; see ``drive.py`` for the laps driven."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from apex_pipeline.tables import OFFICIAL_LAPS
from apex_pipeline.tables.model import Row
from apex_pipeline_tests.races.drive import Driven, TrueLap, drive
from apex_pipeline_tests.races.plan import Kind

ZONE = "America/Chicago"
# The official clock is 0.2 to 0.45 s behind the units; at one track 7.3 s, and it drifts by 3 s within a race.
_BEHIND_S, _FAR_BEHIND_S, _DRIFT_S = (0.2, 0.45), (7.0, 8.0), 2.0
_TWO_MINUTES_S = 120.0
_SECTORS = (0.28, 0.43)
_OTHER_RACE = 1_000_000


def official_rows(driven: Driven) -> list[Row]:
    """Return the rows of official timing of a race, by car number and lap, like the files."""
    plan = driven.plan
    rng = np.random.default_rng([plan.seed, 5])
    laps: Sequence[TrueLap] = driven.official
    behind_s, drift_s = float(rng.uniform(*_BEHIND_S)), 0.0
    if plan.kind is Kind.CLEAN and rng.random() < 0.5:
        behind_s, drift_s = float(rng.uniform(*_FAR_BEHIND_S)), _DRIFT_S
    if plan.kind is Kind.WRONG_RACE:
        laps = _other_race(driven)
    if plan.kind is Kind.WRONG_ZONE:
        behind_s -= 3600.0 * float(rng.choice([-7, -5, -1, 1, 3, 5, 9]))
    if plan.kind is Kind.TWO_MINUTES:
        behind_s += float(rng.choice([-1, 1])) * _TWO_MINUTES_S
    length_ms = driven.flag_ms - min((lap.begin_ms for lap in laps), default=0.0) + 1
    finish_ms = _finish_ms(laps)
    rows: list[Row] = []
    elapsed_s: dict[str, float] = {}
    for lap in sorted(laps, key=lambda lap: (lap.car, lap.number)):
        elapsed_s[lap.car] = elapsed_s.get(lap.car, 0.0) + lap.official_s
        share = 1 - (driven.flag_ms - lap.end_ms) / length_ms
        at = datetime.fromtimestamp(lap.end_ms / 1000 - behind_s - share * drift_s, UTC).astimezone(ZoneInfo(ZONE))
        rows.append(_row(lap, elapsed_s[lap.car], at, is_last=lap.end_ms >= finish_ms, line=len(rows) + 2))
    return rows


def official_table(driven: Driven) -> pa.Table | None:
    """Return official timing of a race as derived from its files; ``None`` if it is hidden."""
    return OFFICIAL_LAPS.from_rows(official_rows(driven)) if driven.plan.has_official else None


def _finish_ms(laps: Sequence[TrueLap]) -> float:
    """Return when the chequered flag fell: the leader ended its last lap."""
    most = max((lap.number for lap in laps), default=0)
    return min((lap.end_ms for lap in laps if lap.number == most), default=0.0)


def _other_race(driven: Driven) -> list[TrueLap]:
    """Return the laps of another race of the same cars, begun at another time of day."""
    other = drive(replace(driven.plan, seed=driven.plan.seed + _OTHER_RACE, kind=Kind.CLEAN))
    cars = sorted({lap.car for lap in driven.official})
    others = sorted({lap.car for lap in other.official})
    names = dict(zip(others, cars, strict=False))
    shift_ms = 1000 * int(np.random.default_rng([driven.plan.seed, 6]).integers(-3600, 3600))
    return [
        replace(lap, car=names[lap.car], begin_ms=lap.begin_ms + shift_ms, end_ms=lap.end_ms + shift_ms)
        for lap in other.official
        if lap.car in names
    ]


def _row(lap: TrueLap, elapsed_s: float, at: datetime, *, is_last: bool, line: int) -> Row:
    at += timedelta(microseconds=500)
    s1, s2 = (round(share * lap.official_s, 3) for share in _SECTORS)
    return {
        "track": "spa",
        "session": "R1",
        "car_number": lap.car,
        "entry": 1,
        "lap_number": lap.number,
        "lap_time_s": round(lap.official_s, 3),
        "elapsed_s": round(elapsed_s, 3),
        "crossing_local_time": at.time().replace(microsecond=at.microsecond // 1000 * 1000),
        "s1_s": s1,
        "s2_s": s2,
        "s3_s": round(lap.official_s - s1 - s2, 3),
        "is_finish_in_pit": lap.is_in_pit,
        "flag_at_finish": "FF" if is_last else "GF",
        "source_file": "spa/23_AnalysisEnduranceWithSections_Race 1.CSV",
        "source_row": line,
    }
