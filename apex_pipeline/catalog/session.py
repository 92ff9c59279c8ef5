"""One session of a lake, with the questions that people ask about a race.

A session belongs to a catalog and so to one snapshot: whatever is asked, and however many syncs run, the answers are of
one state. See ``lap.py`` for a lap, ``best.py`` for the best ones.
"""

from numbers import Integral
from typing import TYPE_CHECKING

import pyarrow as pa

from apex_pipeline.catalog.best import best_rows, best_table
from apex_pipeline.catalog.describe import as_html, as_text, session_lines
from apex_pipeline.catalog.frames import Frame, FrameKind, as_frame
from apex_pipeline.catalog.lap import Lap, lap_of_row
from apex_pipeline.catalog.lap_chart import Entry, lap_chart, vehicles_by_entry
from apex_pipeline.catalog.penalties import penalties
from apex_pipeline.catalog.sectors import best_sectors
from apex_pipeline.errors import ConfigurationError, NotPublishedError
from apex_pipeline.tables import RESULTS
from apex_pipeline.tables.session_key import SessionKey

if TYPE_CHECKING:
    from apex_pipeline.catalog.reader import Catalog
    from apex_pipeline.distance.track_map import GeoJson


class RaceSession:
    """One published session; made by :meth:`Catalog.session`.

    Attributes:
        catalog: The catalog it is read from.
        key: Its key.

    Args:
        catalog: The catalog.
        key: Key of a session that is published in its snapshot.
    """

    def __init__(self, catalog: "Catalog", key: SessionKey) -> None:
        self.catalog = catalog
        self.key = key

    def __repr__(self) -> str:
        """Say what there is, in five lines."""
        return as_text(session_lines(self))

    def _repr_html_(self) -> str:
        """Say the same in a notebook."""
        return as_html(session_lines(self))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RaceSession) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def _identity(self) -> tuple[str, str, SessionKey]:
        return self.catalog.uri, self.catalog.snapshot.id, self.key

    @property
    def track(self) -> str:
        """Slug of the track."""
        return self.key.track

    @property
    def name(self) -> str:
        """Name of the session at its track, for example ``R1``."""
        return self.key.session

    @property
    def note(self) -> str:
        """What to know about the session, in a few sentences; empty if its source writes none."""
        return self.catalog.session_note(*self.key)

    def find_car(self, car: str | int) -> str:
        """Return the vehicle_id of a car, by its number or vehicle_id; errors as for :meth:`Catalog.find_car`."""
        return self.catalog.find_car(*self.key, car)

    def laps(self, *, car: str | int | None = None, valid: bool | None = None, frame: FrameKind = "pandas") -> Frame:
        """Return the laps of all cars or of one; arguments and errors as for :meth:`Catalog.laps`."""
        return self.catalog.laps(*self.key, car=car, valid=valid, frame=frame)

    def best(self, *, frame: FrameKind = "pandas") -> Frame:
        """Return the best valid lap of each car, the fastest first; a car without one is left out."""
        return as_frame(best_table(self.catalog.table_arrow("laps", *self.key)), frame)

    def lap(self, *, car: str | int, number: int) -> Lap:
        """Return one lap of a car.

        Args:
            car: As for :meth:`find_car`.
            number: Its ``lap_number``; 0 and less are laps before the green flag.

        Raises:
            ConfigurationError: There is no such car, or it has no such lap.
        """
        if not isinstance(number, Integral):
            raise ConfigurationError(f"The lap {number!r} is not a whole number.", "Give lap_number as `laps` has it.")
        vehicle_id = self.find_car(car)
        rows = self.catalog.table_arrow("laps", *self.key, car=vehicle_id)
        numbers = rows["lap_number"].to_pylist()
        if number not in numbers:
            raise ConfigurationError(f"{vehicle_id} has no lap {number}.", f"Its laps are: {_ranges(numbers)}.")
        return lap_of_row(self, rows.slice(numbers.index(number), 1).to_pylist()[0])

    def best_lap(self, *, car: str | int | None = None) -> Lap:
        """Return the fastest valid lap of a car, or of the session.

        Raises:
            ConfigurationError: There is no such car.
            NotPublishedError: There is no valid lap with a time.
        """
        vehicle_id = None if car is None else self.find_car(car)
        best = best_rows(self.catalog.table_arrow("laps", *self.key, car=vehicle_id))
        if best.num_rows == 0:
            raise NotPublishedError(
                f"{f'{vehicle_id} has no' if vehicle_id else f'{self.key} has no'} valid lap with a time.",
                "Its doubtful laps, with their flags: laps(valid=False).",
            )
        return lap_of_row(self, best.slice(0, 1).to_pylist()[0])

    def positions(self, *, frame: FrameKind = "pandas") -> Frame:
        """Return the order of the cars on the road at the end of each lap; :attr:`timing_note` says by what clock."""
        return as_frame(self._chart().drop_columns(["gap_to_leader_s", "gap_to_ahead_s"]), frame)

    def gaps(self, *, frame: FrameKind = "pandas") -> Frame:
        """Return the same with the gaps to the leader and to the car ahead at the end of each lap, seconds."""
        return as_frame(self._chart(), frame)

    def penalties(self, *, frame: FrameKind = "pandas") -> Frame:
        """Return the result beside the order on the road: ``penalty_s`` is what the result adds to a car's time.

        No rows without a classification.
        """
        results = self.results(frame="arrow")
        return as_frame(penalties(results, self._table_or_none("official_laps"), self._vehicles()), frame)

    def sectors(self, *, frame: FrameKind = "pandas") -> Frame:
        """Return the best sectors of each car and the lap they would make, which may be slower than its best lap."""
        laps = self.catalog.table_arrow("laps", *self.key)
        return as_frame(best_sectors(self._table_or_none("official_laps"), laps, self._vehicles()), frame)

    @property
    def timing_note(self) -> str:
        """What order, gaps and sectors rest on where official timing is missing, in sentences; empty if it is not."""
        official, results = self._table_or_none("official_laps"), self._table_or_none("results")
        notes: list[str] = []
        if official is None or not official.num_rows:
            notes.append(
                "There is no official timing: order and gaps are those of the cars' own passings of the line, and a "
                "car's laps are counted from its first one."
            )
        if results is None or not results.num_rows:
            notes.append("There is no classification: penalties are not known.")
        return " ".join(notes)

    def _chart(self) -> pa.Table:
        laps = self.catalog.table_arrow("laps", *self.key)
        return lap_chart(self._table_or_none("official_laps"), laps, self._vehicles())

    def _vehicles(self) -> dict[Entry, str]:
        return vehicles_by_entry(self._table_or_none("cars"))

    def _table_or_none(self, name: str) -> pa.Table | None:
        return self.catalog.table_arrow(name, *self.key) if self.catalog.has_table(name, *self.key) else None

    def results(self, *, frame: FrameKind = "pandas") -> Frame:
        """Return the final classification, the winner first; no rows without an official file."""
        found = self._table_or_none("results")
        return as_frame(RESULTS.empty() if found is None else found.filter(found["is_final"]), frame)

    def weather(self, *, frame: FrameKind = "pandas") -> Frame:
        """Return the weather readings, the earliest first."""
        return self._table("weather", frame)

    def quality(self, *, frame: FrameKind = "pandas") -> Frame:
        """Return the quality scores of the session and its cars, 0 to 100, each with an explanation."""
        return self._table("quality", frame)

    def track_map(self) -> "GeoJson":
        """Return the map of the track as GeoJSON: the line cars drive, start/finish, the ends of the sectors.

        Returns:
            A FeatureCollection whose first feature is the track: its ``properties`` say the length and the evidence,
            and from how many laps the line is. Without GPS, or with positions that are not the track's, that is the
            only feature, its ``geometry`` is null, and ``properties.reason`` says why.

        Raises:
            NotPublishedError: The length of the track is not known.
        """
        return self.catalog.lap_distances.geometry.map(self.key).geojson()

    def _table(self, name: str, frame: FrameKind) -> Frame:
        return as_frame(self.catalog.table_arrow(name, *self.key), frame)


def _ranges(numbers: list[int]) -> str:
    """Return numbers like ``1 to 27, 30``; a car of a long race has hundreds of laps."""
    runs: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1] = runs[-1][0], number
        else:
            runs.append((number, number))
    return ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in runs) or "none"
