"""Open a lake and read what is published, with pandas and pyarrow only.

Everything read is the state of one snapshot: the files named there are checked by hash, and one that a later sync has
replaced is taken from ``history/``. Here belongs reading; nothing in this package writes or knows Dagster.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from apex_pipeline.errors import ConfigurationError, ObjectMissingError
from apex_pipeline.lake.conservation import read_counts
from apex_pipeline.lake.published import published_key, read_published, require_session, require_snapshot
from apex_pipeline.lake.snapshot import Snapshot, TableRecord
from apex_pipeline.schemas import REJECT_TABLES
from apex_pipeline.session_key import SessionKey, session_key
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline.storage.contract import ObjectStore
from apex_pipeline.storage.opening import open_store, open_store_at

# Columns every answer about telemetry starts with: which car and when.
_SAMPLE_COLUMNS = ("vehicle_id", "sample_time_utc", "repeat", "lap_number")


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
    """A lake as published at one moment."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.snapshot: Snapshot = require_snapshot(store)

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
        """Return what there is to know about a session, in a few plain sentences."""
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
        tables = [self._arrow(self._record(table.name, track, session)) for table in REJECT_TABLES]
        return pa.concat_tables([table.replace_schema_metadata(None) for table in tables]).to_pandas()

    def table(self, name: str, track: str, session: str) -> pd.DataFrame:
        """Return one table of a session by name.

        Raises:
            ObjectMissingError: The session is not published.
            ConfigurationError: Track or session are no valid names.
        """
        return self._arrow(self._record(name, track, session)).to_pandas()

    def rows(self, name: str, track: str, session: str) -> int:
        """Return the number of rows of a table without reading it."""
        return self._record(name, track, session).rows

    def telemetry_counts(self, track: str, session: str) -> dict[str, int]:
        """Return what became of the session's readings.

        ``readings_in`` is ``cells_out`` + ``exact_duplicates`` + ``rejected``, always.
        """
        with self._store.open_random(published_key(self._store, self._record("telemetry", track, session))) as stream:
            return read_counts(stream) or {}

    def telemetry(
        self,
        track: str,
        session: str,
        *,
        vehicle_id: str | None = None,
        lap_number: int | None = None,
        channels: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """Return telemetry, reading only the row groups and columns asked for.

        Args:
            track: Track slug.
            session: Session.
            vehicle_id: One car; all cars without it.
            lap_number: One lap, as numbered in ``laps``.
            channels: Columns to read beside car, time and lap; all without it.

        Raises:
            ObjectMissingError: The session is not published.
            ConfigurationError: There is no such channel in this session.
        """
        key = published_key(self._store, self._record("telemetry", track, session))
        columns = [*_SAMPLE_COLUMNS, *(name for name in channels if name not in _SAMPLE_COLUMNS)] if channels else None
        with self._store.open_random(key) as stream, pq.ParquetFile(stream) as file:
            _require_columns(columns or [], file.schema_arrow)
            groups = _row_groups_of(file, vehicle_id)
            table = file.read_row_groups(groups, columns=columns)
        if vehicle_id is not None:
            table = table.filter(pc.equal(table["vehicle_id"].cast(pa.string()), vehicle_id))
        if lap_number is not None:
            table = table.filter(pc.equal(table["lap_number"], lap_number))
        return table.to_pandas()

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
        return read_published(self._store, record)


def _require_columns(wanted: Sequence[str], schema: pa.Schema) -> None:
    missing = [name for name in wanted if name not in schema.names]
    if missing:
        raise ConfigurationError(
            f"The session has no channel {', '.join(missing)}.", f"It has: {', '.join(schema.names)}."
        )


def _row_groups_of(file: pq.ParquetFile, vehicle_id: str | None) -> list[int]:
    """Return the row groups that may hold a car, by the statistics in the footer."""
    if vehicle_id is None:
        return list(range(file.num_row_groups))
    index = file.schema_arrow.get_field_index("vehicle_id")
    chosen: list[int] = []
    for group in range(file.num_row_groups):
        statistics = file.metadata.row_group(group).column(index).statistics
        if statistics is None or not statistics.has_min_max or statistics.min <= vehicle_id <= statistics.max:
            chosen.append(group)
    return chosen


__all__ = ["Catalog", "open_catalog"]
