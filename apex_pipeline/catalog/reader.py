"""The catalog: opens a lake and reads its published tables, with pandas and pyarrow only.

All reads are from one snapshot, whose parts are read when they are needed: the table of a session takes the pointer,
the snapshot, one shard, the session's record and the table's object. Files are checked against the snapshot's hashes.
This package never writes to the lake or imports Dagster.
"""

from collections.abc import Sequence
from datetime import date, datetime
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from apex_pipeline.catalog.describe import as_html, as_text, catalog_lines
from apex_pipeline.catalog.frames import Frame, FrameKind, as_frame
from apex_pipeline.catalog.lake_tables import LakeTables
from apex_pipeline.catalog.sql import Value, run_sql
from apex_pipeline.catalog.telemetry_reader import Selection, TelemetryReader
from apex_pipeline.errors import ConfigurationError
from apex_pipeline.lake.history import published_history, snapshot_as_of
from apex_pipeline.lake.history_tables import differences_table, history_table
from apex_pipeline.lake.objects import table_file_key
from apex_pipeline.lake.reconciliation import read_counts
from apex_pipeline.lake.tables import require_snapshot
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline.sources import all_tables
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.factory import open_race_store, open_store, open_store_at
from apex_pipeline.storage.request_stats import RequestStats
from apex_pipeline.tables import CATALOG_TABLES, REJECTS, TELEMETRY

if TYPE_CHECKING:
    from apex_pipeline.catalog.lap_distance import LapDistances
    from apex_pipeline.catalog.session import RaceSession
    from apex_pipeline.catalog.simulated_lap import SimulatedLap


def open_catalog(
    uri: str | Path | None = None, settings: Settings | None = None, *, as_of: date | str | None = None
) -> "Catalog":
    """Open a lake for reading.

    Args:
        uri: A folder, ``s3://bucket/prefix``, ``https://host/folder`` or a ``bundle.zip``; by default the lake in the
            settings.
        settings: Credentials and endpoint; read from the environment by default.
        as_of: Open the lake as it was published at this time (timezone-aware, or as ISO text with a time zone), at the
            end of this day in UTC (a date, or ``2026-11-20``), or the snapshot with this id or start of an id; by
            default as it is published now.

    Raises:
        ObjectMissingError: Nothing is published in this lake, or was at that time.
        ConfigurationError: ``as_of`` is neither a time with a time zone, nor a date, nor a snapshot.
        StoreCorruptionError: The published snapshot is damaged.
        StoreError: The lake cannot be reached with this configuration.
    """
    settings = settings or load_settings()
    store = open_store_at(str(uri), settings) if uri else open_store(settings, for_writing=False)
    return Catalog(store, as_of, settings)


