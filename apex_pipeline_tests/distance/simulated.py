"""Writes a generated recording of Automobilista 2 into a lake as a race, on a track of the lake's length.

The script drives 1.5 km at an even pace, so its lengths are stretched. Laps 1 and 2 are whole, lap 3 is cut.
"""

import io
from functools import cache
from pathlib import Path

import pyarrow as pa

from apex_pipeline import arrow_compute as pc
from apex_pipeline.demo.race_packets import packets, recording
from apex_pipeline.demo.race_script import LapOptions, Script
from apex_pipeline.sources.ams2.recording import Recording, read_recording
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.layout import race_table_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables import RACE_LAPS, RACE_SAMPLES
from apex_pipeline.tables.races import with_race_id
from apex_pipeline_tests.distance.driving import LENGTH_M
from apex_pipeline_tests.lake.tables import parquet_bytes

LAP_TIMES_S = (96.0, 95.25)
SCRIPT_LENGTH_M = 1_500.0


@cache
def _recorded(track: tuple[str, str]) -> Recording:
    script = Script(20.0)
    script.begin_session(5, track)
    script.stand(1.0, pit_mode=0)
    for seconds in LAP_TIMES_S:
        script.lap(seconds)
    script.lap(95.0, LapOptions(until_s=50.0, kind="partial"))
    return read_recording(io.BytesIO(recording(packets(script.frames))))


def add_race(
    lake: Path, race_id: str, track: tuple[str, str] = ("Harbor", "Street Circuit"), length_m: float = LENGTH_M
) -> None:
    """Write the tables of a race on a track of this length."""
    race, scale = _recorded(track), length_m / SCRIPT_LENGTH_M
    laps = _scaled(race.laps, ("track_length_m",), scale)
    samples = _scaled(race.samples, ("lap_distance_m", "speed_mps"), scale)
    store = LocalStore(lake, DigestCache())
    for table, rows in ((RACE_LAPS, laps), (RACE_SAMPLES, samples)):
        store.write_bytes(race_table_key(table.name, race_id), parquet_bytes(with_race_id(table, rows, race_id)))


def _scaled(rows: pa.Table, columns: tuple[str, ...], scale: float) -> pa.Table:
    for name in columns:
        place = rows.schema.get_field_index(name)
        rows = rows.set_column(place, rows.schema.field(place), pc.multiply(rows[name], scale))
    return rows


def remove_samples(lake: Path, race_id: str) -> None:
    """Remove the samples of a race, as while it is being deleted."""
    LocalStore(lake, DigestCache()).delete(race_table_key(RACE_SAMPLES.name, race_id))
