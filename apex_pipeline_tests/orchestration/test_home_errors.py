"""A Dagster home that cannot be used is a problem with a next step, whatever Dagster raises for it."""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from apex_pipeline.errors import ConfigurationError
from apex_pipeline.orchestration.home_errors import home_error, using_home
from apex_pipeline.orchestration.instance import open_instance
from apex_pipeline.storage.temp_dirs import DiskSpace

_DATABASES = ["history/runs.db", "history/runs/index.db", "schedules/schedules.db"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that a sync has used."""
    folder = tmp_path / "home"
    monkeypatch.setenv("DAGSTER_HOME", str(folder))  # set by open_instance, restored after the test
    with open_instance(folder):
        pass
    return folder


def _problem(home: Path) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught, open_instance(home):
        pytest.fail("it opened")
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (b": : [", "is not valid YAML (line 1)"),
        (b"\xff\xfe\x00", "is not valid YAML"),
        (b"- a list", "dagster.yaml"),
        (b"no_such_key: 1", "no_such_key"),
        (b"telemetry: {enabled: maybe}", "enabled"),
        (b"storage: {postgres: {postgres_url: {env: NO_SUCH}}}", "dagster.yaml"),
    ],
)
def test_a_configuration_that_dagster_does_not_accept_is_named(home: Path, text: bytes, named: str) -> None:
    (home / "dagster.yaml").write_bytes(text)
    assert named in _problem(home).problem


@pytest.mark.parametrize("database", _DATABASES)
@pytest.mark.parametrize(
    "damage", [b"\x07" * 50_000, b"SQLite format 3\x00" + b"\xff" * 6_000], ids=["garbage", "header"]
)
def test_a_damaged_database_is_named(home: Path, database: str, damage: bytes) -> None:
    for suffix in ("-wal", "-shm"):
        (home / f"{database}{suffix}").unlink(missing_ok=True)
    (home / database).write_bytes(damage)
    error = _problem(home)
    assert str(home / database) in error.problem
    assert "The lake does not depend on it." in error.hint


@pytest.mark.parametrize("database", _DATABASES)
def test_a_folder_in_place_of_a_database_is_a_problem(home: Path, database: str) -> None:
    (home / database).unlink()
    (home / database).mkdir()
    assert f"{database} is a folder" in _problem(home).problem


def test_a_database_of_another_schema_is_a_problem(home: Path) -> None:
    with sqlite3.connect(home / "history" / "runs.db") as connection:
        connection.execute("ALTER TABLE runs RENAME COLUMN status TO state")
    connection.close()
    assert "does not fit this version of Dagster" in _problem(home).problem


def test_a_file_in_place_of_the_home_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for home in (tmp_path / "file", tmp_path / "file" / "home"):
        assert f"{tmp_path / 'file'} is a file" in _problem(home).problem


def test_a_folder_in_place_of_the_configuration_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").mkdir()
    assert "dagster.yaml is a folder" in _problem(tmp_path).problem


def test_the_home_of_an_unknown_user_is_a_problem() -> None:
    assert "names a user that does not exist" in _problem(Path("~no-such-user/home")).problem


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_home_without_permission_is_a_problem(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "Permission denied" in _problem(tmp_path / "home").problem


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ("database or disk is full", "is on a full disk"),
        ("attempt to write a readonly database", "cannot be written"),
        ("unable to open database file", "cannot be written"),
        ("database is locked", "is locked by another program"),
        ("disk I/O error", "the disk reports an error"),
        ("something new", "cannot be used (something new)"),
    ],
)
def test_an_error_of_the_database_during_a_run_is_translated(tmp_path: Path, message: str, problem: str) -> None:
    def insert() -> None:
        raise OperationalError("INSERT", {}, sqlite3.OperationalError(message))

    with pytest.raises(ConfigurationError) as caught, using_home(tmp_path):
        insert()
    assert problem in caught.value.problem
    assert str(tmp_path) in caught.value.problem


def test_an_error_of_a_disk_without_space_says_that_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = DiskSpace(tmp_path, 4096)
    monkeypatch.setattr("apex_pipeline.orchestration.home_errors.disk_space", lambda _: full)
    error = OperationalError("INSERT", {}, sqlite3.OperationalError("disk I/O error"))
    assert "is on a full disk" in home_error(tmp_path, error).problem


@pytest.mark.parametrize(
    "raised", [lambda: OSError(28, "No space left on device"), lambda: ConfigurationError("A lake.", "Mend it.")]
)
def test_errors_of_the_lake_are_not_blamed_on_the_home(tmp_path: Path, raised: Callable[[], Exception]) -> None:
    error = raised()
    with pytest.raises(type(error)) as caught, using_home(tmp_path):
        raise error
    assert caught.value is error


@pytest.mark.parametrize("number", [28, 13, 5])
def test_an_error_of_the_operating_system_names_the_home(tmp_path: Path, number: int) -> None:
    assert str(tmp_path) in home_error(tmp_path, OSError(number, os.strerror(number))).problem
