"""Kills, stops and races whole syncs of one lake, while readers and maintenance run.

``SoakResult.failures`` lists every violated guarantee. ``test_sync_soak.py`` runs a few rounds,
``benchmarks/sync_soak.py`` a full run. Each round syncs random versions of random sessions from one to three machines
at once, and something happens to each sync: a signal at a random moment, or it is held at a random place. What a round
does depends on its seed only, except for the moments.
"""

import json
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from apex_pipeline.lake.snapshot import read_current
from apex_pipeline.settings import load_settings
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.factory import open_store
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.e2e.lake_state import differences, lake_state
from apex_pipeline_tests.e2e.machine import Command, Ended, Machine
from apex_pipeline_tests.e2e.races import HARBOR_R1, SESSIONS, lay_out, make_version

_PROJECT = Path(__file__).resolve().parents[2]
VERSIONS = (1, 2, 3)
# A signal later than this hits few syncs: one of four small sessions takes 6 s on a quiet machine.
_LONGEST_DELAY_S = 14.0
_LONGEST_STOP_S = 9.0
_LONGEST_HOLD_S = 4.0
# After this time, a sync hangs; with three at once on a loaded machine, one took 90 s.
_HANGS_AFTER_S = 300.0
_ENDS_WITHIN_S = 20.0
# A lease expires after 60 s, and gc keeps what is younger than an hour. Both would make a round last as long.
_CONSTANTS = {
    "apex_pipeline.storage.leases:LIFETIME_S": 6.0,
    "apex_pipeline.lake.objects:MIN_AGE": 120.0,
    "apex_pipeline.lake.retention:MIN_AGE": 120.0,
}
_PLACES = (
    "apex_pipeline.orchestration.sync:plan_sync",
    "apex_pipeline.ingest.preparation:heal_from_copies",
    "apex_pipeline.ingest.session_work:copy_source_files",
    "apex_pipeline.ingest.session_work:replace_record",
    "apex_pipeline.orchestration.assets._derivation:write_table_file",
    "apex_pipeline.orchestration.assets._derivation:add_derived",
    "apex_pipeline.orchestration.assets.published:publish_session",
    "apex_pipeline.lake.publication:write_snapshot",
    "apex_pipeline.lake.publication:swap_pointer",
    "apex_pipeline.lake.publication:write_stable_names",
    "apex_pipeline.lake.publication:clear_derived",
    "apex_pipeline.orchestration.assets.lake_files:write_unassigned_work",
    "apex_pipeline.orchestration.assets.catalog:list_records",
    "apex_pipeline.orchestration.assets.catalog:sync_quarantine",
)
_SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGSTOP)
_ASSETS = ("tables/laps", "tables/quality", "lake/session", "lake/published", "lake/files")
_SAID = {
    "takeovers": r"Taking over|taken over from",
    "waits": r"waiting for it",
    "left to another process": r"is left to",
    "leases lost": r"no longer holds|by another process while",
}
_CODES = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 143, signal.SIGINT: 130}


@dataclass(frozen=True)
class SoakPlan:
    """The size of a soak test: number of rounds, and seed of what they do."""

    rounds: int
    seed: int


@dataclass
class SoakResult:
    """The result of a soak test.

    Attributes:
        counts: What was done and what happened, by name.
        seconds: Duration.
        failures: Violated guarantees; empty if the test passed.
    """

    counts: Counter[str] = field(default_factory=Counter[str])
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list[str])


def soak(
    folder: Path, lake: Mapping[str, str], clean_lake: Mapping[str, str], plan: SoakPlan, report: Callable[[str], None]
) -> SoakResult:
    """Run a soak test.

    Args:
        folder: An empty folder.
        lake: Environment variables that locate an empty lake.
        clean_lake: The same of another one, for the lake that a single clean sync gives.
        plan: Number of rounds, and seed.
        report: Called with one line for each round.
    """
    started_s = time.monotonic()
    test = _Soak(folder, lake, plan, report)
    test.run(clean_lake)
    test.result.seconds = time.monotonic() - started_s
    return test.result


