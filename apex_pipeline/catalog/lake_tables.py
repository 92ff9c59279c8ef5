"""Reads the tables of a snapshot by the names that people write: of one session, of a track, or of the whole lake.

See ``reader.py`` for the catalog, which adds sessions, telemetry, history and SQL.
"""

import pyarrow as pa

from apex_pipeline import arrow_compute as pc
from apex_pipeline.catalog.cars import devices_of, rows_of_car, rows_of_official_car
from apex_pipeline.catalog.frames import Frame, FrameKind, as_frame
from apex_pipeline.catalog.published_tables import PublishedTables
from apex_pipeline.errors import ConfigurationError
from apex_pipeline.lake.catalog_tables import CatalogTables
from apex_pipeline.lake.names import find_car, find_session, find_sessions, find_track
from apex_pipeline.lake.snapshot import Snapshot
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.tables import (
    CARS,
    CATALOG_TABLES,
    OFFICIAL_LAPS,
    OFFICIAL_POINTS,
    REJECTS,
    RESULTS,
    TELEMETRY,
    is_rejects_table,
)
from apex_pipeline.tables.session_key import SessionKey

# The tables that list what is in the lake; the others belong to a session.
_LISTS = tuple(table.name for table in CATALOG_TABLES)
# Here a car is what official timing prints, which in another session may be another car.
_OFFICIAL = (OFFICIAL_LAPS.name, OFFICIAL_POINTS.name, RESULTS.name)


