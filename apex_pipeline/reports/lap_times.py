"""Draws the lap times of a session, one row of dots per car."""

from collections import Counter
from dataclasses import dataclass, field
from math import isfinite
from statistics import median

import pyarrow as pa

from apex_pipeline.amounts import lap_time
from apex_pipeline.reports.svg import Drawing, Scale, fits

_WIDTH = 640
# More cars than any grid of one class has; the picture says how many are left out.
_MOST_CARS = 40
_ROW = 16
_TOP, _LEFT, _RIGHT = 58, 62, 148
# Laps far behind the median are put on the right edge: those behind a safety car would squeeze the tenths of a second
# that matter into a few pixels. Twice as far behind it as the fastest lap is ahead, and not within 2 % of that one.
_BEHIND, _CLOSE = 2, 1.02
# Dots closer than this many pixels are one: a race of 24 hours must not make a picture of megabytes. If it is too large
# to be stored, coarser ones are tried: of 40 cars with dots everywhere they take 86, 53 and 39 kB.
_STEPS = (3, 6, 12)
# Characters that fit to the left of the dots.
_LONGEST_NAME = 9


@dataclass
class _Car:
    name: str
    valid: list[float] = field(default_factory=list[float])
    other: list[float] = field(default_factory=list[float])


def draw_lap_times(laps: pa.Table) -> str | None:
    """Return the lap times per car as a Markdown image that can be stored; ``None`` without a valid lap.

    Args:
        laps: Rows of the table ``laps``.
    """
    cars = sorted((car for car in _cars(laps) if car.valid), key=lambda car: (min(car.valid), car.name))
    if not cars:
        return None
    pictures = (_drawn(cars, step) for step in _STEPS)
    return next((picture for picture in pictures if fits(picture)), None) or _drawn(cars, _STEPS[-1])


def _drawn(cars: list[_Car], step: int) -> str:
    shown = cars[:_MOST_CARS]
    best = min(shown[0].valid)
    times = sorted(time for car in shown for time in car.valid)
    middle = median(times)
    limit = min(times[-1], max(best * _CLOSE, middle + _BEHIND * (middle - best)))
    drawing = Drawing(_WIDTH, _TOP + _ROW * len(shown) + 34, "Lap times per car, fastest first")
    scale = Scale(best, limit, _LEFT + 8, _WIDTH - _RIGHT - 8)
    _draw_axis(drawing, scale, _TOP + _ROW * len(shown))
    for row, car in enumerate(shown):
        _draw_car(drawing, scale, car, _TOP + _ROW * row, step)
    slow = sum(time > limit for time in times)
    notes = [f"{slow} slower than {lap_time(limit)} on the right edge"] if slow else []
    notes += [f"{len(cars) - len(shown)} more cars not shown"] if len(cars) > len(shown) else []
    notes += ["grey: not valid"] if any(car.other for car in shown) else []
    drawing.text(_LEFT, drawing.height - 10, "; ".join(notes), fill="muted")
    return drawing.markdown


def _cars(laps: pa.Table) -> list[_Car]:
    columns = ("vehicle_id", "car_number", "lap_time_s", "is_valid")
    cars: dict[str, _Car] = {}
    for row in laps.select(columns).to_pylist():
        car = cars.setdefault(row["vehicle_id"], _Car(f"#{row['car_number']}" if row["car_number"] else "?"))
        if row["lap_time_s"] is not None and isfinite(row["lap_time_s"]):
            (car.valid if row["is_valid"] else car.other).append(row["lap_time_s"])
    names = Counter(car.name for car in cars.values())
    for vehicle, car in cars.items():
        # The number of a car is not known, or several have the same: its id then says which it is.
        if car.name == "?" or names[car.name] > 1:
            car.name = vehicle.removeprefix("GR86-")
    return list(cars.values())


def _draw_axis(drawing: Drawing, scale: Scale, bottom: float) -> None:
    for value in scale.ticks(6):
        drawing.line((scale(value), _TOP - 10), (scale(value), bottom))
        drawing.text(scale(value), _TOP - 15, lap_time(value)[:-2], fill="muted", anchor="middle")
    drawing.text(_WIDTH - _RIGHT + 8, _TOP - 15, "best", fill="muted")
    drawing.text(_WIDTH - 12, _TOP - 15, "median", fill="muted", anchor="end")


def _draw_car(drawing: Drawing, scale: Scale, car: _Car, top: float, step: int) -> None:
    middle = top + _ROW / 2
    best = min(car.valid)
    drawing.text(_LEFT, middle + 4, _short(car.name), anchor="end")
    drawing.dots(_pixels(scale, car.other, step), middle, stroke="muted", width=3)
    drawing.dots(_pixels(scale, car.valid, step), middle)
    drawing.dots([scale(best)], middle, stroke="accent", width=7)
    drawing.text(_WIDTH - _RIGHT + 8, middle + 4, lap_time(best))
    drawing.text(_WIDTH - 12, middle + 4, lap_time(median(car.valid)), fill="muted", anchor="end")


def _short(name: str) -> str:
    """Return the end of a long name: ids of one number differ in the chassis before it."""
    return name if len(name) <= _LONGEST_NAME else f"…{name[1 - _LONGEST_NAME :]}"


def _pixels(scale: Scale, times: list[float], step: int) -> list[float]:
    return [round(scale(time) / step) * step for time in times]
