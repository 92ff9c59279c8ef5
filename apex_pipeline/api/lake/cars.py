"""Finds a car of a session by number or vehicle_id, and its rows in tables of units and of official timing."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from apex_pipeline.api.lake.asking import checked_name
from apex_pipeline.api.lake.errors import NotFoundError, RequestError, values_of_the_query
from apex_pipeline.catalog.cars import is_printed_alone, rows_of_printed_car
from apex_pipeline.catalog.reader import Catalog
from apex_pipeline.errors import ConfigurationError
from apex_pipeline.lake.names import find_car
from apex_pipeline.tables.model import Row
from apex_pipeline.tables.session_key import SessionKey


class UnknownCarError(NotFoundError):
    """The session has no car of this name."""


@dataclass(frozen=True)
class SessionCar:
    """One car of a session.

    Attributes:
        vehicle_id: Its unit; ``None`` if only official timing knows the car.
        number: Its number; ``None`` if undecided.
        official_number: Its number as official timing prints it, where several cars may be printed alike.
        official_entry: Which of these it is.
        is_alone: No other car is printed like it.
    """

    vehicle_id: str | None
    number: str | None
    official_number: str | None
    official_entry: int | None
    is_alone: bool = True


def find_session_car(catalog: Catalog, key: SessionKey, name: str) -> SessionCar:
    """Return a car of a session by its number, with or without ``#``, or by its vehicle_id.

    Raises:
        UnknownCarError: The session has no such car.
        RequestError: Several cars may be meant.
    """
    rows = catalog.table_arrow("cars", *key).to_pylist()
    number = checked_name(name).strip().removeprefix("#")
    found = [row for row in rows if _is_called(row, name.strip(), number)]
    if len(found) == 1:
        row = found[0]
        official = row.get("official_number"), row.get("official_entry")
        return SessionCar(row["vehicle_id"], row["car_number"], *official, is_printed_alone(rows, row))
    if found:
        named = ", ".join(str(row["vehicle_id"] or row["car_number"]) for row in found)
        raise RequestError(f"{name!r} may be any of {named}.", "Give the vehicle_id.")
    return _with_telemetry_only(catalog, key, rows, name.strip())


def _is_called(row: Row, name: str, number: str) -> bool:
    vehicle_id = row["vehicle_id"]
    return number == row["car_number"] or (vehicle_id is not None and name.lower() == vehicle_id.lower())


def _with_telemetry_only(catalog: Catalog, key: SessionKey, rows: list[Row], name: str) -> SessionCar:
    """Return the car of a unit that sent telemetry but no lap triggers, so that no row of ``cars`` is about it."""
    devices = {row["vehicle_id"]: row for row in rows}
    record = catalog.snapshot.session(key)
    if record is not None and "telemetry_cars" in record.tables:
        for row in catalog.table_arrow("telemetry_cars", *key).select(["vehicle_id", "chassis"]).to_pylist():
            devices.setdefault(row["vehicle_id"], {**row, "car_number": None})
    try:
        vehicle_id = find_car(devices.values(), name)
    except ConfigurationError as error:
        raise UnknownCarError(error.problem, error.hint) from error
    return SessionCar(vehicle_id, devices[vehicle_id]["car_number"], None, None)


def rows_of_car(rows: pa.Table, car: SessionCar, table: str) -> pa.Table:
    """Return the rows of a table that are about a car.

    Args:
        rows: The rows.
        car: The car.
        table: Name of the table, for the error.

    Raises:
        RequestError: The table is not about cars, or does not say which of two it means that are printed alike.
    """
    names = rows.schema.names
    if "vehicle_id" in names and car.vehicle_id is not None:
        return rows.filter(pc.equal(_text(rows["vehicle_id"]), pa.scalar(car.vehicle_id, pa.string())))
    if "car_number" not in names:
        raise RequestError(f"The table {table} is not about cars.", "Leave out car.")
    printed = car.official_number or (car.number if car.is_alone else None)
    with values_of_the_query():
        return rows_of_printed_car(rows, printed, car.official_entry, table, alone=car.is_alone)


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string())
