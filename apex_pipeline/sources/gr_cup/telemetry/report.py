"""Defines the report of a conversion: counts that must add up, cars with their clocks, channels and rejects."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from apex_pipeline.sources.base import Reject
from apex_pipeline.sources.gr_cup.telemetry.channel_names import shown_name
from apex_pipeline.sources.gr_cup.telemetry.channels import columns_of
from apex_pipeline.sources.gr_cup.telemetry.clock_pieces import ClockPiece, place, unexplained_ms
from apex_pipeline.sources.gr_cup.vehicle_spellings import Spellings
from apex_pipeline.sources.unreadable import UnreadableFile, warnings_of

Ints = npt.NDArray[np.int64]

# Rejects listed per file; all are counted. A file of 20 million bad rows must not fill the memory.
REPORTED_REJECTS = 1_000


@dataclass(frozen=True)
class TelemetryFileCounts:
    """Counts of the readings in, the cells and rows out, and the readings left out.

    Attributes:
        readings_in: Readings in the raw files, counted independently of the parser: data lines, or list elements if
            lines hold lists.
        cells_out: Channel cells that are not null.
        exact_duplicates: Readings equal in car, channel, value, both times and lap to another one, which is kept.
        rejected: Readings that cannot be used.
        rows_out: Rows of the table ``telemetry``.
        repeat_rows: Rows added because several readings of a channel have the same car time.
        cars: Number of cars.
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
        """Whether readings in equal cells out plus exact duplicates plus rejects."""
        return self.cells_out + self.exact_duplicates + self.rejected == self.readings_in


@dataclass(frozen=True)
class CarClock:
    """Clock correction of a car.

    Attributes:
        vehicle_id: Vehicle id of the car.
        pieces: Pieces of the clock in the order received, at least one; a frozen clock has one.
        is_frozen: The clock did not advance; sample times are receive times.
    """

    vehicle_id: str
    pieces: tuple[ClockPiece, ...]
    is_frozen: bool

    def pieces_of(self, car_ms: Ints, received_ms: Ints) -> Ints:
        """Return the piece of each frame, -1 for one that cannot be placed; 0 if the clock is frozen."""
        return np.zeros_like(car_ms) if self.is_frozen else place(self.pieces, car_ms, received_ms)

    def unexplained_ms(self, index: Ints, car_ms: Ints, received_ms: Ints) -> Ints:
        """Return by how much receive and sample time of frames with these pieces differ without an explanation."""
        return np.zeros_like(car_ms) if self.is_frozen else unexplained_ms(self.pieces, index, car_ms, received_ms)

    def sample_ms(self, car_ms: Ints, received_ms: Ints) -> Ints:
        """Return the sample times of frames, UTC: the receive time where the clock is of no use. Shape (frames,)."""
        if self.is_frozen:
            return received_ms
        index = self.pieces_of(car_ms, received_ms)
        offsets_ms = np.array([*(piece.offset_ms for piece in self.pieces), 0])
        return np.where(index < 0, received_ms, car_ms + offsets_ms[index])


@dataclass(frozen=True)
class CarStats:
    """Stats of one car's readings.

    Attributes:
        clock: The car's clock correction.
        readings: Usable readings, including exact duplicates.
        exact_duplicates: Readings equal in every field to another one, which is kept.
        repeat_rows: Rows beyond the first of a sample time.
        backward_steps: Steps between consecutive samples at which the receive time falls by more than late delivery
            explains; ``None`` for a frozen clock, whose sample times are the receive times.
        unexplained_rows: Rows whose time is not explained within 2 s.
        residual_ms: The largest unexplained difference of each piece of the clock.
        gaps: Gaps of more than 2 s between samples.
        short_gaps: Gaps of more than 0.5 s and at most 2 s.
        longest_gap_s: The longest gap of more than 2 s.
        holes: Gaps of more than 0.5 s one by one, the first ten thousand at most; see ``holes.py``.
        first_sample_ms: Time of the first sample, milliseconds UTC.
        last_sample_ms: Time of the last sample, milliseconds UTC.
        channels: Channel columns with at least one reading.
    """

    clock: CarClock
    readings: int
    exact_duplicates: int
    repeat_rows: int
    backward_steps: int | None
    unexplained_rows: int
    residual_ms: tuple[int, ...]
    gaps: int
    short_gaps: int
    longest_gap_s: float | None
    holes: pa.Table
    first_sample_ms: int
    last_sample_ms: int
    channels: tuple[str, ...]


@dataclass(frozen=True)
class TelemetryReport:
    """Report of a conversion.

    Attributes:
        counts: Readings in and out.
        rejects: The first ``REPORTED_REJECTS`` of each file, in file order; a file that was left out has one, which is
            not counted.
        rejects_by_reason: Number of all rejects by reason.
        cars: Stats of each car, including its clock correction.
        unknown_channels: Raw channels without a description; their names may be a person's, see ``channel_names.py``.
        unreadable_laps: Readings whose lap is not a valid number; they are kept, with ``unit_lap`` null.
        unreadable: Files that were left out; the counts do not include them.
        spellings: How the ids of the cars are written in the telemetry files.
    """

    counts: TelemetryFileCounts
    rejects: tuple[Reject, ...]
    rejects_by_reason: dict[str, int]
    cars: tuple[CarStats, ...]
    unknown_channels: tuple[str, ...]
    unreadable_laps: int
    unreadable: tuple[UnreadableFile, ...] = ()
    spellings: Spellings = field(default_factory=lambda: Spellings({}))

    def facts(self) -> dict[str, Any]:
        """Return the counts as flat metadata for a materialization."""
        return {
            **asdict(self.counts),
            "rejected_by_reason": self.rejects_by_reason,
            "unreadable_laps": self.unreadable_laps,
            "frozen_clocks": ", ".join(clock.vehicle_id for clock in self.clocks if clock.is_frozen) or "none",
            "unknown_channels": ", ".join(map(shown_name, self.unknown_channels)) or "none",
        }

    def warnings(self) -> tuple[str, ...]:
        """Return what an operator should check, a sentence each."""
        return (
            *warnings_of(self.unreadable),
            *(
                f"The channel {shown_name(channel)} is not known; its readings are in the column {column}."
                for channel, column in columns_of(self.unknown_channels).items()
            ),
            *(
                f"The times of {car.unexplained_rows:,} rows of {car.clock.vehicle_id} are not explained within 2 s."
                for car in self.cars
                if car.unexplained_rows
            ),
        )

    @property
    def clocks(self) -> tuple[CarClock, ...]:
        """Clock correction of each car."""
        return tuple(car.clock for car in self.cars)
