"""The databases of a Dagster home stay open, and answer like Dagster's own, whatever happens to their files."""

import logging
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest
import yaml

from apex_pipeline.orchestration import kept_databases
from apex_pipeline.orchestration.home_configuration import home_configuration, moved_configuration
from apex_pipeline.orchestration.instance import prepare_dagster_home
from apex_pipeline.orchestration.kept_databases import KeptEventLog, KeptRuns, KeptSchedules, fits_dagster
from apex_pipeline.settings import DEFAULT_MEMORY_LIMIT

_SESSIONS = dg.DynamicPartitionsDefinition(name="sessions")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose runs have a database each, as those made before 2026-11-28 have."""
    made = prepare_dagster_home(tmp_path / "home", DEFAULT_MEMORY_LIMIT)
    (made / "dagster.yaml").write_text(_with_a_database_per_run(made))
    return made


def _with_a_database_per_run(home: Path) -> str:
    return home_configuration(home, DEFAULT_MEMORY_LIMIT).replace("      has_one_event_log: true\n", "")


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(home)) as opened:
        yield opened


@dg.asset(partitions_def=_SESSIONS, check_specs=[dg.AssetCheckSpec("complete", asset="checked")])
def checked() -> dg.MaterializeResult:  # pyright: ignore[reportMissingTypeArgument]  -- Dagster reads it as a type
    return dg.MaterializeResult(check_results=[dg.AssetCheckResult(check_name="complete", passed=True)])


def _materialize(instance: dg.DagsterInstance, session: str = "barber/R1") -> str:
    instance.add_dynamic_partitions("sessions", [session])
    return dg.materialize([checked], instance=instance, partition_key=session).run_id


def test_a_home_that_names_it_uses_it(instance: dg.DagsterInstance) -> None:
    assert fits_dagster()
    assert type(instance.event_log_storage) is KeptEventLog
    assert isinstance(instance.run_storage, KeptRuns)
    assert isinstance(instance.schedule_storage, KeptSchedules)


def test_dagsters_own_storage_reads_what_it_wrote_and_the_other_way_round(home: Path) -> None:
    with dg.DagsterInstance.from_config(str(home)) as kept:
        first = _materialize(kept)
    configuration = yaml.safe_load((home / "dagster.yaml").read_text())
    del configuration["storage"]
    (home / "dagster.yaml").write_text(yaml.safe_dump(configuration))
    with dg.DagsterInstance.from_config(str(home)) as stock:
        assert not isinstance(stock.event_log_storage, KeptEventLog)
        assert [event.run_id for event in stock.all_logs(first)] == [first] * len(stock.all_logs(first))
        second = _materialize(stock, "vir/R2")
        assert stock.get_materialized_partitions(dg.AssetKey("checked")) == {"barber/R1", "vir/R2"}
    (home / "dagster.yaml").write_text(_with_a_database_per_run(home))
    with dg.DagsterInstance.from_config(str(home)) as kept:
        assert {run.run_id for run in kept.get_runs()} == {first, second}
        assert len(kept.all_logs(second)) == len(kept.all_logs(first))


def test_the_tables_of_a_second_run_are_those_of_the_first(home: Path, instance: dg.DagsterInstance) -> None:
    runs = [_materialize(instance, session) for session in ("barber/R1", "barber/R2", "vir/R1")]
    schemas = [_schema(home / "history" / "runs" / f"{run}.db") for run in runs]
    assert schemas[0] == schemas[1] == schemas[2]
    assert len(schemas[0]) > 20


def _schema(database: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        return connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()


def test_a_run_takes_small_pages(home: Path, instance: dg.DagsterInstance) -> None:
    runs = [_materialize(instance, session) for session in ("barber/R1", "barber/R2")]
    for run in runs:
        with closing(sqlite3.connect(home / "history" / "runs" / f"{run}.db")) as connection:
            assert connection.execute("PRAGMA page_size").fetchone() == (512,)


def test_the_event_log_of_a_run_that_was_deleted_is_created_again(home: Path, instance: dg.DagsterInstance) -> None:
    run = _materialize(instance)
    for ending in ("", "-wal", "-shm"):
        (home / "history" / "runs" / f"{run}.db{ending}").unlink(missing_ok=True)
    assert instance.all_logs(run) == []


def test_two_processes_create_and_fill_one_home_at_once_without_a_locked_database(tmp_path: Path) -> None:
    home = prepare_dagster_home(tmp_path / "home", DEFAULT_MEMORY_LIMIT)
    program = (
        "import sys, dagster as dg\n"
        "with dg.DagsterInstance.from_config(sys.argv[1]) as instance:\n"
        "    for number in range(40):\n"
        "        instance.add_dynamic_partitions('sessions', [f'{sys.argv[2]}/{number}'])\n"
        "        instance.report_runless_asset_event(dg.AssetObservation('a', partition=f'{sys.argv[2]}/{number}'))\n"
    )
    with dg.DagsterInstance.from_config(str(home)):
        pass
    processes = [
        subprocess.Popen([sys.executable, "-c", program, str(home), name], stderr=subprocess.PIPE, text=True)
        for name in ("one", "two")
    ]
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert len(instance.get_dynamic_partitions("sessions")) == 80


def test_a_dagster_that_it_does_not_fit_gets_its_own_storage_and_a_line_in_the_log(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(kept_databases, "fits_dagster", lambda: False)
    with caplog.at_level(logging.WARNING), dg.DagsterInstance.from_config(str(home)) as instance:
        assert not isinstance(instance.event_log_storage, KeptEventLog)
        _materialize(instance)
    assert "syncs take longer" in caplog.text


def test_a_home_that_was_moved_or_copied_keeps_its_history_to_itself(tmp_path: Path) -> None:
    first = prepare_dagster_home(tmp_path / "a home: with 'signs'", DEFAULT_MEMORY_LIMIT)
    with dg.DagsterInstance.from_config(str(first)) as instance:
        _materialize(instance)
    second = prepare_dagster_home(Path(shutil.copytree(first, tmp_path / "copy")), DEFAULT_MEMORY_LIMIT)
    with dg.DagsterInstance.from_config(str(second)) as instance:
        assert instance.get_runs_count() == 1
        _materialize(instance, "vir/R2")
    with dg.DagsterInstance.from_config(str(first)) as instance:
        assert instance.get_runs_count() == 1


def test_only_its_own_lines_of_a_configuration_follow_the_home(tmp_path: Path) -> None:
    users = "storage:\n  sqlite:\n    base_dir: /elsewhere\n"
    assert moved_configuration(users, tmp_path) == users
    made = home_configuration(tmp_path / "before", DEFAULT_MEMORY_LIMIT)
    assert moved_configuration(made, tmp_path) == made.replace(str(tmp_path / "before"), str(tmp_path))