class _Soak:
    def __init__(self, folder: Path, lake: Mapping[str, str], plan: SoakPlan, report: Callable[[str], None]) -> None:
        self._folder = folder
        self._plan = plan
        self._report = report
        self._random = random.Random(plan.seed)  # noqa: S311  -- what happens in a test, not secrets
        self._machines = [Machine(folder / f"machine-{number}", lake, _CONSTANTS) for number in range(3)]
        self._weekends = {version: make_version(folder / "weekends", version) for version in VERSIONS}
        self._sources = 0
        self._known: dict[str, dict[str, dict[str, str]]] = {}
        self._lock = threading.Lock()
        self.result = SoakResult()

    # -- the whole test ------------------------------------------------------------------------------------------------

    def run(self, clean_lake: Mapping[str, str]) -> None:
        self._learn_versions()
        known = self._folder / "known.json"
        known.write_text(json.dumps(self._known))
        reads = self._folder / "reads.json"
        reader = self._start_reader(known, reads)
        try:
            for number in range(1, self._plan.rounds + 1):
                self._round(number)
        finally:
            reader.terminate()
            reader.wait()
        self._check_reads(json.loads(reads.read_text()), (self._folder / "reader.out").read_text())
        self._check_convergence(clean_lake)

    def _learn_versions(self) -> None:
        """Sync each version into a lake of its own, to know the tables of each session."""
        for version in VERSIONS:
            source = self._lay_out(dict.fromkeys(SESSIONS, version))
            machine = Machine(self._folder / f"version-{version}")
            machine.sync(source)
            snapshot = read_current(_store_of(machine))
            for session in snapshot.sessions if snapshot else ():
                tables = {name: table.sha256 for name, table in session.tables.items()}
                self._known.setdefault(str(session.key), {})[str(version)] = tables

    def _lay_out(self, versions: Mapping[SessionKey, int]) -> Path:
        """Return a new source folder with these versions of the sessions, an empty file and one without a session."""
        self._sources += 1
        source = self._folder / "sources" / f"{self._sources}"
        small = {key: self._weekends[version] for key, version in versions.items() if key != HARBOR_R1}
        lay_out(source, small)
        lay_out(source, {HARBOR_R1: self._weekends[versions[HARBOR_R1]]}, is_small=False)
        (source / "standings").mkdir()
        (source / "standings" / "GR Cup points.csv").write_text("PARTICIPANT;POINTS\n13;250\n7;180\n")
        (source / "harbor_street_circuit" / "R2_harbor_telemetry_data.csv").write_bytes(b"")
        return source

    def _start_reader(self, known: Path, result: Path) -> subprocess.Popen[bytes]:
        machine = self._machines[0]
        command = [sys.executable, "-m", "apex_pipeline_tests.e2e.reading_process", str(known), str(result)]
        environment = machine.environment | {"APEX_STATE_DIR": str(self._folder / "reader")}
        with (self._folder / "reader.out").open("wb") as out:
            return subprocess.Popen(command, env=environment, cwd=self._folder, stdout=out, stderr=out)

    def _check_reads(self, found: Mapping[str, object], printed: str) -> None:
        self.result.counts["reads"] = int(str(found["reads"]))
        problems = found["problems"]
        assert isinstance(problems, list)
        self.result.counts["read errors"] = len(problems)
        self.result.failures += [f"reader: {problem}" for problem in problems[:20]]
        if "Traceback" in printed:
            self.result.failures.append(f"the reader crashed: {printed[-3000:]}")

    def _check_convergence(self, clean_lake: Mapping[str, str]) -> None:
        """Sync once more, without disturbance, and compare with the lake of a single sync."""
        source = self._lay_out(self._random_versions())
        for machine, code in ((self._machines[0], "first"), (self._machines[1], "second")):
            ended = machine.run("sync", source)
            if ended.code or ended.has_traceback:
                self._fail(f"the {code} quiet sync ended with {ended.code}", ended.out)
        if "nothing changed" not in ended.out:
            self._fail("the second quiet sync still found something to do", ended.out)
        clean = Machine(self._folder / "clean", clean_lake)
        clean.sync(source)
        found, expected = lake_state(_store_of(self._machines[0])), lake_state(_store_of(clean))
        self.result.counts["objects compared"] = len(expected)
        self.result.failures += [f"not as after one clean sync: {line}" for line in differences(found, expected)]
        verified = self._machines[0].run("verify", "--deep")
        if verified.code:
            self._fail("verify --deep after the quiet sync", verified.out)

    # -- one round -----------------------------------------------------------------------------------------------------

    def _round(self, number: int) -> None:
        started_s = time.monotonic()
        count = self._random.choice((1, 1, 1, 2, 2, 3))
        acts = [self._random_act(machine) for machine in self._machines[:count]]
        companions = self._start_companions()
        for act in acts:
            act.start()
        # At once: one sync may wait for another that is held.
        with ThreadPoolExecutor(len(acts)) as pool:
            list(pool.map(_Act.finish, acts))
        for name, command in companions:
            self._finish_companions(name, command)
        self._check_published(number)
        said = ", ".join([*(act.name for act in acts), *(name for name, _ in companions)])
        self._report(f"round {number}: {said}; {time.monotonic() - started_s:.0f} s")
        self.result.counts["rounds"] += 1

    def _random_versions(self) -> dict[SessionKey, int]:
        return {key: self._random.choice(VERSIONS) for key in SESSIONS}

    def _random_act(self, machine: Machine) -> "_Act":
        """Return a sync to which something happens: a signal, a hold, or nothing."""
        source = self._lay_out(self._random_versions())
        place = self._random.choice(_PLACES) if self._random.random() < 0.4 else None
        number = self._random.choice((*_SIGNALS, None)) if place else self._random.choice(_SIGNALS)
        moment_s = self._random.uniform(0, _LONGEST_HOLD_S if place else _LONGEST_DELAY_S)
        return _Act(self, machine, source, place, number, moment_s, self._random.uniform(0.1, _LONGEST_STOP_S))

    def _start_companions(self) -> list[tuple[str, Command]]:
        machine, started = self._machines[0], list[tuple[str, Command]]()
        if self._random.random() < 0.25:
            started.append(("gc", machine.start("gc", "--apply", "--keep-days", "0")))
        if self._random.random() < 0.25:
            started.append(("verify", machine.start("verify", "--deep")))
        if self._random.random() < 0.25:
            asset, key = self._random.choice(_ASSETS), self._random.choice(SESSIONS)
            source = self._lay_out(self._random_versions())
            started.append((f"materialize {asset} {key}", self._materialize(asset, key, source)))
        return started

    def _materialize(self, asset: str, key: SessionKey, source: Path) -> Command:
        """Materialize an asset as the UI does, in a process of Dagster."""
        machine, log = self._machines[2], self._folder / f"materialize-{self._sources}.out"
        command = [sys.executable, "-m", "dagster", "asset", "materialize", "-m", "apex_pipeline.definitions"]
        command += ["--select", f"key:{asset}", "--partition", str(key)]
        (machine.folder / "home").mkdir(exist_ok=True)
        with log.open("wb") as out:
            environment = machine.environment | {"APEX_SOURCE_DIR": str(source)}
            process = subprocess.Popen(command, env=environment, cwd=machine.folder, stdout=out, stderr=out)
        return Command(process, log, {})

    def _finish_companions(self, name: str, command: Command) -> None:
        kind = name.split(maxsplit=1)[0]
        try:
            ended = command.wait(_HANGS_AFTER_S)
        except AssertionError as error:
            self.result.failures.append(f"{name} hung: {error}")
            return
        self.result.counts[kind] += 1
        # An asset may be refused: its inputs are not there, or are of other files. A verification may meet a session
        # whose stable names are being written.
        if ended.code:
            self.result.counts[f"{kind} exit {ended.code}"] += 1
        if kind != "materialize" and (ended.has_traceback or (kind == "gc" and ended.code)):
            self._fail(f"{name} ended with {ended.code}", ended.out)

    def _check_published(self, number: int) -> None:
        """Every published session must be of one version as a whole, whatever happened."""
        snapshot = read_current(_store_of(self._machines[0]))
        for session in snapshot.sessions if snapshot else ():
            tables = {name: table.sha256 for name, table in session.tables.items()}
            if tables not in self._known[str(session.key)].values():
                self.result.failures.append(f"round {number}: {session.key} is a mixture of versions")

    def note(self, ended: Ended) -> None:
        """Count what a sync said."""
        for what, pattern in _SAID.items():
            self.count(what, len(re.findall(pattern, ended.out)))
        if ended.has_traceback:
            self.fail("a sync printed a traceback", ended.out)

    def _fail(self, problem: str, out: str) -> None:
        self.result.failures.append(f"{problem}:\n{out[-3000:]}")

    def count(self, what: str, number: int = 1) -> None:
        """Count something that happened; safe to call from several threads."""
        with self._lock:
            self.result.counts[what] += number

    def fail(self, problem: str, out: str) -> None:
        """Note a violated guarantee, with the output that shows it."""
        with self._lock:
            self._fail(problem, out)


