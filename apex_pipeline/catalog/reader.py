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
from apex_pipeline.errors import ConfigurationError, ObjectMissingError
from apex_pipeline.lake.catalog_tables import CatalogTables
from apex_pipeline.lake.history import snapshot_as_of
from apex_pipeline.lake.objects import read_table_file, table_file_key
from apex_pipeline.lake.published_session import PublishedSession, TableRecord
from apex_pipeline.lake.reconciliation import read_counts
from apex_pipeline.lake.snapshot import Snapshot
from apex_pipeline.lake.tables import require_session, require_snapshot
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.factory import open_store, open_store_at
from apex_pipeline.tables import REJECTS, is_rejects_table
from apex_pipeline.tables.session_key import SessionKey, session_key

if TYPE_CHECKING:  # the import takes a third of a second, which a reader of Arrow tables does not need
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
    return Catalog(store, as_of)


class Catalog:
    """A lake as published at one moment; safe to share between threads.

    Small tables, lap times and the footers of telemetry files are cached.

    Args:
        store: The lake.
        as_of: The moment, as for :func:`open_catalog`; errors too.
    """

    def __init__(self, store: ObjectStore, as_of: datetime | str | None = None) -> None:
        self._store = store
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

    def tracks(self) -> "pd.DataFrame":
        """Return the table ``tracks``."""
        return self._tables.tracks.to_pandas()

    def sessions(self) -> "pd.DataFrame":
        """Return the table ``sessions``; in the published snapshot also those whose tables could not be derived."""
        return self._tables.sessions.to_pandas()

    def files(self) -> "pd.DataFrame":
        """Return the table ``files``; in the published snapshot also the files that belong to no session."""
        return self._tables.files.to_pandas()

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
        if "quality" not in require_session(self.snapshot, session_key(track, session)).tables:
            return ""
        quality = self.quality(track, session)
        notes = quality[(quality["scope"] == "session") & (quality["measure"] == "overall")]["sentence"]
        return str(notes.iloc[0]) if len(notes) else ""

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
        record = require_session(self.snapshot, session_key(track, session))
        tables = [self._arrow(table) for name, table in record.tables.items() if is_rejects_table(name)]
        return pa.concat_tables(
            [table.replace_schema_metadata(None) for table in (REJECTS.empty(), *tables)]
        ).to_pandas()

    def rejected_rows(self, track: str, session: str) -> int:
        """Return the number of rejected rows of the session's raw files, without reading any table."""
        record = require_session(self.snapshot, session_key(track, session))
        return sum(table.rows for name, table in record.tables.items() if is_rejects_table(name))

    def table(self, name: str, track: str, session: str) -> "pd.DataFrame":
        """Return one table of a session by name.

        Raises:
            ObjectMissingError: The session is not published.
            ConfigurationError: Track or session is not a valid name.
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
        car_number: str | None = None,
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
            car_number: One car, by its number in ``cars``, as text: 03 is not 3.
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
        car_number: str | None = None,
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
            car = self._vehicle_id(track, session, footer, vehicle_id, car_number)
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

    def _record(self, name: str, track: str, session: str) -> TableRecord:
        key: SessionKey = session_key(track, session)
        record: PublishedSession = require_session(self.snapshot, key)
        if name not in record.tables:
            raise ObjectMissingError(
                f"The session {key} was published without the table {name}.", "Run a sync to derive the session again."
            )
        return record.tables[name]

    def _arrow(self, record: TableRecord) -> pa.Table:
        return self._small_table(record) if record.bytes <= _SMALL_BYTES else read_table_file(self._store, record)


def _require_columns(wanted: Sequence[str], columns: Sequence[str]) -> None:
    missing = [name for name in wanted if name not in columns]
    if missing:
        raise ConfigurationError(f"The session has no channel {', '.join(missing)}.", f"It has: {', '.join(columns)}.")
