"""Contains the options of a synthetic weekend and the field size that follows; see faults.py for the faults."""

import math
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from apex_pipeline.errors import ConfigurationError

FULL_RATE_HZ = 23.0  # fast channels of the real cars
SLOW_RATE_HZ = 4.6  # speed, engine speed and lap distance of the real cars
SESSIONS = 4  # 2 tracks x 2 races
_FEWEST_CARS = 6  # each track has six cars that carry a fault
_FEWEST_LAPS = 8  # the faults are in laps 3 to 6, and a truncated export loses two more
_SMALL_FIELD_UP_TO = 200_000_000
_FULL_FIELD = 20
# About 100 s per lap and 18 kB/s of telemetry per car at the full rate: the track with fewer channels sends 20.
_BYTES_PER_LAP = 100 * 18_000


@dataclass(frozen=True)
class WeekendOptions:
    """Size and content of a synthetic weekend.

    Attributes:
        seed: The same seed and options give the same bytes (on one machine with one version of numpy).
        cars: Cars per race, at least 6; ``None`` selects 6 for small weekends and 20 for large ones.
        laps: Laps the winner drives, at least 8; ``None`` selects as many as the size needs.
        target_bytes: Size of the whole weekend, met within 15 % by choosing the telemetry's sample rate (up to 23 Hz).
        inject_faults: Inject the faults of ``faults.py``; if false, every file is clean (for benchmarks). In JSON the
            key is ``plant_faults``, as in weekends written by earlier versions.

    Raises:
        ConfigurationError: Fewer cars or laps than the faults need, or a negative seed.
    """

    seed: int = 7
    cars: int | None = None
    laps: int | None = None
    target_bytes: int = 6_000_000
    inject_faults: Annotated[bool, Field(alias="plant_faults")] = True

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ConfigurationError(f"seed {self.seed} is negative.", "Choose 0 or more.")
        if self.cars is not None and self.cars < _FEWEST_CARS:
            raise ConfigurationError(f"{self.cars} cars are too few.", f"Choose {_FEWEST_CARS} or more.")
        if self.laps is not None and self.laps < _FEWEST_LAPS:
            raise ConfigurationError(f"{self.laps} laps are too few.", f"Choose {_FEWEST_LAPS} or more.")

    @property
    def car_count(self) -> int:
        """Cars per race."""
        if self.cars is not None:
            return self.cars
        return _FEWEST_CARS if self.target_bytes <= _SMALL_FIELD_UP_TO else _FULL_FIELD

    @property
    def lap_count(self) -> int:
        """Laps the winner of each race drives."""
        if self.laps is not None:
            return self.laps
        return max(_FEWEST_LAPS, math.ceil(self.target_bytes / (SESSIONS * self.car_count * _BYTES_PER_LAP)))
