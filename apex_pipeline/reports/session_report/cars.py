"""Names the cars of a session as they are called at the track: by number, and further where two carry the same one."""

from collections import defaultdict
from collections.abc import Sequence

from apex_pipeline.tables.model import Row

# A car in official timing is a printed number and an entry; any other is known by its device.
CarKey = tuple[str | None, int | str | None]


def car_key(row: Row) -> CarKey:
    """Return what tells the car of a row from all others: a row of the chart, the penalties or the sectors."""
    entry = row.get("entry")
    return row["car_number"], row["vehicle_id"] if entry is None else entry


class CarNames:
    """The names of the cars of one session.

    Args:
        rows: Rows with ``car_number``, ``vehicle_id`` and, from official timing, ``entry``.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        keys: defaultdict[str | None, set[int | str | None]] = defaultdict(set)
        self._by_vehicle: dict[str, CarKey] = {}
        official = [row for row in rows if row.get("entry") is not None]
        for row in official:
            keys[row["car_number"]].add(row["entry"])
            if row["vehicle_id"] is not None:
                self._by_vehicle.setdefault(row["vehicle_id"], car_key(row))
        entries = {number: next(iter(of_number)) for number, of_number in keys.items() if len(of_number) == 1}
        for row in rows:
            number, vehicle_id = row["car_number"], row["vehicle_id"]
            if vehicle_id is None or vehicle_id in self._by_vehicle:
                continue
            # The number of a device is that of official timing: if one car has it there, it is this one.
            self._by_vehicle[vehicle_id] = number, entries.get(number, vehicle_id)
            keys[number].add(self._by_vehicle[vehicle_id][1])
        self._shared = {number for number, of_number in keys.items() if len(of_number) > 1}

    def of(self, row: Row) -> str:
        """Return the name of the car of a row: ``#13``, ``#3 (2)`` for the second car 3, or its vehicle_id."""
        return self._name(car_key(row))

    def of_vehicle(self, vehicle_id: str, number: str | None) -> str:
        """Return the name of a car by its device."""
        return self._name(self._by_vehicle.get(vehicle_id, (number, vehicle_id)))

    def _name(self, key: CarKey) -> str:
        number, which = key
        if number is None:
            return str(which) if which else "no number"
        return f"#{number} ({which})" if number in self._shared and which is not None else f"#{number}"
