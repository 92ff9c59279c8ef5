"""What a lake says at a moment, read by this process, and the properties that hold after every fault."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from apex_pipeline.catalog import open_catalog
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.e2e.machine import Machine


def digest(frame: pd.DataFrame) -> str:
    """Return a digest of a table's rows."""
    return hashlib.sha256(frame.to_json(orient="split", date_format="iso").encode()).hexdigest()


def laps_of(machine: Machine, key: SessionKey) -> str:
    """Return a digest of the published laps of a session."""
    return digest(open_catalog(machine.lake_folder).laps(*key))


def stable_laps_of(machine: Machine, key: SessionKey) -> str:
    """Return a digest of what the stable name of the laps has, as a plain reader sees it."""
    folder = machine.lake_folder / "tables" / "laps" / f"track={key.track}" / f"session={key.session}"
    return digest(pq.ParquetFile(folder / "laps.parquet").read().to_pandas())


def published_sessions(machine: Machine) -> set[SessionKey]:
    return set(open_catalog(machine.lake_folder).snapshot.keys)


def recorded_sessions(machine: Machine) -> set[SessionKey]:
    """Return the sessions in the roll-up, as pandas reads it."""
    rows = pd.read_parquet(machine.lake_folder / "catalog" / "sessions.parquet")
    return {SessionKey(track, session) for track, session in zip(rows["track"], rows["session"], strict=True)}


def misnamed_objects(machine: Machine) -> list[str]:
    """Return the objects whose content is not what their name says."""
    return [path.name for path in _objects(machine) if hashlib.sha256(path.read_bytes()).hexdigest() != path.stem]


def _objects(machine: Machine) -> Iterator[Path]:
    return (machine.lake_folder / "objects").glob("*.parquet")


def assert_whole(machine: Machine, sessions: Iterable[SessionKey]) -> None:
    """Assert that these sessions are published, every table can be read, and nothing in the lake is damaged."""
    keys = set(sessions)
    assert published_sessions(machine) == keys
    assert recorded_sessions(machine) == keys
    for key in keys:
        assert laps_of(machine, key) == stable_laps_of(machine, key)
    assert misnamed_objects(machine) == []
    assert not list((machine.lake_folder / "catalog" / "derived").rglob("*.json"))
    ended = machine.run("verify", "--deep")
    assert (ended.code, ended.has_traceback) == (0, False), ended.out


def pointer_of(machine: Machine) -> str:
    """Return the id of the published snapshot."""
    return json.loads((machine.lake_folder / "catalog" / "current.json").read_text())["snapshot"]
