"""Databases stay open, as many as allowed, whatever happens to their files and to the process."""

import gc
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest
from sqlalchemy import text

from apex_pipeline.orchestration import kept_engines
from apex_pipeline.orchestration.kept_engines import KeptEngines


def test_what_is_written_after_a_database_was_replaced_is_in_the_new_one(tmp_path: Path) -> None:
    database = tmp_path / "any.db"
    engines = KeptEngines()

    def write(value: int) -> None:
        engine, _ = engines.engine(str(database))
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE IF NOT EXISTS t (x INTEGER)"))
            connection.execute(text("INSERT INTO t VALUES (:x)"), {"x": value})

    write(1)
    write(2)
    database.unlink()
    write(3)
    engines.close()
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT x FROM t").fetchall() == [(3,)]


def test_no_more_databases_stay_open_than_allowed(tmp_path: Path) -> None:
    engines = KeptEngines(2)
    paths = [str(tmp_path / f"{number}.db") for number in range(5)]
    for path in paths:
        engine, is_new = engines.engine(path)
        assert is_new
        with engine.connect():
            pass
    assert {path for path in paths if Path(path) in _open_files()} == set(paths[-2:])
    engines.close()
    assert not {Path(path) for path in paths} & _open_files()


def _open_files() -> set[Path]:
    return set(_descriptors())


def _descriptors() -> Iterator[Path]:
    """Yield the file of each open descriptor."""
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # that of the listing itself
            yield descriptor.readlink()


def test_a_forked_process_opens_its_own_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engines = KeptEngines()
    engine, _ = engines.engine(str(tmp_path / "any.db"))
    with engine.connect():
        pass
    monkeypatch.setattr(kept_engines.os, "getpid", lambda: -1)
    forked, is_new = engines.engine(str(tmp_path / "any.db"))
    assert is_new
    assert forked is not engine
    engines.close()


def test_a_forked_process_closes_nothing_that_it_inherited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engines = KeptEngines(2)
    inherited = {tmp_path / f"{number}.db" for number in range(2)}
    for path in inherited:
        with engines.engine(str(path))[0].connect():
            pass
    monkeypatch.setattr(kept_engines.os, "getpid", lambda: -1)
    for number in range(2, 5):  # more than stay open
        with engines.engine(str(tmp_path / f"{number}.db"))[0].connect():
            pass
    engines.close()
    gc.collect()
    assert inherited <= _open_files()


def test_connections_are_not_limited_because_dagster_nests_them(tmp_path: Path) -> None:
    engine, _ = KeptEngines().engine(str(tmp_path / "any.db"))
    with ExitStack() as open_ones:
        for _ in range(40):
            open_ones.enter_context(engine.connect()).execute(text("SELECT 1"))
    assert sum(path.name == "any.db" for path in _descriptors()) <= 5
    engine.dispose()