class Catalog(LakeTables):
    """A lake as published at one moment; safe to share between threads.

    Tracks and sessions may be given by any of their names: ``COTA`` and ``Race 1`` as well as
    ``circuit_of_the_americas`` and ``R1``. Small tables, lap times and the footers of telemetry files are cached.

    Args:
        store: The lake.
        as_of: The moment, as for :func:`open_catalog`; errors too.
        settings: Names the file with the user's own track names; read from the environment by default.
    """

    def __init__(self, store: ObjectStore, as_of: date | str | None = None, settings: Settings | None = None) -> None:
        current = require_snapshot(store)
        snapshot = current if as_of is None else snapshot_as_of(store, as_of, current)
        super().__init__(store, snapshot, settings, is_current=snapshot == current)
        self._store = store
        self._current = current
        self.telemetry_reader = TelemetryReader(self._tables)

    @cached_property
    def lap_distances(self) -> "LapDistances":
        """Laps on the distance of their track; imported when it is first asked for, which most readers never do."""
        from apex_pipeline.catalog.lap_distance import LapDistances  # noqa: PLC0415  -- as above

        return LapDistances(self._tables, self.telemetry_reader, lambda: self.settings, self.find_sessions)

    def __repr__(self) -> str:
        """Say what there is, in five lines."""
        return as_text(catalog_lines(self))

    def _repr_html_(self) -> str:
        """Say the same in a notebook."""
        return as_html(catalog_lines(self))

    @property
    def uri(self) -> str:
        """Address of the lake."""
        return self._store.uri

    @property
    def request_stats(self) -> RequestStats:
        """Requests that were sent to the lake so far; all zero for a folder."""
        return self._store.request_stats

    def refreshed(self) -> "Catalog":
        """Return the lake as it is published now: this catalog if that is what it shows.

        What both snapshots have in common is not read again, so a program that answers for days reads what changed.

        Raises:
            ObjectMissingError: Nothing is published any more.
            StoreCorruptionError: The published snapshot is damaged.
        """
        if require_snapshot(self._store) == self.snapshot:
            return self
        newer = Catalog(self._store, settings=self._settings)
        newer._tables.remember(self._tables)
        return newer

    def session(self, track: str, session: str) -> "RaceSession":
        """Return one session, with everything that can be asked about it; errors as for :meth:`find_session`."""
        from apex_pipeline.catalog.session import RaceSession  # noqa: PLC0415  -- many read tables only

        return RaceSession(self, self.find_session(track, session))

    def simulated_lap(self, race_id: str, number: int | None = None) -> "SimulatedLap":
        """Return a lap of a race of Automobilista 2, to be compared with a real one: ``lap.compare(simulated)``.

        Args:
            race_id: The race, as ``apex race list`` shows it; its tables are in this lake, or in ``AMS2_BUCKET_NAME``.
            number: The game's number of the lap; by default the best valid one.

        Raises:
            ConfigurationError: The race has no such lap from line to line.
            ObjectMissingError: There is no such race.
        """
        from apex_pipeline.catalog.simulated_lap import find_lap, place_of, simulated_lap  # noqa: PLC0415  -- rare

        store = self._store
        if self.settings.use_s3_data and self.settings.ams2_bucket != self.settings.bucket:
            store = open_race_store(self.settings)
        row = find_lap(store, race_id, number)
        try:
            track = self.find_track(place_of(row)[0])
        except ConfigurationError:  # no session of this lake was driven there
            track = None
        return simulated_lap(store, row, track)

    def snapshots(self, *, limit: int | None = None, frame: FrameKind = "pandas") -> Frame:
        """Return what was published when, the newest first: each can be opened with ``as_of``.

        Args:
            limit: Only the newest ones.
            frame: ``pandas`` or ``arrow``.

        Returns:
            A row for each snapshot that is still there, with the sessions it added, changed and removed.
        """
        found = history_table(islice(published_history(self._store, self._current), limit))
        place = found.schema.get_field_index("published_utc")
        times = found["published_utc"].cast(pa.timestamp("ms", tz="UTC"))
        return as_frame(found.set_column(place, "published_utc", times), frame)

    def diff(self, old: "Catalog | date | str", *, frame: FrameKind = "pandas") -> Frame:
        """Return what this snapshot publishes differently from another one of this lake.

        Args:
            old: The other one: a catalog, or a time, a date or an id as for :func:`open_catalog`.
            frame: ``pandas`` or ``arrow``.

        Returns:
            A row for each table that differs; nothing before means that it was added.

        Raises:
            ConfigurationError: As for :func:`open_catalog`.
            ObjectMissingError: Nothing was published at that time.
        """
        other = old.snapshot if isinstance(old, Catalog) else snapshot_as_of(self._store, old, self._current)
        return as_frame(differences_table(other, self.snapshot), frame)

    def sql(self, query: str, parameters: Sequence[Value] = (), *, frame: FrameKind = "pandas") -> Frame:
        """Return the rows that a query selects from the tables of this snapshot, of all sessions; needs DuckDB.

        It may use ``APEX_MEMORY_LIMIT`` (1 GB), and its answer may have as much. It sees no file but the lake's.

        Args:
            query: One ``select`` from any table of docs/tables.md, by its name.
            parameters: Values for the ``?`` of the query.
            frame: ``pandas`` or ``arrow``.

        Raises:
            ConfigurationError: It is not one ``select``, names something that is not there, wants a file, or needs
                more memory.
            MissingExtraError: DuckDB is not installed; the message says how to install it.
        """
        known = [*all_tables(), REJECTS.name]
        return as_frame(run_sql(query, parameters, known, self._sql_table, self.settings.memory_limit), frame)

    def _sql_table(self, name: str) -> object:
        """Return a table over all sessions, telemetry as a data set that is read in parts; ``None`` if none has it."""
        if name == TELEMETRY.name:
            return self.telemetry_reader.dataset(self.find_keys())
        is_known = name in {REJECTS.name, *(table.name for table in CATALOG_TABLES)}
        return self.table_arrow(name) if is_known or self._tables.any_has(name) else None

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