class _Act:
    """One sync of a round, and what happens to it.

    Args:
        soak: The test.
        machine: Where it runs.
        source: Its source folder.
        place: Where it is held, if anywhere.
        number: The signal it gets, if any; at its place, or after a time.
        moment_s: How long it is held, or when the signal comes after its start.
        stop_s: How long it is stopped.
    """

    def __init__(
        self,
        soak: _Soak,
        machine: Machine,
        source: Path,
        place: str | None,
        number: signal.Signals | None,
        moment_s: float,
        stop_s: float,
    ) -> None:
        self._soak = soak
        self._machine = machine
        self._source = source
        self._place = place
        self._number = number
        self._moment_s = moment_s
        self._stop_s = stop_s
        self._command: Command | None = None

    @property
    def name(self) -> str:
        """What happens, in words."""
        what = self._number.name if self._number else "held"
        return f"{what} {f'at {self._place}' if self._place else f'after {self._moment_s:.1f} s'}"

    def start(self) -> None:
        """Start the sync."""
        held = (self._place,) if self._place else ()
        self._command = self._machine.start("sync", self._source, held=held)

    def finish(self) -> None:
        """Let happen what is to happen, wait for the end, and check it."""
        assert self._command is not None
        self._soak.count("syncs")
        is_running = self._reach_moment(self._command)
        if is_running and self._number:
            self._soak.count(self._number.name)
            self._command.send(self._number)
        if is_running and self._number is signal.SIGSTOP:
            time.sleep(self._stop_s)
            self._command.send(signal.SIGCONT)
        if self._place and self._number is not signal.SIGTERM and self._number is not signal.SIGINT:
            self._command.let_go(self._place)
        self._end(self._command, is_running=is_running)

    def _reach_moment(self, command: Command) -> bool:
        """Wait until it is held, or for its moment; return whether it is still running then."""
        if self._place is None:
            deadline_s = command.started_s + self._moment_s
        else:
            deadline_s = time.monotonic() + _HANGS_AFTER_S
            while not command.gates[self._place].with_suffix(".reached").exists() and command.process.poll() is None:
                if time.monotonic() > deadline_s:
                    return True
                time.sleep(0.02)
            deadline_s = time.monotonic() + self._moment_s
        while time.monotonic() < deadline_s and command.process.poll() is None:
            time.sleep(0.02)
        return command.process.poll() is None

    def _end(self, command: Command, *, is_running: bool) -> None:
        is_asked = is_running and self._number in {signal.SIGTERM, signal.SIGINT}
        try:
            ended = command.wait(_ENDS_WITHIN_S if is_asked else _HANGS_AFTER_S)
        except AssertionError as error:
            self._soak.fail(f"{self.name}: the sync hung", str(error))
            return
        self._soak.note(ended)
        self._soak.count(f"sync exit {ended.code}")
        expected = {0}
        if is_running and self._number is not None:
            # It may have ended by itself just before.
            expected.add(_CODES.get(self._number, 0))
        if self._number is signal.SIGSTOP:
            expected.add(1)  # it may have lost a lease
        if ended.code not in expected:
            self._soak.fail(f"{self.name}: the sync ended with {ended.code}", ended.out)


def _store_of(machine: Machine) -> ObjectStore:
    """Open a machine's lake in this process."""
    lake, state_dir = machine.lake, machine.folder / "state-of-test"
    if "APEX_LAKE_DIR" in lake:
        return open_store(load_settings(lake_dir=Path(lake["APEX_LAKE_DIR"]), state_dir=state_dir), for_writing=False)
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
