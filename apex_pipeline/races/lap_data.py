"""Reads what was made of a race from the store: the table of its laps, and the samples of one lap."""

import io

import pyarrow as pa
import pyarrow.parquet as pq

from apex_pipeline.errors import ObjectMissingError
from apex_pipeline.races.errors import RaceNotFoundError
from apex_pipeline.races.lap_files import read_lap_file
from apex_pipeline.races.models import Lap
from apex_pipeline.races.services import RaceServices
from apex_pipeline.races.views import require_lap, require_laps
from apex_pipeline.storage.layout import lap_file_key, race_table_key
from apex_pipeline.tables.model import Row
from apex_pipeline.tables.races import RACE_LAPS


def lap_rows(services: RaceServices, race_id: str, *, attempts: bool = False) -> list[Row]:
    """Return the rows of a race's laps, with the id of each published lap.

    Args:
        services: Database and store.
        race_id: The race.
        attempts: Also the runs of the lap clock that are not published as laps.

    Raises:
        RaceNotFoundError: There is no such race.
        RaceNotReadyError: It is being processed, or failed.
    """
    uuids = {lap.lap_index: lap.lap_uuid for lap in require_laps(services.database, race_id)}
    content = _content(services, race_id, race_table_key(RACE_LAPS.name, race_id))
    rows = pq.read_table(io.BytesIO(content)).to_pylist()
    return [{"lap_uuid": uuids.get(row["lap_index"]), **row} for row in rows if attempts or row["lap_index"] in uuids]


def lap_samples(services: RaceServices, race_id: str, lap_number: int) -> tuple[Lap, pa.Table]:
    """Return a published lap and its samples.

    Raises:
        RaceNotFoundError: There is no such race, or no such lap.
        RaceNotReadyError: The race is being processed, or failed.
    """
    lap = require_lap(services.database, race_id, lap_number)
    return lap, read_lap_file(_content(services, race_id, lap_file_key(race_id, lap.lap_uuid)))


def objects_gone(race_id: str) -> RaceNotFoundError:
    """Return the error for objects of a race that are not in the store, as while it is being deleted."""
    return RaceNotFoundError(
        f"What was made of the race {race_id} is gone from the store.",
        "Unless it has just been deleted, `apex race reprocess` makes it again from the uploaded bytes.",
    )


def _content(services: RaceServices, race_id: str, key: str) -> bytes:
    try:
        return services.store.read_bytes(key)
    except ObjectMissingError as error:
        raise objects_gone(race_id) from error
