"""A publisher that publishes one state of a lake after the other, until it is killed.

    python -m apex_pipeline_tests.e2e.publisher LAKE [--rounds N]

A round publishes each session once, with tables of the next generation. Its number is in ``source_row`` of every row
and in the version of the session's files, and the number of laps depends on it. So an answer tells of which generation
each part of it is. Each session goes the way it goes in a sync: raw file, record, objects, list of derived tables,
published record, shard, snapshot, pointer, stable names; and after a round the roll-ups. A publisher goes on where the
one before was killed: with the first session that is a generation behind.
"""

import argparse
import itertools
import sys
import time
from datetime import UTC, datetime, timedelta

from apex_pipeline.lake.publication import publish_session
from apex_pipeline.lake.snapshot import read_current
from apex_pipeline.settings import load_settings
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.factory import open_store
from apex_pipeline.storage.leases import held
from apex_pipeline.tables import LAPS, RESULTS
from apex_pipeline.tables.model import Row
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.lake.tables import derive_tables, parquet_bytes, renew_roll_ups

SESSIONS = tuple(SessionKey("spa", f"R{number}") for number in range(1, 5))
# Lines of a file are counted from its header, line 1.
FIRST_GENERATION = 2
_CARS = ("GR86-001-1", "GR86-002-2")
_FEWEST_LAPS = 40
# As long as a publication takes: half of the kills hit one.
_PAUSE_S = 0.02
# Longer than any heartbeat of a publisher that was killed on this machine.
_LONGEST_WAIT_S = 30.0


def laps_of(generation: int) -> int:
    """Return the number of laps of a session of this generation: another one than of those next to it."""
    return len(_CARS) * (_FEWEST_LAPS + generation % 7)


def publish(store: ObjectStore, key: SessionKey, generation: int, now: datetime) -> None:
    """Publish a session, as the last steps of a sync do."""
    contents = {"laps": _laps(key, generation), "results": _results(key, generation)}
    with held(store, str(key), "publishing", timeout_s=_LONGEST_WAIT_S) as lease:
        record = derive_tables(store, key, f"g{generation}", contents=contents)
        publish_session(store, record, now, lease.require)


def generations(store: ObjectStore) -> dict[SessionKey, int]:
    """Return the published generation of each session."""
    snapshot = read_current(store)
    entries = snapshot.entries if snapshot else {}
    return {key: int(entries[key].inputs_version[1:]) if key in entries else FIRST_GENERATION - 1 for key in SESSIONS}


def _laps(key: SessionKey, generation: int) -> bytes:
    rows: list[Row] = [
        {
            "track": key.track,
            "session": key.session,
            "vehicle_id": car,
            "chassis": car[5:8],
            "lap_number": number,
            "lap_time_s": 100.0 + number,
            "is_valid": True,
            "flags": [],
            "source_file": f"{key.session}.csv",
            "source_row": generation,
        }
        for car in _CARS
        for number in range(1, laps_of(generation) // len(_CARS) + 1)
    ]
    return parquet_bytes(LAPS.from_rows(rows))


def _results(key: SessionKey, generation: int) -> bytes:
    rows: list[Row] = [
        {
            "track": key.track,
            "session": key.session,
            "version": "official",
            "is_final": True,
            "position": position,
            "car_number": str(position),
            "source_file": f"{key.session}_results.csv",
            "source_row": generation,
        }
        for position in (1, 2)
    ]
    return parquet_bytes(RESULTS.from_rows(rows))


def main() -> None:
    """Publish until killed, or so many rounds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("lake")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--days-ago", type=int, default=0)
    arguments = parser.parse_args()
    store = open_store(load_settings(lake_dir=arguments.lake), for_writing=True)
    rounds = itertools.count() if arguments.rounds is None else range(arguments.rounds)
    is_ready = False
    for _ in rounds:
        published = generations(store)
        generation = min(published.values()) + 1
        for key in (key for key in SESSIONS if published[key] < generation):
            publish(store, key, generation, datetime.now(UTC) - timedelta(days=arguments.days_ago))
            if not is_ready:
                # The first one imports what the others find imported.
                sys.stdout.write("ready\n")
                sys.stdout.flush()
                is_ready = True
            time.sleep(_PAUSE_S)
        renew_roll_ups(store)


if __name__ == "__main__":
    main()
