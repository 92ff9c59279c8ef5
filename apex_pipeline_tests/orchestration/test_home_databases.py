"""Databases of a Dagster home that a killed process did not finish are created again; others are left alone."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from filelock import FileLock

from apex_pipeline.orchestration import home_databases
from apex_pipeline.orchestration.home_databases import DATABASES, existing_databases, without_unfinished_databases
from apex_pipeline.orchestration.instance import open_instance


@pytest.fixture
def home(tmp_path: Path) -> Path:
    with open_instance(tmp_path):
        pass
    return tmp_path


def _cut_off(database: Path, *statements: str) -> None:
    """Replace a database by one that has only these tables, as a kill leaves it."""
    for ending in ("", "-wal", "-shm"):
        database.with_name(database.name + ending).unlink(missing_ok=True)
    database.touch()
    if statements:
        with closing(sqlite3.connect(database)) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()


@pytest.mark.parametrize("name", DATABASES)
@pytest.mark.parametrize("statements", [(), ("CREATE TABLE event_logs (id INTEGER)", "CREATE TABLE runs (id INTEGER)")])
def test_a_database_whose_creation_was_killed_is_created_again(home: Path, name: str, statements: tuple[str]) -> None:
    _cut_off(home / name, *statements)
    with open_instance(home) as instance:
        instance.add_dynamic_partitions("sessions", ["spa/R1"])
        assert instance.get_runs_count() == 0
    assert all(database.stat().st_size for database in existing_databases(home))


def test_a_finished_database_keeps_its_rows(home: Path) -> None:
    with open_instance(home) as instance:
        instance.add_dynamic_partitions("sessions", ["spa/R1"])
    with open_instance(home) as instance:
        assert instance.get_dynamic_partitions("sessions") == ["spa/R1"]


def test_a_damaged_database_is_left_for_the_message(home: Path) -> None:
    (home / DATABASES[0]).write_bytes(b"not a database" * 100)
    with without_unfinished_databases(home):
        assert (home / DATABASES[0]).read_bytes().startswith(b"not a database")


def test_an_empty_file_with_a_journal_is_left_alone(home: Path) -> None:
    _cut_off(home / DATABASES[0])
    (home / f"{DATABASES[0]}-journal").write_bytes(b"x")
    with without_unfinished_databases(home):
        assert (home / DATABASES[0]).exists()


def test_a_home_that_another_process_opens_for_long_is_not_touched(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _cut_off(home / DATABASES[0])
    monkeypatch.setattr(home_databases, "_LONGEST_WAIT_S", 0.1)
    with FileLock(home / ".opening.lock", is_singleton=False), without_unfinished_databases(home):
        assert (home / DATABASES[0]).exists()
