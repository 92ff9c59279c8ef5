"""Finds the rows of a car in a table, by the names that people give it: ``13``, ``#13`` or ``GR86-022-13``.

See ``lake/names.py`` for a car of one session, which may have no rows in a table at all.
"""

from collections.abc import Sequence

import pyarrow as pa

from apex_pipeline import arrow_compute as pc
from apex_pipeline.catalog.published_tables import PublishedTables
from apex_pipeline.errors import ConfigurationError, did_you_mean
from apex_pipeline.lake.names import is_car_number, numbers_hint
from apex_pipeline.tables import CARS, LAPS, TELEMETRY_CARS
from apex_pipeline.tables.model import Row
from apex_pipeline.tables.session_key import SessionKey

_NUMBER, _VEHICLE, _ENTRY = "car_number", "vehicle_id", "entry"
_NAMES = (_VEHICLE, "chassis", _NUMBER)
# Cars that an error lists: two grids.
_LISTED = 60


def devices_of(tables: PublishedTables, key: SessionKey) -> list[Row]:
    """Return a row with the names of each device of a session: it may have sent telemetry only, or lap triggers only.

    Without the table of cars, those with laps are known.
    """
    has_cars = tables.has(CARS.name, key)
    found: dict[str | None, Row] = {}
    for name in (TELEMETRY_CARS.name, CARS.name if has_cars else LAPS.name):
        if tables.has(name, key):
            rows = tables.read(name, key)
            names = rows.select([column for column in _NAMES if column in rows.schema.names])
            for row in names.to_pylist():
                found[row[_VEHICLE]] = {**dict.fromkeys(_NAMES), **row}
    return list(found.values())


def rows_of_car(rows: pa.Table, car: str | int, name: str) -> pa.Table:
    """Return the rows of one car, which may have driven in several sessions.

    Args:
        rows: The rows.
        car: Its number, with or without ``#``, or its vehicle_id. 03 is not 3, but the number 3 is either.
        name: Name of the table, for messages.

    Raises:
        ConfigurationError: The table is not about cars, no row is of this car, or a number is written in two ways.
    """
    by_number, by_vehicle = _values(rows, _NUMBER), _values(rows, _VEHICLE)
    if not by_number and not by_vehicle and not {_NUMBER, _VEHICLE} & set(rows.schema.names):
        raise ConfigurationError(f"The table {name} is not about cars.", "Leave out `car`.")
    numbers = [number for number in by_number if is_car_number(car, number)]
    if hint := numbers_hint(numbers):
        raise ConfigurationError(f"The number {car} may be any of {', '.join(numbers)}.", hint)
    if numbers:
        return _rows_with(rows, _NUMBER, numbers)
    vehicles = [vehicle for vehicle in by_vehicle if vehicle.lower() == str(car).strip().lower()]
    if vehicles:
        return _rows_with(rows, _VEHICLE, vehicles)
    known = sorted(by_number) or sorted(by_vehicle)
    guess = did_you_mean(str(car), [*by_number, *by_vehicle])
    listed = ", ".join(known[:_LISTED]) or "none"
    raise ConfigurationError(f"No row of {name} is of a car {car!r}.", f"{guess}Its cars are: {listed}.")


def is_printed_alone(cars: Sequence[Row], car: Row) -> bool:
    """Return whether official timing prints the number of a car for no other one of the table ``cars``."""
    printed = car.get("official_number") or car[_NUMBER]
    return all(other is car or other.get("official_number") != printed for other in cars)


def rows_of_printed_car(rows: pa.Table, printed: str | None, entry: int | None, name: str, *, alone: bool) -> pa.Table:
    """Return the rows of one car in a table of official timing, which knows a car by the number that it prints.

    Args:
        rows: The rows.
        printed: The number; ``None`` if official timing has nothing about the car.
        entry: Which of the cars it is that are printed alike; ``None`` if not known.
        name: Name of the table, for messages.
        alone: No other car of the session is printed like that.

    Raises:
        ConfigurationError: Several cars are, and the table does not say which of them it means.
    """
    found = rows.filter(pc.equal(rows[_NUMBER].cast(pa.string()), pa.scalar(printed, pa.string())))
    if _ENTRY in rows.schema.names:
        return found if entry is None else found.filter(pc.equal(found[_ENTRY], entry))
    if printed is None or alone:
        return found
    raise ConfigurationError(
        f"{name} does not say which of the cars printed {printed} a row is about.",
        "The penalties of the session tell them apart.",
    )


def rows_of_official_car(rows: pa.Table, cars: Sequence[Row], car: str | int, name: str) -> pa.Table | None:
    """Return the rows of one car of a session in a table of official timing; ``None`` if ``cars`` has no such car.

    Args:
        rows: The rows.
        cars: The rows of the session's table ``cars``: 03 and 3 may both be printed 3.
        car: As for :func:`rows_of_car`.
        name: Name of the table, for messages.

    Raises:
        ConfigurationError: Several cars may be meant, or the table does not say which of several it is about.
    """
    found = [
        row
        for row in cars
        if is_car_number(car, row[_NUMBER])
        or (row[_VEHICLE] is not None and row[_VEHICLE].lower() == str(car).strip().lower())
    ]
    if not found:
        return None
    if len(found) > 1:
        named = ", ".join(str(row[_VEHICLE] or row[_NUMBER]) for row in found)
        hint = numbers_hint(row[_NUMBER] for row in found) or "Give the vehicle_id."
        raise ConfigurationError(f"{car!r} may be any of {named}.", hint)
    row, alone = found[0], is_printed_alone(cars, found[0])
    printed = row["official_number"] or (row[_NUMBER] if alone else None)
    return rows_of_printed_car(rows, printed, row["official_entry"], name, alone=alone)


def _values(rows: pa.Table, column: str) -> list[str]:
    if column not in rows.schema.names:
        return []
    return [value for value in rows[column].cast(pa.string()).unique().to_pylist() if value is not None]


def _rows_with(rows: pa.Table, column: str, values: Sequence[str]) -> pa.Table:
    return rows.filter(pc.is_in(rows[column].cast(pa.string()), value_set=pa.array(values, pa.string())))
