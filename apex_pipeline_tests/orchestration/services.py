"""The services of a Dagster installation as processes of their own: code server, daemon and, if wanted, webserver.

``dagster_server.py`` runs what one developer starts with ``apex ui``. Here the code server is a service by itself, as
on a server or in a cluster, so that a test can kill or restart one of them while the others go on.
"""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from apex_pipeline_tests.servers.s3_server import free_ports

# A service manager waits a moment before it starts again what has died.
_RESTART_AFTER_S = 1.0
_ENDS_WITHIN_S = 30.0
_COMMAND_TIMEOUT_S = 300.0
_POLL_S = 0.5

_WORKSPACE = """\
load_from:
  - grpc_server: {{host: 127.0.0.1, port: {port}, location_name: apex_pipeline}}
"""


class Services:
    """A context in which the services run once they are started.

    Args:
        folder: Where their logs and the workspace file go.
        environment: Variables of each process, with ``DAGSTER_HOME``.
        has_webserver: Whether there is a webserver; see ``url``.

    Attributes:
        url: GraphQL of the webserver.
        restarts: How often a service that had died was started again.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], *, has_webserver: bool = False) -> None:
        code, web = free_ports(2)
        self._folder = folder
        self._workspace = folder / "workspace.yaml"
        self._workspace.write_text(_WORKSPACE.format(port=code), encoding="utf-8")
        scripts = Path(sys.executable).parent
        self._environment = {**environment, "PATH": f"{scripts}:{os.environ['PATH']}"}
        workspace = ["-w", str(self._workspace)]
        server = ["-h", "127.0.0.1", "-p", str(code), "-m", "apex_pipeline.definitions"]
        self._commands = {
            "code": ["dagster", "code-server", "start", *server, "--location-name", "apex_pipeline"],
            "daemon": ["dagster-daemon", "run", *workspace],
        }
        if has_webserver:
            self._commands["webserver"] = ["dagster-webserver", "-h", "127.0.0.1", "-p", str(web), *workspace]
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._dead_since_s: dict[str, float] = {}
        self.url = f"http://127.0.0.1:{web}/graphql"
        self.restarts = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The code server comes last: the others ask it while they end.
        for name in reversed(list(self._processes)):
            self._end(self._processes[name])

    def start(self) -> None:
        """Start all services."""
        for name in self._commands:
            self._start(name)

    def command(self, *command: str) -> None:
        """Run a command of Dagster on the workspace until it succeeds, because the code server takes time to start."""
        deadline_s = time.monotonic() + _COMMAND_TIMEOUT_S
        while True:
            done = subprocess.run(
                [*command, "-w", str(self._workspace)],
                cwd=self._folder,
                env=self._environment,
                capture_output=True,
                check=False,
                timeout=_COMMAND_TIMEOUT_S,
            )
            if done.returncode == 0:
                return
            assert time.monotonic() < deadline_s, done.stderr.decode()[-2000:]
            time.sleep(_POLL_S)

    def kill(self, name: str) -> None:
        """Kill the process of a service, and leave alone what it has started: a code server's runs."""
        self._processes[name].kill()
        self._processes[name].wait()

    def restart(self, name: str) -> None:
        """Stop a service as a service manager does, and start it again."""
        self._end(self._processes[name])
        self._start(name)

    def restart_dead(self) -> None:
        """Start the services again that have been dead for a moment."""
        now_s = time.monotonic()
        for name, process in self._processes.items():
            if process.poll() is None:
                continue
            if now_s - self._dead_since_s.setdefault(name, now_s) >= _RESTART_AFTER_S:
                del self._dead_since_s[name]
                self._start(name)
                self.restarts += 1

    def log(self, name: str) -> str:
        """Return the end of what a service has printed."""
        return (self._folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")[-3000:]

    def _start(self, name: str) -> None:
        with (self._folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                self._commands[name],
                cwd=self._folder,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        """End a service and everything in its session."""
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(_ENDS_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
