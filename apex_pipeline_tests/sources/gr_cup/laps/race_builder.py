"""Builds a synthetic race for the tests in this folder: cars, their crossings and matching official timing."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.sources.gr_cup.laps.crossings import TelemetryCrossing
from apex_pipeline.sources.gr_cup.laps.derivation import SessionLaps, derive_laps
from apex_pipeline.sources.gr_cup.laps.triggers import Trigger
from apex_pipeline.tables import CARS, LAPS, OFFICIAL_LAPS

ZONE = "America/Chicago"
GREEN = datetime(2025, 9, 6, 18, 42, tzinfo=UTC)
_KINDS = (FileKind.LAP_END, FileKind.LAP_TIME, FileKind.LAP_START)


@dataclass
class RaceCar:
    """A car of the race.

    Attributes:
        unit: Vehicle id of its device.
        number: Its real number, as official timing prints it.
        crossings_s: Seconds after the green flag at which it crosses the line: first the start, then each lap's end.
        official: Number of laps official timing lists; -1 for all.
    """

    unit: str
    number: str
    crossings_s: list[float]
    official: int = field(default=-1)

    def triggers(self, *, with_lap_timer: bool = True) -> list[Trigger]:
        """Return the triggers its device sends: up to three rows per crossing."""
        triggers: list[Trigger] = []
        for lap, second in enumerate(self.crossings_s):
            timer_s = second - self.crossings_s[lap - 1] if with_lap_timer and lap else None
            triggers += crossing_rows(self.unit, second, lap, timer_s)
        return triggers

    def official_rows(
        self, *, behind_s: float = 0.0, entry: int = 1, printed: str | None = None
    ) -> list[dict[str, object]]:
        """Return its official laps, timed by a clock that is ``behind_s`` seconds slow."""
        ends_s = self.crossings_s[1:]
        rows: list[dict[str, object]] = []
        before_s = 0.0
        for number, end_s in enumerate(ends_s[: self.official if self.official >= 0 else None], start=1):
            at = (GREEN + timedelta(seconds=end_s - behind_s)).astimezone(ZoneInfo(ZONE))
            rows.append(
                {
                    "track": "spa",
                    "session": "R1",
                    "car_number": printed or self.number,
                    "entry": entry,
                    "lap_number": number,
                    "lap_time_s": round(end_s - before_s, 3),
                    "crossing_local_time": at.time().replace(microsecond=at.microsecond // 1000 * 1000),
                    "is_finish_in_pit": False,
                    "flag_at_finish": "FF" if number == len(ends_s) else "GF",
                    "source_file": "spa/23.CSV",
                    "source_row": 2,
                }
            )
            before_s = end_s
        return rows


def crossing_rows(unit: str, second: float, lap: int, timer_s: float | None) -> list[Trigger]:
    """Return the rows of the crossing that ends lap ``lap`` and starts the next one."""
    at_ms = round(GREEN.timestamp() * 1000 + second * 1000)
    return [
        Trigger(
            vehicle_id=unit,
            trigger_utc_ms=at_ms,
            kind=kind,
            unit_lap=lap + (kind is FileKind.LAP_START),
            received_utc_ms=at_ms + 1_200,
            unit_value_ms=round(timer_s * 1000) if timer_s is not None and kind is FileKind.LAP_TIME else None,
            file=f"spa/R1_spa_{kind}.csv",
            line=2 + lap,
        )
        for kind in _KINDS
        if kind is not FileKind.LAP_TIME or timer_s is not None
    ]


def race(cars: int = 6, laps: int = 10, seed: int = 1) -> list[RaceCar]:
    """Return the cars of a race: 1.7 s apart at the start, with laps of 97 to 101 s."""
    rng = np.random.default_rng(seed)
    field_of_cars: list[RaceCar] = []
    for place in range(cars):
        lap_times_s = np.round(98 + 0.3 * place + rng.normal(0, 0.3, laps).clip(-0.8, 0.8), 3)
        start_s = 1.0 + 1.7 * place
        crossings = [start_s, *(start_s + np.cumsum(lap_times_s)).round(3).tolist()]
        field_of_cars.append(RaceCar(f"GR86-{100 + place}-{10 + place}", f"{10 + place}", crossings))
    return field_of_cars


def triggers_of(cars: Sequence[RaceCar], *, with_lap_timer: bool = True) -> list[Trigger]:
    """Return the triggers of all cars."""
    return [trigger for car in cars for trigger in car.triggers(with_lap_timer=with_lap_timer)]


def official_table(cars: Sequence[RaceCar], *, behind_s: float = 0.0) -> pa.Table:
    """Return official timing of all cars, sorted by number as text, like the real files."""
    rows = [row for car in sorted(cars, key=lambda car: car.number) for row in car.official_rows(behind_s=behind_s)]
    return OFFICIAL_LAPS.from_rows([{**row, "source_row": line} for line, row in enumerate(rows, start=2)])


def derive(
    triggers: Sequence[Trigger],
    official: pa.Table | None = None,
    zone: str | None = ZONE,
    telemetry_crossings: Sequence[TelemetryCrossing] = (),
) -> SessionLaps:
    """Derive the laps of a session, and check the tables against their schemas."""
    derived = derive_laps("spa", "R1", triggers, official, zone, telemetry_crossings)
    assert (LAPS.violations(derived.laps), CARS.violations(derived.cars)) == ([], [])
    return derived
