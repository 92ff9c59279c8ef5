"""The catalog: opens a lake and reads its published tables, with pandas and pyarrow only.

All reads are from one snapshot, whose parts are read when they are needed: the table of a session takes the pointer,
the snapshot, one shard, the session's record and the table's object. Files are checked against the snapshot's hashes.
This package never writes to the lake or imports Dagster.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from apex_pipeline.catalog.cars import devices_of, rows_of_car
from apex_pipeline.catalog.frames import Frame, FrameKind, as_frame
from apex_pipeline.catalog.published_tables import PublishedTables
from apex_pipeline.catalog.session import RaceSession
from apex_pipeline.catalog.telemetry_reader import Selection, TelemetryReader
from apex_pipeline.errors import ConfigurationError
from apex_pipeline.lake.catalog_tables import CatalogTables
from apex_pipeline.lake.history import snapshot_as_of
from apex_pipeline.lake.names import find_car, find_session, find_sessions, find_track
from apex_pipeline.lake.objects import table_file_key
from apex_pipeline.lake.reconciliation import read_counts
from apex_pipeline.lake.snapshot import Snapshot
from apex_pipeline.lake.tables import require_snapshot
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.factory import open_store, open_store_at
from apex_pipeline.tables import CATALOG_TABLES, TELEMETRY, is_rejects_table
from apex_pipeline.tables.session_key import SessionKey

# The tables that list what is in the lake; the others belong to a session.
_LISTS = tuple(table.name for table in CATALOG_TABLES)


def open_catalog(
    uri: str | Path | None = None, settings: Settings | None = None, *, as_of: datetime | str | None = None
) -> "Catalog":
    """Open a lake for reading.

    Args:
        uri: ``s3://bucket/prefix`` or a folder; by default the lake in the settings.
        settings: Credentials and endpoint; read from the environment by default.
        as_of: Open the lake as it was published at this time (timezone-aware, or as ISO text with a time zone), or the
            snapshot with this id or start of an id; by default as it is published now.

    Raises:
        ObjectMissingError: Nothing is published in this lake, or was at that time.
        ConfigurationError: ``as_of`` is neither a time with a time zone nor a snapshot.
        StoreCorruptionError: The published snapshot is damaged.
        StoreError: The lake cannot be reached with this configuration.
    """
    settings = settings or load_settings()
    store = open_store_at(str(uri), settings) if uri else open_store(settings, for_writing=False)
    return Catalog(store, as_of, settings)


class Catalog:
    """A lake as published at one moment; safe to share between threads.

    Tracks and sessions may be given by any of their names: ``COTA`` and ``Race 1`` as well as
    ``circuit_of_the_americas`` and ``R1``. Small tables, lap times and the footers of telemetry files are cached.

    Args:
        store: The lake.
        as_of: The moment, as for :func:`open_catalog`; errors too.
        settings: Names the file with the user's own track names; read from the environment by default.
    """

    def __init__(
        self, store: ObjectStore, as_of: datetime | str | None = None, settings: Settings | None = None
    ) -> None:
        self._store = store
        self._settings = settings
        current = require_snapshot(store)
        self.snapshot: Snapshot = current if as_of is None else snapshot_as_of(store, as_of, current)
        self._lists = CatalogTables(self.snapshot, is_current=self.snapshot == current)
        self._tables = PublishedTables(store, self.snapshot)
        self.telemetry_reader = TelemetryReader(self._tables)

    def __repr__(self) -> str:
        return f"<Catalog of {self.uri} at snapshot {self.snapshot.id}>"

    @property
    def uri(self) -> str:
        """Address of the lake."""
        return self._store.uri

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

    def session(self, track: str, session: str) -> RaceSession:
        """Return one session, with everything that can be asked about it; errors as for :meth:`find_session`."""
        return RaceSession(self, self.find_session(track, session))

    def list_arrow(self, name: str) -> pa.Table:
        """Return the table ``files``, ``tracks`` or ``sessions`` as an Arrow table."""
        table: pa.Table = getattr(self._lists, name)
        return table

    def tracks(self, *, frame: FrameKind = "pandas") -> Frame:
        """Return the table ``tracks``."""
        return as_frame(self.list_arrow("tracks"), frame)

    def sessions(self, track: str | None = None, *, frame: FrameKind = "pandas") -> Frame:
        """Return the table ``sessions``; in the published snapshot also those whose tables could not be derived."""
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

    def session_note(self, track: str, session: str) -> str:
        """Return a summary of the session in a few sentences; empty if its source writes none."""
        key = self.find_session(track, session)
        if not self._tables.has("quality", key):
            return ""
        scores = self._tables.read("quality", key).select(["scope", "measure", "sentence"]).to_pylist()
        notes = [row["sentence"] for row in scores if (row["scope"], row["measure"]) == ("session", "overall")]
        return notes[0] if notes else ""

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
            found = self._of_several(name, track, session)
            return found if car is None else rows_of_car(found, car, name)
        key = self.find_session(track, session)
        found = self._tables.rejects(key) if name == "rejects" else self._tables.read(name, key)
        if car is None:
            return found
        is_of_devices = "vehicle_id" in found.schema.names
        return rows_of_car(found, find_car(devices_of(self._tables, key), car) if is_of_devices else car, name)

    def _of_several(self, name: str, track: str | None, session: str | None) -> pa.Table:
        if name == TELEMETRY.name:
            raise ConfigurationError(
                "Telemetry is read one session at a time.", "Name the session, as in telemetry('barber', 'R1')."
            )
        return self._tables.read_many(name, self.find_keys(track, session))

    def _list_of(self, name: str, track: str | None, session: str | None, car: str | int | None) -> pa.Table:
        if session is not None or car is not None:
            raise ConfigurationError(f"{name} is one table for the whole lake.", "Give a track at most.")
        found = self.list_arrow(name)
        return found if track is None else found.filter(pc.equal(found["track"], self.find_track(track)))

    def rows(self, name: str, track: str, session: str) -> int:
        """Return the number of rows of a table without reading it."""
        return self._tables.record(name, self.find_session(track, session)).rows

    def telemetry_counts(self, track: str, session: str) -> dict[str, int]:
        """Return the reconciliation of the session's readings; empty if the file does not record it.

        ``readings_in`` always equals ``cells_out`` + ``exact_duplicates`` + ``rejected``.
        """
        key = table_file_key(self._store, self._tables.record("telemetry", self.find_session(track, session)))
        with self._store.open_seekable(key) as stream:
            return read_counts(stream) or {}

    def telemetry(  # noqa: PLR0913  -- what can be selected, each by its name
        self,
        track: str,
        session: str,
        *,
        vehicle_id: str | None = None,
        car_number: str | int | None = None,
        lap_number: int | None = None,
        start_utc: datetime | None = None,
        end_utc: datetime | None = None,
        channels: Sequence[str] | None = None,
        frame: FrameKind = "pandas",
    ) -> Frame:
        """Return telemetry sorted by car and time, reading only the row groups and columns that are needed.

        Args:
            track: Name of the track.
            session: Name of the session.
            vehicle_id: One car, by the vehicle_id of its device; by default all cars.
            car_number: One car, by its number in ``cars``, with or without ``#``: 03 is not 3, but the number 3 is
                either.
            lap_number: One lap, as numbered in ``laps``; without a car, that lap of every car. It is selected by its
                start (inclusive) and end (exclusive) there, not by the device's lap counter.
            start_utc: Only samples at or after this time; timezone-aware.
            end_utc: Only samples before this time; timezone-aware.
            channels: Columns to read in addition to car, time, repeat and lap; by default all.
            frame: ``pandas`` or ``arrow``.

        Returns:
            The samples sorted by car and time; no rows if the car sent nothing during that time.

        Raises:
            ObjectMissingError: The session is not published.
            ConfigurationError: There is no such car, lap or channel (the message lists the existing ones), several cars
                have the number, the lap has no start or end in UTC, or a time has no time zone.
            StoreCorruptionError: The file is damaged.
        """
        wanted = Selection(vehicle_id, car_number, lap_number, start_utc, end_utc, channels)
        return as_frame(self.telemetry_reader.read(self.find_session(track, session), wanted), frame)

    def telemetry_arrow(
        self,
        track: str,
        session: str,
        *,
        vehicle_id: str | None = None,
        car_number: str | int | None = None,
        lap_number: int | None = None,
        start_utc: datetime | None = None,
        end_utc: datetime | None = None,
        channels: Sequence[str] | None = None,
    ) -> pa.Table:
        """Return telemetry as an Arrow table; arguments and errors as for :meth:`telemetry`."""
        wanted = Selection(vehicle_id, car_number, lap_number, start_utc, end_utc, channels)
        return self.telemetry_reader.read(self.find_session(track, session), wanted)
