"""Machines that work on one lake: each runs the command ``apex`` in processes that a test holds, stops and kills.

A machine has a Dagster home and a state folder of its own, so two of them stand for two computers. See barrier.py for
how a process is held.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apex_pipeline.settings import load_settings
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.factory import open_store

_PROJECT = Path(__file__).resolve().parents[2]
# A sync of one session takes 6 CPU-s; after this time on a loaded machine, it hangs.
TIMEOUT_S = 300.0
_POLL_S = 0.02


@dataclass(frozen=True)
class Ended:
    """A process that has ended.

    Attributes:
        code: Its exit code; negative if a signal ended it.
        out: What it printed, to both streams.
        seconds: How long it took.
    """

    code: int
    out: str
    seconds: float

    @property
    def has_traceback(self) -> bool:
        """Whether it printed a traceback, which no user should see."""
        return "Traceback (most recent call last)" in self.out


@dataclass
class Command:
    """A running command.

    Attributes:
        process: The process.
        log: The file with its output.
        gates: Paths of the gates at which it is held, by place.
        started_s: When it was started.
    """

    process: subprocess.Popen[bytes]
    log: Path
    gates: dict[str, Path]
    started_s: float = field(default_factory=time.monotonic)

    def wait_until_held(self, where: str, timeout_s: float = TIMEOUT_S) -> None:
        """Wait until it is held at a place; an AssertionError says what it printed if it ended before."""
        reached, deadline_s = self.gates[where].with_suffix(".reached"), time.monotonic() + timeout_s
        while not reached.exists():
            assert self.process.poll() is None, f"ended with {self.process.returncode} before {where}: {self.read()}"
            assert time.monotonic() < deadline_s, f"did not reach {where} within {timeout_s:g} s: {self.read()}"
            time.sleep(_POLL_S)

    def wait_until_printed(self, text: str, timeout_s: float = TIMEOUT_S) -> None:
        """Wait until its output has a text."""
        deadline_s = time.monotonic() + timeout_s
        while text not in self.read():
            assert self.process.poll() is None, f"ended with {self.process.returncode} before {text!r}: {self.read()}"
            assert time.monotonic() < deadline_s, f"did not print {text!r} within {timeout_s:g} s: {self.read()}"
            time.sleep(_POLL_S)

    def let_go(self, where: str) -> None:
        """Open a gate."""
        self.gates[where].with_suffix(".go").touch()

    def send(self, signal_number: int) -> None:
        """Send a signal, unless it has ended."""
        self.process.send_signal(signal_number)

    def kill(self) -> Ended:
        """End it at once, as the kernel does if memory is short."""
        self.send(signal.SIGKILL)
        return self.wait()

    def wait(self, timeout_s: float = TIMEOUT_S) -> Ended:
        """Wait until it ends; one that does not is killed and raises an AssertionError with its output."""
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"still running after {timeout_s:g} s: {self.read()}") from None
        return Ended(code, self.read(), time.monotonic() - self.started_s)

    def read(self) -> str:
        """Return its output so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")


class Machine:
    """One machine.

    Args:
        folder: Its folder, created if missing: Dagster home, state, outputs, and the lake unless it is shared.
        lake: Environment variables that locate the lake; by default a folder inside ``folder``.
        constants: Constants that its processes set, in seconds, by ``module:NAME``.
    """

    def __init__(
        self, folder: Path, lake: Mapping[str, str] | None = None, constants: Mapping[str, float] | None = None
    ) -> None:
        self.folder = folder
        self.lake = dict(lake or {"APEX_LAKE_DIR": str(folder / "lake")})
        self.constants = dict(constants or {})
        self.runs = 0
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def environment(self) -> dict[str, str]:
        """Environment of its processes."""
        own = {
            "DAGSTER_HOME": str(self.folder / "home"),
            "APEX_STATE_DIR": str(self.folder / "state"),
            "PYTHONPATH": str(_PROJECT),
            "COLUMNS": "200",
        }
        return {**os.environ, **own, **self.lake}

    @property
    def lake_folder(self) -> Path:
        """Folder of its lake, if that is a folder."""
        return Path(self.lake["APEX_LAKE_DIR"])

    @property
    def store(self) -> ObjectStore:
        """Its lake, opened in the process of the test for reading."""
        lake, state_dir = self.lake, self.folder / "state-of-test"
        if "APEX_LAKE_DIR" in lake:
            return open_store(load_settings(lake_dir=self.lake_folder, state_dir=state_dir), for_writing=False)
        settings = load_settings(
            use_s3_data=True,
            bucket=lake["S3_BUCKET_NAME"],
            lake_prefix=lake["APEX_LAKE_PREFIX"],
            s3_endpoint_url=lake["S3_ENDPOINT_URL"],
            aws_access_key_id=lake["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=lake["AWS_SECRET_ACCESS_KEY"],
            state_dir=state_dir,
        )
        return open_store(settings, for_writing=False)

    def start(
        self, *arguments: str | Path, held: tuple[str, ...] = (), environment: Mapping[str, str] | None = None
    ) -> Command:
        """Start ``apex`` with these arguments.

        Args:
            arguments: Its arguments.
            held: Places at which it is held, see barrier.py.
            environment: Further environment variables.
        """
        self.runs += 1
        log = self.folder / f"{self.runs}.out"
        gates = {where: self.folder / f"{self.runs}-{number}" for number, where in enumerate(held)}
        changes = [f"{place}={seconds}" for place, seconds in self.constants.items()]
        changes += [part for where, gate in gates.items() for part in (where, str(gate))]
        barrier = ["apex_pipeline_tests.e2e.barrier", *changes, "--"]
        module = barrier if changes else ["apex_pipeline"]
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", *module, *map(str, arguments)],
                cwd=self.folder,
                env={**self.environment, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        return Command(process, log, gates)

    def run(self, *arguments: str | Path, timeout_s: float = TIMEOUT_S, **environment: str) -> Ended:
        """Run ``apex`` with these arguments to its end."""
        return self.start(*arguments, environment=environment).wait(timeout_s)

    def sync(self, source: Path, *, expected: int = 0, timeout_s: float = TIMEOUT_S) -> Ended:
        """Sync a folder, which must end with this exit code and without a traceback."""
        ended = self.run("sync", source, timeout_s=timeout_s)
        assert (ended.code, ended.has_traceback) == (expected, False), ended.out
        return ended

    def ask(self, *arguments: str | Path) -> Any:
        """Return the JSON that a command prints."""
        ended = self.run(*arguments, "--json")
        assert ended.code == 0, ended.out
        found = re.search(r"^[\[{]", ended.out, re.MULTILINE)
        assert found, ended.out
        return json.loads(ended.out[found.start() :])
