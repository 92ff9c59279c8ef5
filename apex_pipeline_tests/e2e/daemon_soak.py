"""Kills the processes of a running Dagster at random while files are dropped, and compares the lake in the end.

``SoakResult.failures`` lists every violated guarantee. ``test_daemon_soak.py`` runs a minute of it and
``benchmarks/daemon_soak.py`` ten. The daemon and the code server are started again a second after they died, as a
service manager does; nothing starts a run again but Dagster and the sensor. What is dropped depends on the seed only,
except for the moments.
"""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
from dagster import DagsterRunStatus, RunsFilter

from apex_pipeline.orchestration.automation_table import SYNC_SENSOR
from apex_pipeline.orchestration.instance import open_instance, process_of
from apex_pipeline_tests.e2e.lake_state import differences, lake_state
from apex_pipeline_tests.e2e.machine import Machine
from apex_pipeline_tests.orchestration.lake_runs import session_files
from apex_pipeline_tests.orchestration.services import Services

_SESSIONS = tuple(f"{track}/{name}" for track in ("spa", "sebring", "sonoma") for name in ("R1", "R2", "R3"))
# A drop is a session with its files, new or in another version; a kill ends one process.
_DROP_EVERY_S = (8.0, 25.0)
_KILL_EVERY_S = (4.0, 16.0)
# Part of a file is written, and the rest after this time: a tick must not take it for the whole.
_HALF_WRITTEN_S = 0.5
_VICTIMS = ("daemon", "code server", "run", "run", "all")
_IDLE = "Everything is up to date."
# Nine sessions took 6 minutes on two processors with a load of 20.
_SYNC_TIMEOUT_S = 1_200.0
# A run that crashes and whose retries crash as well is attempted again after 5 and then 10 minutes.
_SETTLES_WITHIN_S = 2_400.0


@dataclass(frozen=True)
class SoakPlan:
    """The size of a soak test: how long processes are killed, in seconds, and the seed."""

    seconds: float
    seed: int


@dataclass
class SoakResult:
    """The result of a soak test.

    Attributes:
        counts: What was done and what happened, by name.
        settled_s: Time from the last kill until the sensor found everything up to date, in seconds.
        failures: Violated guarantees; empty if the test passed.
    """

    counts: Counter[str] = field(default_factory=Counter[str])
    settled_s: float = 0.0
    failures: list[str] = field(default_factory=list[str])


def soak(
    folder: Path, lake: Mapping[str, str], clean_lake: Mapping[str, str], plan: SoakPlan, report: Callable[[str], None]
) -> SoakResult:
    """Run a soak test.

    Args:
        folder: An empty folder.
        lake: Environment variables that locate an empty lake.
        clean_lake: The same of another one, for the lake that a single clean sync gives.
        plan: How long, and the seed.
        report: Called with one line for each drop and each kill.
    """
    machine = Machine(folder / "machine", {**lake, "APEX_SOURCE_DIR": str(folder / "source")})
    machine.lake["APEX_SENSOR_INTERVAL"] = "2"
    test = _Soak(folder, machine, plan, report)
    with _instance(machine) as instance, Services(machine.folder, machine.environment) as services:
        test.run(instance, services)
    test.compare(Machine(folder / "clean", clean_lake))
    return test.result


@contextmanager
def _instance(machine: Machine) -> Generator[dg.DagsterInstance]:
    """Open the home as ``apex`` makes it."""
    before = os.environ.get("DAGSTER_HOME")
    try:
        with open_instance(Path(machine.environment["DAGSTER_HOME"])) as instance:
            yield instance
    finally:
        os.environ.pop("DAGSTER_HOME", None)
        if before is not None:
            os.environ["DAGSTER_HOME"] = before


