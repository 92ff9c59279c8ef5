"""Kills a publisher again and again while programs read the lake, and compares every answer with its snapshot.

``SoakResult.failures`` lists every violated guarantee. ``test_publish_soak.py`` kills a few times,
``benchmarks/publish_soak.py`` fifty times. The publisher, the readers and ``apex serve`` are processes. When all is
quiet, each snapshot that an answer names is opened by its id, and the answer must have its rows: all, each once, in
their order. The generations in a snapshot are checked apart from that: sessions are published in a fixed order, so a
state that was never published shows.
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from apex_pipeline.catalog import open_catalog
from apex_pipeline.errors import ApexError
from apex_pipeline.lake.history import published_history
from apex_pipeline.lake.integrity import verify_lake
from apex_pipeline.lake.tables import require_snapshot
from apex_pipeline.settings import load_settings
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.factory import open_store
from apex_pipeline_tests.e2e.publish_readers import Answer, add_tables
from apex_pipeline_tests.e2e.publisher import SESSIONS, laps_of

_PROJECT = Path(__file__).resolve().parents[2]
# A round of four sessions takes about half a second.
_LONGEST_DELAY_S = 1.5
# A process that imports the package on a loaded machine.
_START_TIMEOUT_S = 120.0
_SHOWN = 20


@dataclass(frozen=True)
class SoakPlan:
    """The size of a soak test: number of kills, of readers in Python and over HTTP, and seed of the moments."""

    kills: int
    seed: int
    python_readers: int = 4
    http_readers: int = 2


@dataclass
class SoakResult:
    """The result of a soak test.

    Attributes:
        counts: What was done and what was answered, by name.
        seconds: Duration.
        failures: Violated guarantees; empty if the test passed.
    """

    counts: Counter[str] = field(default_factory=Counter[str])
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list[str])


def soak(folder: Path, plan: SoakPlan, report: Callable[[str], None]) -> SoakResult:
    """Run a soak test.

    Args:
        folder: An empty folder.
        plan: Number of kills and of readers, and seed.
        report: Called with one line for each kill.
    """
    started_s = time.monotonic()
    lake, result = folder / "lake", SoakResult()
    _run("publisher", str(lake), "--rounds", "1", "--days-ago", "1").wait(_START_TIMEOUT_S)
    store = open_store(load_settings(lake_dir=lake), for_writing=False)
    yesterday = require_snapshot(store).id
    with ExitStack() as stack:
        address = stack.enter_context(_served(lake, folder / "serve.log"))
        files = [stack.enter_context(_reading("python", str(lake), folder, i)) for i in range(plan.python_readers)]
        files += [stack.enter_context(_reading("http", address, folder, i)) for i in range(plan.http_readers)]
        _await_answers(files)
        _kill_again_and_again(store, lake, plan, result, report)
    _run("publisher", str(lake), "--rounds", "2").wait(_START_TIMEOUT_S)
    answers = [Answer(**json.loads(line)) for file in files for line in file.read_text().splitlines()]
    _check_answers(lake, answers, yesterday, result)
    _check_states(store, result)
    result.seconds = time.monotonic() - started_s
    return result


def _run(module: str, *arguments: str, **options: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", f"apex_pipeline_tests.e2e.{module}", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(_PROJECT)}
    return subprocess.Popen(command, env=environment, text=True, **options)  # type: ignore[call-overload,no-any-return]


@contextmanager
def _served(lake: Path, log: Path) -> Generator[str]:
    """Run ``apex serve`` and yield its address."""
    command = [sys.executable, "-m", "apex_pipeline", "serve", "--port", "0", "--lake", str(lake)]
    environment = {**os.environ, "PYTHONPATH": str(_PROJECT)}
    with (
        log.open("w") as said,
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=said, text=True) as process,
    ):
        try:
            line = process.stdout.readline() if process.stdout else ""
            found = re.search(r"http://[0-9.:]+", line)
            if found is None:
                raise RuntimeError(f"apex serve did not start: {line}{log.read_text()}")
            yield found[0]
        finally:
            process.terminate()
            process.wait(_START_TIMEOUT_S)


@contextmanager
def _reading(kind: str, target: str, folder: Path, number: int) -> Generator[Path]:
    """Run a reader and yield the file of its answers."""
    answers = folder / f"{kind}-{number}.jsonl"
    with _run("publish_readers", kind, target, str(answers)) as process:
        try:
            yield answers
        finally:
            process.terminate()
            code = process.wait(_START_TIMEOUT_S)
    if code:
        raise RuntimeError(f"The reader of {answers.name} crashed with {code}; what it printed is above.")


def _await_answers(files: Iterable[Path]) -> None:
    """Wait until every reader has got an answer: a kill that nobody reads by shows nothing."""
    deadline_s = time.monotonic() + _START_TIMEOUT_S
    for file in files:
        while not (file.exists() and file.stat().st_size):
            if time.monotonic() > deadline_s:
                raise RuntimeError(f"The reader of {file.name} got no answer within {_START_TIMEOUT_S:.0f} s.")
            time.sleep(0.1)


def _kill_again_and_again(
    store: ObjectStore, lake: Path, plan: SoakPlan, result: SoakResult, report: Callable[[str], None]
) -> None:
    moments = random.Random(plan.seed)  # noqa: S311  -- moments of a test
    for number in range(1, plan.kills + 1):
        before = require_snapshot(store).id
        with _run("publisher", str(lake), stdout=subprocess.PIPE) as process:
            line = process.stdout.readline() if process.stdout else ""
            time.sleep(moments.uniform(0, _LONGEST_DELAY_S))
            process.kill()
            code = process.wait()
        if line != "ready\n" or code != -signal.SIGKILL:
            result.failures.append(f"the publisher of kill {number} ended by itself, with {code}")
        published = len(_ids_since(store, before))
        # The list of derived tables is there from before the publication until after the stable names.
        is_within = any(True for _ in store.list("catalog/derived/"))
        result.counts["kills"] += 1
        result.counts["kills within a publication"] += is_within
        where = "within a publication" if is_within else "before or after one"
        report(f"kill {number}, {where}: {published} snapshots published")


def _ids_since(store: ObjectStore, snapshot: str) -> list[str]:
    found: list[str] = []
    for state in published_history(store, require_snapshot(store)):
        if state.snapshot.id == snapshot:
            break
        found.append(state.snapshot.id)
    return found


def _check_answers(lake: Path, answers: list[Answer], yesterday: str, result: SoakResult) -> None:
    expected: dict[str, Answer] = {}
    for answer in answers:
        result.counts[answer.kind] += 1
        if answer.problem:
            result.counts["missing answers"] += 1
            result.failures += [f"{answer.kind}: {answer.problem}"][: _SHOWN - len(result.failures)]
            continue
        named = set(answer.snapshots)
        if len(named) != 1:
            result.counts["answers of several snapshots"] += 1
            result.failures.append(f"{answer.kind} has parts of {', '.join(sorted(named))}")
            continue
        (snapshot,) = named
        if snapshot not in expected:
            expected[snapshot] = Answer("expected")
            add_tables(expected[snapshot], open_catalog(lake, as_of=snapshot))
        whole = expected[snapshot]
        others = [name for name, digest in answer.digests.items() if digest != whole.digests[name]]
        if others:
            result.counts["mixed answers"] += 1
            rows = {name: f"{answer.rows[name]} of {whole.rows[name]} rows" for name in others}
            result.failures.append(f"{answer.kind} of {snapshot} is not what it holds: {rows}")
        if answer.kind in {"python: yesterday", "http: by id"} and snapshot != yesterday:
            result.failures.append(f"{answer.kind} is of {snapshot}, not of {yesterday}")
        result.counts["walks over a publication"] += answer.published_meanwhile
    result.counts["answers"] = len(answers)
    result.counts["snapshots seen"] = len(expected)
    for name in ("missing answers", "answers of several snapshots", "mixed answers"):
        result.counts[name] += 0


def _check_states(store: ObjectStore, result: SoakResult) -> None:
    """Check each published state by the order of publication, and what is left in the end."""
    states = list(published_history(store, require_snapshot(store)))
    result.counts["snapshots published"] = len(states)
    for state in states:
        entries = state.snapshot.entries
        generations = [int(entries[key].inputs_version[1:]) for key in SESSIONS if key in entries]
        is_in_order = sorted(generations, reverse=True) == generations and generations[0] - generations[-1] <= 1
        rows = {entry.inputs_version: entry.rows for entry in entries.values()}
        is_whole = all(count == laps_of(int(version[1:])) + 2 for version, count in rows.items())
        if not (is_in_order and is_whole):
            result.failures.append(f"{state.snapshot.id} was never published: generations {generations}, rows {rows}")
    if len(states[0].snapshot.entries) != len(SESSIONS):
        result.failures.append(f"{states[0].snapshot.id} lacks a session")
    try:
        result.failures += [f"{one.key}: {one.problem}" for one in verify_lake(store, is_deep=True).wrong]
    except ApexError as error:
        result.failures.append(f"verify --deep: {error}")
