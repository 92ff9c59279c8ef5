"""Open a lake and read what is published, with pandas and pyarrow only.

Everything read is the state of one snapshot: the files named there are checked by hash, and one that a later sync has
replaced is taken from ``history/``. Here belongs reading; nothing in this package writes or knows Dagster.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache, partial
from pathlib import Path

import pandas as pd
import pyarrow as pa

from apex_pipeline.catalog.selection import LapTimes, clip, lap_times, resolve_vehicle
from apex_pipeline.catalog.telemetry_file import Footer, Window, read_footer, read_windows
from apex_pipeline.errors import ConfigurationError, ObjectMissingError
from apex_pipeline.lake.reconciliation import read_counts
from apex_pipeline.lake.snapshot import Snapshot, TableRecord
from apex_pipeline.lake.tables import published_key, read_published, require_session, require_snapshot
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.factory import open_store, open_store_at
from apex_pipeline.tables import REJECTS, is_rejects_table
from apex_pipeline.tables.session_key import SessionKey, session_key

# Columns every answer about telemetry starts with: which car and when.
_SAMPLE_COLUMNS = ("vehicle_id", "sample_time_utc", "repeat", "lap_number")

# A published file never changes, so what was read of it holds. Kept are the tables, lap times and footers of the last
# few sessions: tables of up to 1 MB as stored (a race's laps are 60 kB), and footers of about 60 kB.
_KEPT = 32
_SMALL_BYTES = 1_000_000


def open_catalog(uri: str | Path | None = None, settings: Settings | None = None) -> "Catalog":
    """Open a lake for reading.

    Args:
        uri: ``s3://bucket/prefix`` or a folder; without it the lake the settings name.
        settings: Credentials and endpoint; read from the environment when not given.

    Raises:
        ObjectMissingError: Nothing is published in this lake.
        StoreError: The lake cannot be reached with the present configuration.
    """
    settings = settings or load_settings()
    store = open_store_at(str(uri), settings) if uri else open_store(settings, for_writing=False)
    return Catalog(store)


class Catalog:
    """A lake as published at one moment; several threads may read from it.

    Small tables, and where things are in the telemetry files, are read once and kept.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.snapshot: Snapshot = require_snapshot(store)
        self._small_table: Callable[[TableRecord], pa.Table] = lru_cache(_KEPT)(partial(read_published, store))
        self._footer: Callable[[TableRecord], Footer] = lru_cache(_KEPT)(partial(read_footer, store))
        self._lap_times: Callable[[TableRecord], LapTimes] = lru_cache(_KEPT)(
            lambda record: lap_times(read_published(store, record))
        )

    @property
    def uri(self) -> str:
        """Address of the lake."""
        return self._store.uri

    def tracks(self) -> pd.DataFrame:
        """Return the table ``tracks``."""
        return self._catalog_table("tracks")

    def sessions(self) -> pd.DataFrame:
        """Return the table ``sessions``."""
        return self._catalog_table("sessions")

    def files(self) -> pd.DataFrame:
        """Return the table ``files``."""
        return self._catalog_table("files")

    def laps(self, track: str, session: str) -> pd.DataFrame:
        """Return the laps of a session, all cars, invalid ones marked by ``is_valid``."""
        return self.table("laps", track, session)

    def cars(self, track: str, session: str) -> pd.DataFrame:
        """Return who is who: every unit and official car of the session, with the evidence."""
        return self.table("cars", track, session)

    def quality(self, track: str, session: str) -> pd.DataFrame:
        """Return the scores of the session and its cars, 0 to 100 with a sentence each."""
        return self.table("quality", track, session)

    def telemetry_cars(self, track: str, session: str) -> pd.DataFrame:
        """Return the clock corrections and what each car's readings are like."""
        return self.table("telemetry_cars", track, session)

    def session_note(self, track: str, session: str) -> str:
        """Return what there is to know about a session, in a few plain sentences; empty if its source writes none."""
        if "quality" not in require_session(self.snapshot, session_key(track, session)).tables:
            return ""
        quality = self.quality(track, session)
        notes = quality[(quality["scope"] == "session") & (quality["measure"] == "overall")]["sentence"]
        return str(notes.iloc[0]) if len(notes) else ""

    def official_laps(self, track: str, session: str) -> pd.DataFrame:
        """Return the laps of official timing."""
        return self.table("official_laps", track, session)

    def results(self, track: str, session: str) -> pd.DataFrame:
        """Return the classification; ``is_final`` marks the rows to use."""
        return self.table("results", track, session)

    def weather(self, track: str, session: str) -> pd.DataFrame:
        """Return the weather readings."""
        return self.table("weather", track, session)

    def rejects(self, track: str, session: str) -> pd.DataFrame:
        """Return every rejected row of the session's raw files, with its reason."""
        record = require_session(self.snapshot, session_key(track, session))
        tables = [self._arrow(table) for name, table in record.tables.items() if is_rejects_table(name)]
        return pa.concat_tables(
            [table.replace_schema_metadata(None) for table in (REJECTS.empty(), *tables)]
        ).to_pandas()

    def rejected_rows(self, track: str, session: str) -> int:
        """Return the number of rejected rows of the session's raw files without reading them."""
        record = require_session(self.snapshot, session_key(track, session))
        return sum(table.rows for name, table in record.tables.items() if is_rejects_table(name))

    def table(self, name: str, track: str, session: str) -> pd.DataFrame:
        """Return one table of a session by name.

        Raises:
            ObjectMissingError: The session is not published.
            ConfigurationError: Track or session are no valid names.
        """
        return self.table_arrow(name, track, session).to_pandas()

    def table_arrow(self, name: str, track: str, session: str) -> pa.Table:
        """Return one table of a session by name as Arrow table; errors as for :meth:`table`."""
        return self._arrow(self._record(name, track, session))

    def rows(self, name: str, track: str, session: str) -> int:
        """Return the number of rows of a table without reading it."""
        return self._record(name, track, session).rows

    def telemetry_counts(self, track: str, session: str) -> dict[str, int]:
        """Return what became of the session's readings.

        ``readings_in`` is ``cells_out`` + ``exact_duplicates`` + ``rejected``, always.
        """
        with self._store.open_seekable(published_key(self._store, self._record("telemetry", track, session))) as stream:
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
    ) -> pd.DataFrame:
        """Return telemetry by car and time, reading only the row groups and columns asked for.

        Args:
            track: Track slug.
            session: Session.
            vehicle_id: One car, by its unit; all cars without it.
            car_number: One car, by its number in ``cars``, as text: 03 is not 3.
            lap_number: One lap, as numbered in ``laps``; without a car that lap of every car. It is found by its begin
                (within) and end (not within) there, not by the unit's counter.
            start_utc: Only samples from this moment on; aware.
            end_utc: Only samples before this moment; aware.
            channels: Columns to read beside car, time, repeat and lap; all without it.

        Returns:
            The samples by car and time; none where the car sent nothing then.

        Raises:
            ObjectMissingError: The session is not published.
            ConfigurationError: There is no such car, lap or channel (the message tells which there are), several cars
                have the number, the lap has no begin or end in UTC, or a moment has no zone.
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
        """Return telemetry as Arrow table; arguments and errors as for :meth:`telemetry`."""
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
        # A unit may have sent telemetry and no lap trigger, or the other way round.
        numbers: dict[str, str | None] = dict.fromkeys(footer.cars)
        cars = self.table_arrow("cars", track, session)
        pairs = zip(cars["vehicle_id"].to_pylist(), cars["car_number"].to_pylist(), strict=True)
        numbers |= {unit: number for unit, number in pairs if unit is not None}
        return resolve_vehicle(numbers, f"{track}/{session}", vehicle_id=vehicle_id, car_number=car_number)

    def _lap_windows(self, track: str, session: str, car: str | None, lap_number: int | None) -> list[Window]:
        if lap_number is None:
            return [Window(car)]
        laps = self._lap_times(self._record("laps", track, session))
        return laps.lap_windows(lap_number) if car is None else [Window(car, *laps.lap_span(car, lap_number))]

    def _catalog_table(self, name: str) -> pd.DataFrame:
        return self._arrow(self.snapshot.catalog[name]).to_pandas()

    def _record(self, name: str, track: str, session: str) -> TableRecord:
        key: SessionKey = session_key(track, session)
        record = require_session(self.snapshot, key)
        if name not in record.tables:
            raise ObjectMissingError(
                f"The session {key} was published without the table {name}.", "Run a sync: it makes the session again."
            )
        return record.tables[name]

    def _arrow(self, record: TableRecord) -> pa.Table:
        return self._small_table(record) if record.bytes <= _SMALL_BYTES else read_published(self._store, record)


def _require_columns(wanted: Sequence[str], columns: Sequence[str]) -> None:
    missing = [name for name in wanted if name not in columns]
    if missing:
        raise ConfigurationError(f"The session has no channel {', '.join(missing)}.", f"It has: {', '.join(columns)}.")
