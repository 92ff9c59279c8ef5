"""Writes what was read from a recording into the store: three Parquet tables, and a numpy file per published lap.

The names and the bytes depend only on the race and the parser, so an attempt that is repeated writes the same again.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from apex_pipeline.errors import SchemaViolationError
from apex_pipeline.races.lap_files import lap_file, lap_uuid
from apex_pipeline.races.models import Lap
from apex_pipeline.sources.ams2.recording import Recording
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import lap_file_key, race_folder, race_table_key
from apex_pipeline.tables.model import ZSTD_LEVEL, Table
from apex_pipeline.tables.races import AMS2_TABLES, RACE_LAPS, RACE_SAMPLES, RACE_TIMING, with_race_id

_LAPS_FOLDER: Final = "laps/"


def write_results(
    store: ObjectStore, race_id: str, recording: Recording, temp_dir: Path, still_owned: Callable[[str], None]
) -> tuple[Lap, ...]:
    """Write the tables and lap files of a race, and return the rows of its published laps.

    Args:
        store: The store of races.
        race_id: The race.
        recording: What was read.
        temp_dir: Folder for temporary files.
        still_owned: Called before every write with what is being written; raises if another attempt took over.

    Raises:
        SchemaViolationError: A table does not match its schema; none is written.
    """
    tables = {
        table: with_race_id(table, rows, race_id)
        for table, rows in (
            (RACE_LAPS, recording.laps),
            (RACE_SAMPLES, recording.samples),
            (RACE_TIMING, recording.timing),
        )
    }
    for table, rows in tables.items():
        _require_valid(table, rows)
    for table, rows in tables.items():
        still_owned(f"writing {table.name}")
        _write_table(store, table, rows, race_id, temp_dir)
    return tuple(_write_laps(store, race_id, tables[RACE_LAPS], tables[RACE_SAMPLES], still_owned))


def remove_stale_laps(store: ObjectStore, race_id: str, laps: tuple[Lap, ...]) -> None:
    """Remove the lap files of an earlier parser that are not those of a lap any more."""
    present = {lap_file_key(race_id, lap.lap_uuid) for lap in laps}
    for item in list(store.list(race_folder(race_id) + _LAPS_FOLDER)):
        if item.key not in present:
            store.delete(item.key)


def remove_race_objects(store: ObjectStore, race_id: str, *, keep_blob: bool = False) -> int:
    """Remove every object of a race, and return how many there were.

    Args:
        store: The store of races.
        race_id: The race.
        keep_blob: Keep what was uploaded, and remove only what was made of it.
    """
    folder = race_folder(race_id)
    prefixes = [folder + _LAPS_FOLDER if keep_blob else folder]
    prefixes += [race_table_key(table.name, race_id).rpartition("/")[0] + "/" for table in AMS2_TABLES]
    keys = [item.key for prefix in prefixes for item in store.list(prefix)]
    for key in keys:
        store.delete(key)
    return len(keys)


def _require_valid(table: Table, rows: pa.Table) -> None:
    problems = table.violations(rows)
    if problems:
        raise SchemaViolationError(
            f"The table {table.name} does not match its schema: {'; '.join(problems[:5])}.",
            "This is a bug in the parser; please report it with the recording.",
        )


def _write_table(store: ObjectStore, table: Table, rows: pa.Table, race_id: str, temp_dir: Path) -> None:
    with tempfile.TemporaryDirectory(dir=temp_dir) as folder:
        path = Path(folder, f"{table.name}.parquet")
        with pq.ParquetWriter(path, rows.schema, compression="zstd", compression_level=ZSTD_LEVEL) as writer:
            # A row group per lap: a reader of one lap reads nothing else.
            for part in _laps_of(rows) if table is RACE_SAMPLES else [rows]:
                writer.write_table(part)
        store.write_file(race_table_key(table.name, race_id), path)


def _laps_of(samples: pa.Table) -> Iterator[pa.Table]:
    """Yield the samples of each lap; they are sorted by lap."""
    for start, stop in _bounds(samples):
        yield samples.slice(start, stop - start)


def _bounds(samples: pa.Table) -> list[tuple[int, int]]:
    index = samples.column("lap_index").to_numpy()
    starts = np.flatnonzero(np.diff(index, prepend=-1))
    return list(zip(starts.tolist(), [*starts[1:].tolist(), len(index)], strict=True)) if len(index) else []


def _write_laps(
    store: ObjectStore, race_id: str, laps: pa.Table, samples: pa.Table, still_owned: Callable[[str], None]
) -> Iterator[Lap]:
    index = samples.column("lap_index").to_numpy()
    published = [row for row in laps.to_pylist() if row["is_published"]]
    for position, row in enumerate(published, start=1):
        still_owned(f"writing lap {position} of {len(published)}")
        start, stop = np.searchsorted(index, [row["lap_index"], row["lap_index"] + 1]).tolist()
        uuid = lap_uuid(race_id, row["lap_index"])
        key = lap_file_key(race_id, uuid)
        store.write_bytes(key, lap_file(samples.slice(start, stop - start)))
        yield Lap(
            lap_uuid=uuid,
            race_id=race_id,
            lap_number=row["lap_number"],
            lap_index=row["lap_index"],
            processed_data_path=store.uri_of(key),
            kind=row["kind"],
            is_valid=row["is_valid"],
            lap_time_s=row["lap_time_s"],
        )
