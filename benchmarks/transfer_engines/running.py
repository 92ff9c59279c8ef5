"""One case on one server: every engine in turns, round by round. Standard library only (see ``measuring``).

Not here: what is asked for (``transfer.py``), what is told and judged (``report``).
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
from transfer_engines.engines import CONCURRENCIES, Engines, Place
from transfer_engines.report import CaseRuns, EngineRuns

# The folder from which ``python -m transfer_engines.…`` finds the modules.
HERE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Server:
    """A running server, asked by lines (see ``server_process``)."""

    lines_in: IO[str]
    lines_out: IO[str]
    endpoint: str
    key_id: str
    secret: str

    def new_place(self) -> Place:
        """Return an empty bucket."""
        return Place(self.endpoint, str(self._ask("new")), self.key_id, self.secret)

    def check(self, place: Place, folder: Path) -> str:
        """Make sure a bucket holds a folder, and return a mark that changes with any writing.

        Raises:
            EngineFailedError: It does not.
        """
        facts = self._ask("check", place.bucket, str(folder))
        wanted = sum(1 for _ in folder.iterdir())
        if facts["objects"] != wanted or facts["uploads"] or not facts["is_same"]:
            raise EngineFailedError(f"the bucket does not hold the {wanted} files: {facts}")
        return facts["mark"]

    def drop(self, place: Place) -> None:
        """Remove a bucket with all it holds."""
        self._ask("drop", place.bucket)

    def _ask(self, *words: str) -> Any:  # noqa: ANN401  -- JSON
        self.lines_in.write(shlex.join(words) + "\n")
        self.lines_in.flush()
        return json.loads(self.lines_out.readline())


@contextmanager
def running_server(name: str) -> Generator[Server]:
    """Run a server of its own, with an empty folder on disk."""
    command = [sys.executable, "-m", "transfer_engines.server_process", name]
    with subprocess.Popen(command, cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdin is None or process.stdout is None:
            raise SystemExit("The server's process has no pipes.")
        facts = json.loads(process.stdout.readline() or "null")
        if facts is None:
            raise SystemExit(f"The server {name} did not start.")
        yield Server(process.stdin, process.stdout, **facts)
        process.stdin.close()


@dataclass(frozen=True)
class Bench:
    """What the runs of one case share.

    Attributes:
        case: What is copied.
        source: Its files.
        server: Where to.
        engines: Who copies.
    """

    case: Case
    source: Path
    server: Server
    engines: Engines

    def warm_up(self, names: Sequence[str]) -> None:
        """Run every engine once without counting it: byte code is made then."""
        for name in names:
            if self.engines.why_not(name, is_second_run=False) is None:
                self._measure(name, CONCURRENCIES[0])

    def run(self, server: str, names: Sequence[str], rounds: int) -> CaseRuns:
        """Measure the engines; another one begins each round.

        Args:
            server: How the report calls the server.
            names: The engines.
            rounds: How often each runs.
        """
        notes = {name: self.engines.why_not(name, is_second_run=self.case.is_second_run) for name in names}
        results = {name: EngineRuns(note=note) for name, note in notes.items()}
        runs = CaseRuns(server, self.case, results, load=os.getloadavg()[0])
        concurrency = self._best_concurrency(runs)
        for number in range(rounds):
            shift = number % len(names)
            for name in (*names[shift:], *names[:shift]):
                if results[name].note is None:
                    self._run_engine(name, concurrency, results[name])
                    tell(f"{server}, {self.case.title}, round {number + 1} of {rounds}, {name}: {_last(results[name])}")
        return runs

    def _best_concurrency(self, runs: CaseRuns) -> int:
        """Try boto3 with several numbers of requests at a time and return the quickest."""
        if "boto3" not in runs.engines or runs.engines["boto3"].note:
            return CONCURRENCIES[0]
        for concurrency in CONCURRENCIES:
            runs.sweep[concurrency] = self._measure("boto3", concurrency).wall_s
            tell(f"{self.case.title}, boto3 with {concurrency} at a time: {runs.sweep[concurrency]:.2f} s")
        return min(runs.sweep, key=lambda concurrency: runs.sweep[concurrency])

    def _run_engine(self, name: str, concurrency: int, result: EngineRuns) -> None:
        try:
            result.runs.append(self._measure(name, concurrency))
        except EngineFailedError as error:
            result.note = f"failed: {error}"

    def _measure(self, name: str, concurrency: int) -> Measurement:
        """Copy into a new bucket and see that it holds the files; of a second run only that one is measured."""
        place = self.server.new_place()
        try:
            with tempfile.TemporaryDirectory(prefix="apex-state-") as state:
                command = self.engines.command(name, place, self.source, Path(state), concurrency)
                measured, _ = measure(command, HERE, place.environment)
                mark = self.server.check(place, self.source)
                if self.case.is_second_run:
                    measured, _ = measure(command, HERE, place.environment)
                    if self.server.check(place, self.source) != mark:
                        raise EngineFailedError("what was there already was sent again")
        finally:
            self.server.drop(place)
        return measured


def tell(text: str) -> None:
    """Say how far it is."""
    print(text, file=sys.stderr, flush=True)


def _last(result: EngineRuns) -> str:
    if result.note:
        return result.note
    run = result.runs[-1]
    return f"{run.wall_s:.2f} s, {run.cpu_s:.2f} CPU s, {run.peak_mb:,.0f} MB"
