"""A passing of the finish line as telemetry shows it: what finding them gives and lap truth takes.

Here belongs the value only. Finding passings is ``telemetry/line_passings.py``, using them ``laps/witnesses.py``.
"""

from dataclasses import dataclass
from typing import Literal

Source = Literal["distance", "gps"]


@dataclass(frozen=True)
class TelemetryCrossing:
    """A car passed the finish line.

    Attributes:
        vehicle_id: The car.
        utc_ms: When, UTC milliseconds: the car's clock repaired, or the receive time where that stood still.
        car_ms: When by the car's own clock, between two samples: differences are lap times. ``None`` where the clock
            stood still.
        source: What showed it: the lap distance that began anew, or the position alone.
        file: Raw file of the car's samples, the first if there are several.
    """

    vehicle_id: str
    utc_ms: int
    car_ms: float | None
    source: Source
    file: str


__all__ = ["Source", "TelemetryCrossing"]