class LakeTables:
    """The tables of one snapshot; safe to share between threads.

    Attributes:
        snapshot: The snapshot.

    Args:
        store: The lake.
        snapshot: The snapshot.
        is_current: Whether it is the published one; then the lists also have what could not be published.
        settings: Names the file with the user's own track names; read from the environment by default.
    """

    def __init__(self, store: ObjectStore, snapshot: Snapshot, settings: Settings | None, *, is_current: bool) -> None:
        self.snapshot = snapshot
        self._settings = settings
        self._lists = CatalogTables(snapshot, is_current=is_current)
        self._tables = PublishedTables(store, snapshot)

    @property
    def settings(self) -> Settings:
        """The settings, read from the environment when they are first needed."""
        return self._known_settings()

    def find_session(self, track: str, session: str) -> SessionKey:
        """Return the key of a published session, by any of the names of its track and of itself.

        Raises:
            ObjectMissingError: The track has no such session.
            ConfigurationError: The lake has no such track, or a name may mean several.
        """
        named = SessionKey(track, session)
        # An argument that is not UTF-8 has no bytes that a shard could be chosen by.
        if str(named).isascii() and self.snapshot.entry(named) is not None:
            return named
        return find_session(track, session, self.snapshot.keys, self._known_settings())

    def find_track(self, track: str) -> str:
        """Return the slug of a track with sessions in ``sessions``; errors as for :meth:`find_session`."""
        known = set(self.list_arrow("sessions")["track"].to_pylist())
        return find_track(track, known, self._known_settings())

    def find_sessions(self, track: str) -> list[SessionKey]:
        """Return the keys of the published sessions of a track, sorted; errors as for :meth:`find_session`."""
        return find_sessions(track, self.snapshot.keys, self._known_settings())

    def _known_settings(self) -> Settings:
        self._settings = self._settings or load_settings()
        return self._settings

    def find_keys(self, track: str | None = None, session: str | None = None) -> list[SessionKey]:
        """Return the published sessions with these names: one, those of a track, or all of the lake.

        Raises:
            ConfigurationError: A session is given without its track; and as for :meth:`find_session`.
        """
        if track is None and session is not None:
            raise ConfigurationError(f"The session {session!r} is given without its track.", "Give the track, too.")
        if track is None:
            return list(self.snapshot.keys)
        return self.find_sessions(track) if session is None else [self.find_session(track, session)]

    def find_car(self, track: str, session: str, car: str | int) -> str:
        """Return the vehicle_id of a car of a session.

        Args:
            track: Name of the track.
            session: Name of the session.
            car: Its number, with or without ``#``, or its vehicle_id. 03 is not 3, but the number 3 is either.

        Raises:
            ConfigurationError: No car is called that, or several are.
        """
        return find_car(devices_of(self._tables, self.find_session(track, session)), car)

    def list_arrow(self, name: str) -> pa.Table:
        """Return the table ``files``, ``tracks`` or ``sessions`` as an Arrow table."""
        table: pa.Table = getattr(self._lists, name)
        return table

    def tracks(self, *, frame: FrameKind = "pandas") -> Frame:
        """Return the table ``tracks``."""
        return as_frame(self.list_arrow("tracks"), frame)

    def sessions(self, track: str | None = None, *, frame: FrameKind = "pandas") -> Frame:
        """Return the table ``sessions``.

        In the published snapshot it also lists sessions that are only known, with ``is_published`` false: their tables
        could not be derived, or a rollback took them out.
        """
        return self.table("sessions", track, frame=frame)

    def files(self, track: str | None = None, *, frame: FrameKind = "pandas") -> Frame:
        """Return the table ``files``; in the published snapshot also the files that belong to no session."""
        return self.table("files", track, frame=frame)

    def laps(
        self,
        track: str | None = None,
        session: str | None = None,
        *,
        car: str | int | None = None,
        valid: bool | None = None,
        frame: FrameKind = "pandas",
    ) -> Frame:
        """Return laps: of every session, of a track or of one session, of all cars or of one.

        Args:
            track: Only this track.
            session: Only this session of the track.
            car: Only this car; as for :meth:`find_car`.
            valid: Only laps that nothing speaks against, or only the others; by default all.
            frame: ``pandas`` or ``arrow``.

        Raises:
            ObjectMissingError: The session is not published.
            ConfigurationError: The lake has no such track or car.
        """
        found = self.table_arrow("laps", track, session, car=car)
        if valid is not None:
            found = found.filter(found["is_valid"] if valid else pc.invert(found["is_valid"]))
        return as_frame(found, frame)

    def cars(self, track: str | None = None, session: str | None = None, *, frame: FrameKind = "pandas") -> Frame:
        """Return every device and every official car of the session, which of them match, and the evidence."""
        return self.table("cars", track, session, frame=frame)

    def quality(self, track: str | None = None, session: str | None = None, *, frame: FrameKind = "pandas") -> Frame:
        """Return the quality scores of the session and its cars, 0 to 100, each with an explanation."""
        return self.table("quality", track, session, frame=frame)

    def telemetry_cars(
        self, track: str | None = None, session: str | None = None, *, frame: FrameKind = "pandas"
    ) -> Frame:
        """Return the clock correction and the telemetry statistics of each car."""
        return self.table("telemetry_cars", track, session, frame=frame)

    def official_laps(
        self, track: str | None = None, session: str | None = None, *, frame: FrameKind = "pandas"
    ) -> Frame:
        """Return the laps of official timing."""
        return self.table("official_laps", track, session, frame=frame)

    def results(self, track: str | None = None, session: str | None = None, *, frame: FrameKind = "pandas") -> Frame:
        """Return the classification; use the rows where ``is_final`` is true."""
        return self.table("results", track, session, frame=frame)

    def weather(self, track: str | None = None, session: str | None = None, *, frame: FrameKind = "pandas") -> Frame:
        """Return the weather readings."""
        return self.table("weather", track, session, frame=frame)

    def rejects(self, track: str | None = None, session: str | None = None, *, frame: FrameKind = "pandas") -> Frame:
        """Return every rejected row of the sessions' raw files, with its reason."""
        return self.table("rejects", track, session, frame=frame)

    def rejects_arrow(self, track: str, session: str) -> pa.Table:
        """Return every rejected row of the session's raw files as an Arrow table."""
        return self._tables.rejects(self.find_session(track, session))

    def rejected_rows(self, track: str, session: str) -> int:
        """Return the number of rejected rows of the session's raw files, without reading any table."""
        record = self._tables.session(self.find_session(track, session))
        return sum(table.rows for name, table in record.tables.items() if is_rejects_table(name))

    def table(
        self,
        name: str,
        track: str | None = None,
        session: str | None = None,
        *,
        car: str | int | None = None,
        frame: FrameKind = "pandas",
    ) -> Frame:
        """Return any table by name: of one session, of a track, or of the whole lake.

        Args:
            name: A table of docs/tables.md; ``rejects`` for all that list rejected rows.
            track: Only this track.
            session: Only this session of the track.
            car: Only this car; as for :meth:`find_car`.
            frame: ``pandas`` or ``arrow``.

        Raises:
            ObjectMissingError: The session is not published, or was published without this table.
            ConfigurationError: The lake has no such track, table or car, or telemetry of several sessions is asked for.
        """
        return as_frame(self.table_arrow(name, track, session, car=car), frame)

    def table_arrow(
        self, name: str, track: str | None = None, session: str | None = None, *, car: str | int | None = None
    ) -> pa.Table:
        """Return any table as an Arrow table; arguments and errors as for :meth:`table`."""
        if name in _LISTS:
            return self._list_of(name, track, session, car)
        if track is None or session is None:
            return self._of_several(name, track, session, car)
        key = self.find_session(track, session)
        found = self._tables.rejects(key) if name == REJECTS.name else self._tables.read(name, key)
        if car is None:
            return found
        if "vehicle_id" in found.schema.names:
            return rows_of_car(found, find_car(devices_of(self._tables, key), car), name)
        of_car = self._of_official_car(found, key, car, name)
        return rows_of_car(found, car, name) if of_car is None else of_car

    def _of_official_car(self, rows: pa.Table, key: SessionKey, car: str | int, name: str) -> pa.Table | None:
        if "car_number" not in rows.schema.names or not self._tables.has(CARS.name, key):
            return None
        return rows_of_official_car(rows, self._tables.read(CARS.name, key).to_pylist(), car, f"{name} of {key}")

    def _of_several(self, name: str, track: str | None, session: str | None, car: str | int | None) -> pa.Table:
        if name == TELEMETRY.name:
            raise ConfigurationError(
                "Telemetry is read one session at a time.", "Name the session, as in telemetry('barber', 'R1')."
            )
        keys = self.find_keys(track, session)
        found = self._tables.read_many(name, keys)
        if car is None:
            return found
        if name in _OFFICIAL:
            having = [key for key in keys if self._tables.has(name, key)]
            of_sessions = [self._of_official_car(self._tables.read(name, key), key, car, name) for key in having]
            if of_car := [rows.replace_schema_metadata(None) for rows in of_sessions if rows is not None]:
                return pa.concat_tables(of_car, promote_options="default").unify_dictionaries()
        return rows_of_car(found, car, name)

    def _list_of(self, name: str, track: str | None, session: str | None, car: str | int | None) -> pa.Table:
        if session is not None or car is not None:
            raise ConfigurationError(f"{name} is one table for the whole lake.", "Give a track at most.")
        found = self.list_arrow(name)
        return found if track is None else found.filter(pc.equal(found["track"], self.find_track(track)))

    def has_table(self, name: str, track: str, session: str) -> bool:
        """Return whether the session was published with a table, which may have no rows."""
        return self._tables.has(name, self.find_session(track, session))

    def rows(self, name: str, track: str, session: str) -> int:
        """Return the number of rows of a table without reading it."""
        return self._tables.record(name, self.find_session(track, session)).rows

    def session_note(self, track: str, session: str) -> str:
        """Return a summary of the session in a few sentences; empty if its source writes none."""
        key = self.find_session(track, session)
        if not self._tables.has("quality", key):
            return ""
        scores = self._tables.read("quality", key).select(["scope", "measure", "sentence"]).to_pylist()
        notes = [row["sentence"] for row in scores if (row["scope"], row["measure"]) == ("session", "overall")]
        return notes[0] if notes else ""
