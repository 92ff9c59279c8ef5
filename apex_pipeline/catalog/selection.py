"""Resolves a car number, a lap or a time range to windows of a telemetry file; see telemetry_file.py for reading them.

Errors list the cars or laps that exist.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from apex_pipeline import arrow_compute as pc
from apex_pipeline.catalog.telemetry_file import Window
from apex_pipeline.errors import ConfigurationError
from apex_pipeline.lake.names import is_car_number, numbers_hint

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Start (inclusive) and end (exclusive) of a lap in milliseconds since 1970 UTC; ``None`` unless both are known.
_Span = tuple[int, int] | None


@dataclass(frozen=True)
class LapTimes:
    """Start and end of each lap of a session, by vehicle_id and lap_number."""

    spans: Mapping[str, Mapping[int, _Span]]

    def lap_span(self, vehicle_id: str, lap_number: int) -> tuple[int, int]:
        """Return start and end of a lap.

        Raises:
            ConfigurationError: The car has no such lap, or its UTC start or end is unknown.
        """
        laps = self.spans.get(vehicle_id, {})
        if lap_number not in laps:
            known = ", ".join(map(str, sorted(laps)))
            raise ConfigurationError(
                f"{vehicle_id} has no lap {lap_number}.", f"Its laps are: {known}." if known else "It has no laps."
            )
        span = laps[lap_number]
        if span is None:
            raise ConfigurationError(
                f"Lap {lap_number} of {vehicle_id} has no UTC start or end, so its samples cannot be located.",
                "Choose a lap that has lap_start_utc and lap_end_utc in `laps`, or give a time range.",
            )
        return span

    def lap_windows(self, lap_number: int) -> list[Window]:
        """Return one window for each car whose lap of this number has a UTC start and end.

        Raises:
            ConfigurationError: No car has this lap with a UTC start and end.
        """
        spans = {car: laps.get(lap_number) for car, laps in self.spans.items()}
        windows = [Window(car, *span) for car, span in sorted(spans.items()) if span is not None]
        if not windows:
            known = sorted({number for laps in self.spans.values() for number, span in laps.items() if span})
            raise ConfigurationError(
                f"No car has a lap {lap_number} with a UTC start and end.",
                f"The session has: {', '.join(map(str, known)) or 'none'}.",
            )
        return windows


def line_times(laps: pa.Table) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """Return start and end of each lap as the car itself crossed the line, or as ``laps`` has them without that."""
    starts, ends = laps["lap_start_utc"], laps["lap_end_utc"]
    if "line_start_utc" not in laps.schema.names:  # derived by an earlier version
        return starts, ends
    return pc.coalesce(laps["line_start_utc"], starts), pc.coalesce(laps["line_end_utc"], ends)


def lap_times(laps: pa.Table) -> LapTimes:
    """Return the start and end of all laps in a session's table ``laps``.

    Where two laps of a car overlap, the earlier one ends where the later one starts: each sample belongs to one lap, as
    in the column ``lap_number`` of the telemetry.
    """
    cars, numbers = (laps[name].to_pylist() for name in ("vehicle_id", "lap_number"))
    starts, ends = (column.cast(pa.int64()).to_pylist() for column in line_times(laps))
    spans: defaultdict[str, dict[int, _Span]] = defaultdict(dict)
    timed: defaultdict[str, list[tuple[int, int, int]]] = defaultdict(list)
    for car, number, start, end in zip(cars, numbers, starts, ends, strict=True):
        spans[car][number] = None
        if start is not None and end is not None:
            timed[car].append((number, start, end))
    for car, known in timed.items():
        in_order = sorted(known, key=lambda lap: lap[1])
        next_starts = [start for _, start, _ in in_order[1:]]
        for (number, start, end), next_start in zip(in_order, [*next_starts, in_order[-1][2]], strict=True):
            spans[car][number] = (start, min(end, next_start))
    return LapTimes(spans)


def resolve_vehicle(
    numbers: Mapping[str, str | None],
    session: str,
    *,
    vehicle_id: str | None = None,
    car_number: str | int | None = None,
) -> str:
    """Return the vehicle_id of the only car that matches.

    Args:
        numbers: Every car of the session by vehicle_id, with its number if known.
        session: Name of the session, for error messages.
        vehicle_id: The vehicle_id of the car's device, if given.
        car_number: The car number, if given: 03 is not 3, but the number 3 is either.

    Raises:
        ConfigurationError: No car matches, or several do.
    """
    matching = {
        vehicle: number
        for vehicle, number in numbers.items()
        if vehicle_id in {None, vehicle} and (car_number is None or is_car_number(car_number, number))
    }
    if len(matching) == 1:
        return next(iter(matching))
    wanted = " and ".join(
        f"{name} {value!r}"
        for name, value in (("vehicle_id", vehicle_id), ("car_number", car_number))
        if value is not None
    )
    if matching:
        hint = numbers_hint(matching.values()) or "Give the vehicle_id."
        raise ConfigurationError(f"{wanted} may be any of {_format_cars(matching)}.", hint)
    raise ConfigurationError(
        f"{session} has no car with {wanted}.", f"Its cars are: {_format_cars(numbers) or 'none'}."
    )


def _format_cars(numbers: Mapping[str, str | None]) -> str:
    return ", ".join(f"{vehicle} (#{number})" if number else vehicle for vehicle, number in sorted(numbers.items()))


def clip(window: Window, start_utc: datetime | None, end_utc: datetime | None) -> Window:
    """Return the part of a window from ``start_utc`` (inclusive) to ``end_utc`` (exclusive).

    Raises:
        ConfigurationError: A time has no time zone, or the start is not before the end.
    """
    if start_utc is not None and end_utc is not None and _whole_ms(start_utc) >= _whole_ms(end_utc):
        raise ConfigurationError(
            f"start_utc {start_utc.isoformat()} is not before end_utc {end_utc.isoformat()}.", "Change one of them."
        )
    starts = [window.start_ms, None if start_utc is None else _whole_ms(start_utc)]
    ends = [window.end_ms, None if end_utc is None else _whole_ms(end_utc)]
    return Window(
        window.vehicle_id,
        max((start for start in starts if start is not None), default=None),
        min((end for end in ends if end is not None), default=None),
    )


def _whole_ms(moment: datetime) -> int:
    """Return a time rounded up to milliseconds, the resolution of sample times."""
    if moment.tzinfo is None:
        raise ConfigurationError(
            f"The time {moment} has no time zone.", "Give it in UTC, for example 2025-09-06T18:40:00Z."
        )
    return -((_EPOCH - moment) // timedelta(milliseconds=1))
