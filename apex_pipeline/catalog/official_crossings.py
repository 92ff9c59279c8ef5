"""The official intermediate points of a car's laps.

Official timing knows a car by its printed number and, where two cars print alike, by which of them it is.
"""

from collections.abc import Callable
from functools import lru_cache

from apex_pipeline.catalog.published_tables import PublishedTables
from apex_pipeline.tables import CARS, OFFICIAL_POINTS
from apex_pipeline.tables.session_key import SessionKey

_KEPT_SESSIONS = 32
# The last point is the finish line itself.
_FINISH = "FL"

# Name of a point and the time into the lap, seconds.
Crossing = tuple[str, float]
_Entry = tuple[str, int]


class OfficialCrossings:
    """Looks up points by the car's device; safe to share between threads.

    Args:
        tables: The tables of the sessions.
    """

    def __init__(self, tables: PublishedTables) -> None:
        self._tables = tables
        self._points: Callable[[SessionKey], dict[tuple[_Entry, int], list[Crossing]]] = lru_cache(_KEPT_SESSIONS)(
            self._points_of_session
        )
        self._entries: Callable[[SessionKey], dict[str, _Entry]] = lru_cache(_KEPT_SESSIONS)(self._entries_of_session)

    def of_lap(self, key: SessionKey, vehicle_id: str, official_lap_number: int) -> tuple[Crossing, ...]:
        """Return the points of one official lap of a car in the order they are driven; none without official timing."""
        entry = self._entries(key).get(vehicle_id)
        return () if entry is None else tuple(self._points(key).get((entry, official_lap_number), ()))

    def _entries_of_session(self, key: SessionKey) -> dict[str, _Entry]:
        if not self._tables.has(CARS.name, key):
            return {}
        return {
            row["vehicle_id"]: (row["official_number"], row["official_entry"])
            for row in self._tables.read(CARS.name, key).to_pylist()
            if row["vehicle_id"] is not None and row["official_number"] is not None
        }

    def _points_of_session(self, key: SessionKey) -> dict[tuple[_Entry, int], list[Crossing]]:
        found: dict[tuple[_Entry, int], list[Crossing]] = {}
        if not self._tables.has(OFFICIAL_POINTS.name, key):
            return found
        for row in self._tables.read(OFFICIAL_POINTS.name, key).to_pylist():
            if row["point"] != _FINISH and row["elapsed_s"] is not None:
                entry = row["car_number"], row["entry"]
                found.setdefault((entry, row["lap_number"]), []).append((row["point"], row["elapsed_s"]))
        return found
