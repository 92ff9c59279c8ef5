"""What a conversion tells about itself: counts that must add up, cars with their clocks, channels, rejects."""

from dataclasses import asdict, dataclass
from typing import Any

from apex_pipeline.sources.base import Reject

# Rejects told one by one per file; all are counted. A file of 20 million bad rows must not fill the memory.
REPORTED_REJECTS = 1_000


@dataclass(frozen=True)
class TelemetryFileCounts:
    """Readings in and what became of each.

    Attributes:
        readings_in: Readings in the raw files, counted without the engine that converts them: data lines, or list
            elements where a line holds a list.
        cells_out: Channel cells that are not null.
        exact_duplicates: Readings equal in car, channel, value, both times and lap to another one, which is kept.
        rejected: Readings that cannot be used.
        rows_out: Rows of the wide table.
        repeat_rows: Rows that exist because one car time carries several readings of a channel.
        cars: Cars.
    """

    readings_in: int
    cells_out: int
    exact_duplicates: int
    rejected: int
    rows_out: int
    repeat_rows: int
    cars: int

    @property
    def reconciles(self) -> bool:
        """What went in is what came out plus what was counted as left out."""
        return self.cells_out + self.exact_duplicates + self.rejected == self.readings_in


@dataclass(frozen=True)
class CarClock:
    """How a car's clock was repaired.

    Attributes:
        vehicle_id: The car.
        offset_s: Seconds to add to the car's time: the median of receive time minus car time.
        spread_s: Width of the middle 90 % of that difference.
        is_frozen: The clock stood still; sample times are receive times.
    """

    vehicle_id: str
    offset_s: float
    spread_s: float
    is_frozen: bool

    @property
    def method(self) -> str:
        """``received`` or ``offset``."""
        return "received" if self.is_frozen else "offset"


@dataclass(frozen=True)
class CarStats:
    """What one car's readings are like.

    Attributes:
        clock: The car and how its clock was repaired.
        readings: Usable readings, exact duplicates included.
        exact_duplicates: Those equal in everything to another one, which is kept.
        repeat_rows: Rows beyond the first of one sample time.
        backward_steps: Steps along the sample times at which the receive time falls by more than any late delivery
            explains; ``None`` for a frozen clock, whose sample times are the receive times.
        gaps: Holes of more than 2 s between samples.
        longest_gap_s: The longest of them.
        first_sample_ms: First sample, milliseconds UTC.
        last_sample_ms: Last sample, milliseconds UTC.
        channels: Channel columns with at least one reading.
    """

    clock: CarClock
    readings: int
    exact_duplicates: int
    repeat_rows: int
    backward_steps: int | None
    gaps: int
    longest_gap_s: float | None
    first_sample_ms: int
    last_sample_ms: int
    channels: tuple[str, ...]


@dataclass(frozen=True)
class TelemetryReport:
    """Everything a conversion tells.

    Attributes:
        counts: Readings in and out.
        rejects: The first ``REPORTED_REJECTS`` of each file, in file order.
        rejects_by_reason: All rejects, counted.
        cars: What each car's readings are like, its clock included.
        unknown_channels: Raw channels that no description is known for, kept under their own name.
        unreadable_laps: Readings whose lap is no lap; they are kept, their ``unit_lap`` is null.
    """

    counts: TelemetryFileCounts
    rejects: tuple[Reject, ...]
    rejects_by_reason: dict[str, int]
    cars: tuple[CarStats, ...]
    unknown_channels: tuple[str, ...]
    unreadable_laps: int

    def facts(self) -> dict[str, Any]:
        """Return the counts as flat figures for a materialization."""
        return {
            **asdict(self.counts),
            "rejected_by_reason": self.rejects_by_reason,
            "unreadable_laps": self.unreadable_laps,
            "frozen_clocks": ", ".join(clock.vehicle_id for clock in self.clocks if clock.is_frozen) or "none",
            "unknown_channels": ", ".join(self.unknown_channels) or "none",
        }

    @property
    def clocks(self) -> tuple[CarClock, ...]:
        """How each car's clock was repaired."""
        return tuple(car.clock for car in self.cars)
