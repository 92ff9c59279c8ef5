"""Runs one case on one server with alternating engines, round by round. Standard library only (see ``measuring``).

See ``transfer.py`` for the options, and ``report`` for targets and output.
"""

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from measuring import EngineFailedError, Measurement, measure

from transfer_engines.cases import Case
from transfer_engines.engines import CONCURRENCIES, Engines, Target
from transfer_engines.report import CaseRuns, EngineRuns

# The folder from which ``python -m transfer_engines.…`` finds the modules.
HERE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Server:
    """A running server, controlled by lines of text (see ``server_process``)."""

    lines_in: IO[str]
    lines_out: IO[str]
    endpoint: str
    key_id: str
    secret: str

    def new_target(self) -> Target:
        """Return a target with a new, empty bucket."""
        return Target(self.endpoint, str(self._request("new")), self.key_id, self.secret)

    def check(self, target: Target, folder: Path) -> str:
        """Check that a bucket holds the files of a folder; return a hash of its state that changes with any write.

        Raises:
            EngineFailedError: It does not hold them.
        """
        facts = self._request("check", target.bucket, str(folder))
        wanted = sum(1 for _ in folder.iterdir())
        if facts["objects"] != wanted or facts["uploads"] or not facts["is_same"]:
            raise EngineFailedError(f"the bucket does not hold the {wanted} files: {facts}")
        return facts["state_hash"]

    def drop(self, target: Target) -> None:
        """Delete a bucket with all its objects."""
        self._request("drop", target.bucket)

    def _request(self, *words: str) -> Any:  # noqa: ANN401  -- JSON
        self.lines_in.write(shlex.join(words) + "\n")
        self.lines_in.flush()
        return json.loads(self.lines_out.readline())


@contextmanager
def running_server(name: str) -> Generator[Server]:
    """Run a new server with an empty data folder."""
    command = [sys.executable, "-m", "transfer_engines.server_process", name]
    with subprocess.Popen(command, cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdin is None or process.stdout is None:
            raise SystemExit("The server process has no pipes.")
        facts = json.loads(process.stdout.readline() or "null")
        if facts is None:
            raise SystemExit(f"The server {name} did not start.")
        yield Server(process.stdin, process.stdout, **facts)
        process.stdin.close()


@dataclass(frozen=True)
class CaseRunner:
    """Runs the engines in one case.

    Attributes:
        case: The case.
        source: Folder of its files.
        server: Target server.
        engines: The engines.
    """

    case: Case
    source: Path
    server: Server
    engines: Engines

    def warm_up(self, names: Sequence[str]) -> None:
        """Run every engine once unmeasured, to create byte code."""
        for name in names:
            if self.engines.exclusion_reason(name, is_second_run=False) is None:
                self._measure(name, CONCURRENCIES[0])

    def run(self, server: str, names: Sequence[str], rounds: int) -> CaseRuns:
        """Measure the engines; each round starts with a different one.

        Args:
            server: Name of the server in the report.
            names: Names of the engines.
            rounds: Runs of each engine.
        """
        notes = {name: self.engines.exclusion_reason(name, is_second_run=self.case.is_second_run) for name in names}
        results = {name: EngineRuns(note=note) for name, note in notes.items()}
        runs = CaseRuns(server, self.case, results, load=os.getloadavg()[0])
        concurrency = self._best_concurrency(runs)
        for number in range(rounds):
            shift = number % len(names)
            for name in (*names[shift:], *names[:shift]):
                if results[name].note is None:
                    self._run_engine(name, concurrency, results[name])
                    step = f"{server}, {self.case.title}, round {number + 1} of {rounds}, {name}"
                    log(f"{step}: {_last_run(results[name])}")
        return runs

    def _best_concurrency(self, runs: CaseRuns) -> int:
        """Try boto3 with several numbers of concurrent requests and return the fastest."""
        if "boto3" not in runs.engines or runs.engines["boto3"].note:
            return CONCURRENCIES[0]
        for concurrency in CONCURRENCIES:
            runs.sweep[concurrency] = self._measure("boto3", concurrency).wall_s
            log(f"{self.case.title}, boto3 with {concurrency} concurrent requests: {runs.sweep[concurrency]:.2f} s")
        return min(runs.sweep, key=lambda concurrency: runs.sweep[concurrency])

    def _run_engine(self, name: str, concurrency: int, result: EngineRuns) -> None:
        try:
            result.runs.append(self._measure(name, concurrency))
        except EngineFailedError as error:
            result.note = f"failed: {error}"

    def _measure(self, name: str, concurrency: int) -> Measurement:
        """Copy to a new bucket and check its content; in a second-run case, only the second copy is measured."""
        target = self.server.new_target()
        try:
            with tempfile.TemporaryDirectory(prefix="apex-state-") as state:
                command = self.engines.command(name, target, self.source, Path(state), concurrency)
                environment = target.environment | {"APEX_STATE_DIR": state}
                measured, _ = measure(command, HERE, environment)
                state_hash = self.server.check(target, self.source)
                if self.case.is_second_run:
                    measured, _ = measure(command, HERE, environment)
                    if self.server.check(target, self.source) != state_hash:
                        raise EngineFailedError("existing objects were sent again")
        finally:
            self.server.drop(target)
        return measured


def log(text: str) -> None:
    """Print a progress message to stderr."""
    print(text, file=sys.stderr, flush=True)


def _last_run(result: EngineRuns) -> str:
    if result.note:
        return result.note
    run = result.runs[-1]
    return f"{run.wall_s:.2f} s, {run.cpu_s:.2f} CPU s, {run.peak_mb:,.0f} MB"