class _Soak:
    def __init__(self, folder: Path, machine: Machine, plan: SoakPlan, report: Callable[[str], None]) -> None:
        self._source = folder / "source"
        self._machine = machine
        self._plan = plan
        self._report = report
        self._random = random.Random(plan.seed)  # noqa: S311  -- what happens in a test, not secrets
        self.result = SoakResult()

    def run(self, instance: dg.DagsterInstance, services: Services) -> None:
        """Drop and kill for the planned time, and then wait until everything is up to date."""
        for key in _SESSIONS[:3]:
            self._drop(key)
        services.start()
        services.command("dagster", "sensor", "start", SYNC_SENSOR)
        started_s = time.monotonic()
        drops, kills = self._moments(_DROP_EVERY_S), self._moments(_KILL_EVERY_S)
        drop_s, kill_s = next(drops), next(kills)
        while (now_s := time.monotonic() - started_s) < self._plan.seconds:
            services.restart_dead()
            if now_s >= drop_s:
                self._drop(self._random.choice(_SESSIONS))
                drop_s = next(drops)
            if now_s >= kill_s:
                self._kill(instance, services)
                kill_s = next(kills)
            time.sleep(0.2)
        self._settle(instance, services)

    def _moments(self, between_s: tuple[float, float]) -> Iterator[float]:
        moment_s = 0.0
        while True:
            moment_s += self._random.uniform(*between_s)
            yield moment_s

    def _drop(self, key: str) -> None:
        """Write the files of a session in two parts, the first of which ends in the middle of a line."""
        folder = self._source / key.partition("/")[0]
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in session_files(key, self._random.randint(4, 9)).items():
            path, half = folder / name, len(text) // 2
            path.write_text(text[:half], encoding="utf-8")
            time.sleep(_HALF_WRITTEN_S / 3)
            path.write_text(text, encoding="utf-8")
        self.result.counts["drops"] += 1
        self._report(f"dropped {key}")

    def _kill(self, instance: dg.DagsterInstance, services: Services) -> None:
        victim = self._random.choice(_VICTIMS)
        if victim in {"daemon", "all"}:
            services.kill("daemon")
        if victim in {"code server", "all"}:
            services.kill("code")
        if victim in {"run", "all"} and not self._kill_run(instance) and victim == "run":
            return
        self.result.counts[f"kills: {victim}"] += 1
        self._report(f"killed {victim}")

    def _kill_run(self, instance: dg.DagsterInstance) -> bool:
        """Kill the process of a run, if one is at work; whether it was, is returned."""
        for run in instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTED])):
            process = process_of(run)
            if process is not None and not process.is_dead:
                os.kill(process.pid, signal.SIGKILL)
                return True
        return False

    def _settle(self, instance: dg.DagsterInstance, services: Services) -> None:
        since_s, began = time.monotonic(), time.time()
        while not self._is_idle(instance, began):
            services.restart_dead()
            if time.monotonic() - since_s > _SETTLES_WITHIN_S:
                self.result.failures.append(f"not up to date {_SETTLES_WITHIN_S:.0f} s after the last kill")
                break
            time.sleep(1)
        self.result.settled_s = time.monotonic() - since_s
        for run in instance.get_runs():
            self.result.counts[f"runs: {run.job_name} {run.status.value}"] += 1
        self.result.counts["restarts of services"] = services.restarts

    @staticmethod
    def _is_idle(instance: dg.DagsterInstance, since: float) -> bool:
        (state,) = [item for item in instance.all_instigator_state() if item.instigator_name == SYNC_SENSOR]
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=3)
        return any(tick.timestamp > since and tick.skip_reason == _IDLE for tick in ticks)

    def compare(self, clean: Machine) -> None:
        """Compare the lake with that of one sync of the same files."""
        clean.sync(self._source, timeout_s=_SYNC_TIMEOUT_S)
        found, expected = lake_state(self._machine.store), lake_state(clean.store)
        self.result.counts["objects compared"] = len(expected)
        self.result.failures += [f"not as after one clean sync: {line}" for line in differences(found, expected)]
        ended = self._machine.run("sync", self._source, timeout_s=_SYNC_TIMEOUT_S)
        if ended.code or "nothing changed" not in ended.out:
            self.result.failures.append(f"a sync afterwards: {ended.out[-2000:]}")
        verified = self._machine.run("verify", "--deep", timeout_s=_SYNC_TIMEOUT_S)
        if verified.code:
            self.result.failures.append(f"verify --deep afterwards: {verified.out[-2000:]}")
