"""The catalog: opens a lake and reads its published tables, with pandas and pyarrow only.

All reads are from one snapshot, whose parts are read when they are needed: the table of a session takes the pointer,
the snapshot, one shard, the session's record and the table's object. Files are checked against the snapshot's hashes.
This package never writes to the lake or imports Dagster.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from apex_pipeline.catalog.selection import LapTimes, clip, lap_times, resolve_vehicle
from apex_pipeline.catalog.telemetry_file import Footer, Window, read_footer, read_windows
from apex_pipeline.errors import ConfigurationError, ObjectMissingError, did_you_mean
from apex_pipeline.lake.catalog_tables import CatalogTables
from apex_pipeline.lake.history import snapshot_as_of
from apex_pipeline.lake.names import find_session, find_sessions, find_track
from apex_pipeline.lake.objects import read_table_file, table_file_key
from apex_pipeline.lake.published_session import PublishedSession, TableRecord
from apex_pipeline.lake.reconciliation import read_counts
from apex_pipeline.lake.snapshot import Snapshot
from apex_pipeline.lake.tables import require_session, require_snapshot
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.factory import open_store, open_store_at
from apex_pipeline.tables import REJECTS, is_rejects_table
from apex_pipeline.tables.session_key import SessionKey

if TYPE_CHECKING:  # takes 0.5 s, and only callers that get a frame need it
    import pandas as pd

# The first columns of every telemetry result: car and time.
_SAMPLE_COLUMNS = ("vehicle_id", "sample_time_utc", "repeat", "lap_number")

# A published file never changes, so cached reads stay valid. The cache holds the tables, lap times and footers of the
# last few sessions: tables of up to 1 MB on disk (60 kB for the laps of a race), and footers of about 60 kB.
_CACHE_ENTRIES = 32
_SMALL_BYTES = 1_000_000


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
        self._tables = CatalogTables(self.snapshot, is_current=self.snapshot == current)
        self._small_table: Callable[[TableRecord], pa.Table] = lru_cache(_CACHE_ENTRIES)(
            partial(read_table_file, store)
        )
        self._footer: Callable[[TableRecord], Footer] = lru_cache(_CACHE_ENTRIES)(partial(read_footer, store))
        self._lap_times: Callable[[TableRecord], LapTimes] = lru_cache(_CACHE_ENTRIES)(
            lambda record: lap_times(read_table_file(store, record))
        )

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

    def list_arrow(self, name: str) -> pa.Table:
        """Return the table ``files``, ``tracks`` or ``sessions`` as an Arrow table."""
        table: pa.Table = getattr(self._tables, name)
        return table

    def tracks(self) -> "pd.DataFrame":
        """Return the table ``tracks``."""
        return self.list_arrow("tracks").to_pandas()

    def sessions(self) -> "pd.DataFrame":
        """Return the table ``sessions``; in the published snapshot also those whose tables could not be derived."""
        return self.list_arrow("sessions").to_pandas()

    def files(self) -> "pd.DataFrame":
        """Return the table ``files``; in the published snapshot also the files that belong to no session."""
        return self.list_arrow("files").to_pandas()

    def laps(self, track: str, session: str) -> "pd.DataFrame":
        """Return the laps of a session for all cars, including invalid ones (see ``is_valid``)."""
        return self.table("laps", track, session)

    def cars(self, track: str, session: str) -> "pd.DataFrame":
        """Return every device and every official car of the session, which of them match, and the evidence."""
        return self.table("cars", track, session)

    def quality(self, track: str, session: str) -> "pd.DataFrame":
        """Return the quality scores of the session and its cars, 0 to 100, each with an explanation."""
        return self.table("quality", track, session)

    def telemetry_cars(self, track: str, session: str) -> "pd.DataFrame":
        """Return the clock correction and the telemetry statistics of each car."""
        return self.table("telemetry_cars", track, session)

    def session_note(self, track: str, session: str) -> str:
        """Return a summary of the session in a few sentences; empty if its source writes none."""
        if "quality" not in self._session(track, session).tables:
            return ""
        scores = self.table_arrow("quality", track, session).select(["scope", "measure", "sentence"]).to_pylist()
        notes = [row["sentence"] for row in scores if (row["scope"], row["measure"]) == ("session", "overall")]
        return notes[0] if notes else ""

    def official_laps(self, track: str, session: str) -> "pd.DataFrame":
        """Return the laps of official timing."""
        return self.table("official_laps", track, session)

    def results(self, track: str, session: str) -> "pd.DataFrame":
        """Return the classification; use the rows where ``is_final`` is true."""
        return self.table("results", track, session)

    def weather(self, track: str, session: str) -> "pd.DataFrame":
        """Return the weather readings."""
        return self.table("weather", track, session)

    def rejects(self, track: str, session: str) -> "pd.DataFrame":
        """Return every rejected row of the session's raw files, with its reason."""
        return self.rejects_arrow(track, session).to_pandas()

    def rejects_arrow(self, track: str, session: str) -> pa.Table:
        """Return every rejected row of the session's raw files as an Arrow table."""
        record = self._session(track, session)
        tables = [self._arrow(table) for name, table in record.tables.items() if is_rejects_table(name)]
        return pa.concat_tables([table.replace_schema_metadata(None) for table in (REJECTS.empty(), *tables)])

    def rejected_rows(self, track: str, session: str) -> int:
        """Return the number of rejected rows of the session's raw files, without reading any table."""
        record = self._session(track, session)
        return sum(table.rows for name, table in record.tables.items() if is_rejects_table(name))

    def table(self, name: str, track: str, session: str) -> "pd.DataFrame":
        """Return one table of a session by name.

        Raises:
            ObjectMissingError: The session is not published.
            ConfigurationError: The lake has no such track.
        """
        return self.table_arrow(name, track, session).to_pandas()

    def table_arrow(self, name: str, track: str, session: str) -> pa.Table:
        """Return one table of a session by name as an Arrow table; errors as for :meth:`table`."""
        return self._arrow(self._record(name, track, session))

    def rows(self, name: str, track: str, session: str) -> int:
        """Return the number of rows of a table without reading it."""
        return self._record(name, track, session).rows

    def telemetry_counts(self, track: str, session: str) -> dict[str, int]:
        """Return the reconciliation of the session's readings; empty if the file does not record it.

        ``readings_in`` always equals ``cells_out`` + ``exact_duplicates`` + ``rejected``.
        """
        key = table_file_key(self._store, self._record("telemetry", track, session))
        with self._store.open_seekable(key) as stream:
            return read_counts(stream) or {}

    def telemetry(
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
    ) -> "pd.DataFrame":
        """Return telemetry sorted by car and time, reading only the row groups and columns that are needed.

        Args:
            track: Track slug.
            session: Session.
            vehicle_id: One car, by the vehicle_id of its device; by default all cars.
            car_number: One car, by its number in ``cars``, with or without ``#``: 03 is not 3.
            lap_number: One lap, as numbered in ``laps``; without a car, that lap of every car. It is selected by its
                start (inclusive) and end (exclusive) there, not by the device's lap counter.
            start_utc: Only samples at or after this time; timezone-aware.
            end_utc: Only samples before this time; timezone-aware.
            channels: Columns to read in addition to car, time, repeat and lap; by default all.

        Returns:
            The samples sorted by car and time; no rows if the car sent nothing during that time.

        Raises:
            ObjectMissingError: The session is not published.
            ConfigurationError: There is no such car, lap or channel (the message lists the existing ones), several cars
                have the number, the lap has no start or end in UTC, or a time has no time zone.
            StoreCorruptionError: The file is damaged.
        """
        return self.telemetry_arrow(
            track,
            session,
            vehicle_id=vehicle_id,
            car_number=car_number,
            lap_number=lap_number,
            start_utc=start_utc,
            end_utc=end_utc,
            channels=channels,
        ).to_pandas()

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
        record = self._record("telemetry", track, session)
        footer = self._footer(record)
        _require_columns(channels or (), footer.columns)
        columns = [*_SAMPLE_COLUMNS, *(name for name in channels if name not in _SAMPLE_COLUMNS)] if channels else None
        car = None
        if vehicle_id is not None or car_number is not None:
            number = None if car_number is None else str(car_number).removeprefix("#")
            car = self._vehicle_id(track, session, footer, vehicle_id, number)
        windows = [clip(window, start_utc, end_utc) for window in self._lap_windows(track, session, car, lap_number)]
        return read_windows(self._store, record, footer, windows, columns)

    def _vehicle_id(
        self, track: str, session: str, footer: Footer, vehicle_id: str | None, car_number: str | None
    ) -> str:
        if car_number is None and vehicle_id in footer.cars:
            return str(vehicle_id)
        # A device may have sent telemetry but no lap triggers, or the other way round.
        numbers: dict[str, str | None] = dict.fromkeys(footer.cars)
        cars = self.table_arrow("cars", track, session)
        pairs = zip(cars["vehicle_id"].to_pylist(), cars["car_number"].to_pylist(), strict=True)
        numbers |= {vehicle: number for vehicle, number in pairs if vehicle is not None}
        return resolve_vehicle(numbers, f"{track}/{session}", vehicle_id=vehicle_id, car_number=car_number)

    def _lap_windows(self, track: str, session: str, car: str | None, lap_number: int | None) -> list[Window]:
        if lap_number is None:
            return [Window(car)]
        laps = self._lap_times(self._record("laps", track, session))
        return laps.lap_windows(lap_number) if car is None else [Window(car, *laps.lap_span(car, lap_number))]

    def _session(self, track: str, session: str) -> PublishedSession:
        return require_session(self.snapshot, self.find_session(track, session))

    def _record(self, name: str, track: str, session: str) -> TableRecord:
        record = self._session(track, session)
        if name in record.tables:
            return record.tables[name]
        guess = did_you_mean(name, record.tables)
        raise ObjectMissingError(
            f"The session {record.key} was published without the table {name}.",
            f"Run a sync to derive the session again. {guess}Its tables are: {', '.join(sorted(record.tables))}.",
        )

    def _arrow(self, record: TableRecord) -> pa.Table:
        return self._small_table(record) if record.bytes <= _SMALL_BYTES else read_table_file(self._store, record)


def _require_columns(wanted: Sequence[str], columns: Sequence[str]) -> None:
    missing = [name for name in wanted if name not in columns]
    if missing:
        raise ConfigurationError(f"The session has no channel {', '.join(missing)}.", f"It has: {', '.join(columns)}.")
