"""Backfills large sessions in a container of limited memory, with the Dagster home that ``apex`` makes there.

    .venv/bin/python -m benchmarks.large_sessions --sessions 10 --megabytes 1000 --memory-gb 8

puts itself into a control group with that limit (Linux, as root), makes the home, starts code server, daemon and
webserver, and launches one backfill of all sessions, as the UI does. It needs 2.3 times the size of the sessions on
disk; the telemetry is synthetic, see ``telemetry_engines/inputs.py``. The results go to
``benchmarks/results/large_sessions.md``.

The exit code is 1 if a run had to be repeated, a process was killed for want of memory, or a session was not published.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
from dagster import DagsterRunStatus

from apex_pipeline.lake.snapshot import read_current
from apex_pipeline.orchestration.instance import prepare_dagster_home
from apex_pipeline.settings import DEFAULT_MEMORY_LIMIT
from apex_pipeline_tests.e2e.machine import Machine
from apex_pipeline_tests.orchestration.dagster_server import DagsterServer
from apex_pipeline_tests.orchestration.lake_runs import STEPS, session_files
from apex_pipeline_tests.orchestration.services import Services

_RESULTS = Path(__file__).resolve().parent / "results"
_GROUPS = Path("/sys/fs/cgroup")
_SAMPLE_S = 0.5
_ENDS_WITHIN_S = 60.0
# None of them has another name in the lake.
_TRACKS = ("spa", "sebring", "sonoma", "monza", "imola", "fuji", "suzuka", "jerez", "misano", "estoril", "portimao")
_LAST_READING = (
    ",1,I_R06_2025-09-07,R1,kafka:gr-raw,2025-09-06T18:41:00.000Z,GR86-002-2,0,speed,{value},2025-09-06T18:41:00.000Z,"
    "GR86-002-2,2\n"
)


@dataclass
class _Peak:
    """Most memory of the control group in bytes, and how many of its processes were killed for want of it."""

    anonymous: int = 0
    total: int = 0
    killed: int = 0


class _Group:
    """A control group for memory, of the first or second version of the kernel's interface.

    Args:
        limit: Most memory of its processes and their files in the page cache, in bytes.
    """

    def __init__(self, limit: int) -> None:
        self._is_first = (_GROUPS / "memory").is_dir()
        self._folder = (_GROUPS / "memory" if self._is_first else _GROUPS) / f"apex-{os.getpid()}"
        self._folder.mkdir()
        (self._folder / ("memory.limit_in_bytes" if self._is_first else "memory.max")).write_text(str(limit))

    def enter(self) -> None:
        """Put this process, and so all that it starts, into the group."""
        (self._folder / "cgroup.procs").write_text(str(os.getpid()))

    def leave(self) -> None:
        """Take this process out and remove the group, once the last process in it has ended."""
        (self._folder.parent / "cgroup.procs").write_text(str(os.getpid()))
        deadline_s = time.monotonic() + _ENDS_WITHIN_S
        while time.monotonic() < deadline_s:
            try:
                self._folder.rmdir()
            except OSError:
                time.sleep(_SAMPLE_S)
            else:
                return
        print(f"{self._folder} still has processes; it is left.", file=sys.stderr)

    def look(self, peak: _Peak) -> None:
        """Take the present into account."""
        facts = dict(line.split() for line in (self._folder / "memory.stat").read_text().splitlines())
        peak.anonymous = max(peak.anonymous, int(facts["total_rss" if self._is_first else "anon"]))
        usage = "memory.usage_in_bytes" if self._is_first else "memory.current"
        peak.total = max(peak.total, int((self._folder / usage).read_text()))
        events = (self._folder / ("memory.oom_control" if self._is_first else "memory.events")).read_text()
        peak.killed = int(dict(line.split() for line in events.splitlines())["oom_kill"])


def main() -> int:
    """Run the backfill; return 1 if something was killed, repeated or not published."""
    arguments = _arguments()
    folder = Path(tempfile.mkdtemp(prefix="apex-large-", dir=arguments.folder))
    try:
        source, keys = large_sessions(folder, arguments.sessions, arguments.megabytes, arguments.telemetry)
        with _limited(int(arguments.memory_gb * 1e9)) as peak:
            report, is_good = _backfill(folder, source, keys, peak)
    finally:
        shutil.rmtree(folder)
    head = (
        f"Measured on {datetime.now(UTC):%Y-%m-%d}: {arguments.sessions} sessions of {arguments.megabytes:,} MB, "
        f"{arguments.memory_gb:g} GB of memory, {os.cpu_count()} processors with a load of {os.getloadavg()[1]:.0f}."
    )
    text = f"# Large sessions in little memory\n\n{head}\n\n{report}\n"
    print(text)
    (_RESULTS / "large_sessions.md").write_text(text, encoding="utf-8")
    return 0 if is_good else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--sessions", type=int, default=10, help=f"number of sessions, up to {len(_TRACKS)}; default 10"
    )
    parser.add_argument("--megabytes", type=int, default=1_000, help="size of the telemetry of each; default 1000")
    parser.add_argument("--memory-gb", type=float, default=8.0, help="limit of the control group; default 8")
    parser.add_argument("--telemetry", type=Path, help="a telemetry file of that size, instead of generating one")
    parser.add_argument("--folder", type=Path, help="where everything is kept meanwhile; default: the temporary folder")
    return parser.parse_args()


def large_sessions(folder: Path, count: int, megabytes: int, telemetry: Path | None) -> tuple[Path, list[str]]:
    """Write sessions below ``source``, each with telemetry of its own: that of all, and one more reading.

    Args:
        folder: Where to write.
        count: Number of sessions.
        megabytes: Size of the telemetry of each.
        telemetry: A telemetry file of that size; ``None`` to generate one.

    Returns:
        The source folder, and the sessions.
    """
    if telemetry is None:
        telemetry = folder / "telemetry.csv"
        here = Path(__file__).resolve().parent
        command = [sys.executable, "-m", "telemetry_engines.inputs", str(telemetry), str(megabytes), "5", "published"]
        subprocess.run(command, cwd=here, check=True)
    keys = [f"{track}/R1" for track in _TRACKS[:count]]
    for number, key in enumerate(keys):
        target = folder / "source" / key.partition("/")[0]
        target.mkdir(parents=True)
        for name, text in session_files(key, 20).items():
            (target / name).write_text(text, encoding="utf-8")
        path = target / "R1_telemetry.csv"
        shutil.copyfile(telemetry, path)
        with path.open("a", encoding="utf-8") as file:
            file.write(_LAST_READING.format(value=number))
    return folder / "source", keys


@contextmanager
def _limited(limit: int) -> Generator[_Peak]:
    """Limit the memory of this process and all that it starts, and watch it."""
    peak, group, is_over = _Peak(), _Group(limit), threading.Event()

    def watch() -> None:
        while not is_over.wait(_SAMPLE_S):
            group.look(peak)

    group.enter()
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        is_over.set()
        watcher.join()
        group.look(peak)
        group.leave()


def _backfill(folder: Path, source: Path, keys: list[str], peak: _Peak) -> tuple[str, bool]:
    lake = {"APEX_LAKE_DIR": str(folder / "lake"), "APEX_SOURCE_DIR": str(source)}
    machine = Machine(folder / "machine", lake)
    home = prepare_dagster_home(Path(machine.environment["DAGSTER_HOME"]), DEFAULT_MEMORY_LIMIT)
    with (
        dg.DagsterInstance.from_config(str(home)) as instance,
        Services(machine.folder, machine.environment, has_webserver=True) as services,
    ):
        instance.add_dynamic_partitions("sessions", keys)
        services.start()
        server = DagsterServer(services.url)
        server.wait_until_loaded()
        started_s = time.monotonic()
        status = server.finished_backfill(
            server.launch_backfill([asset for step in STEPS for asset in step], keys), timeout_s=7_200
        )
        seconds = time.monotonic() - started_s
        runs = instance.get_runs()
        at_once = instance.get_concurrency_config().run_queue_config
    snapshot = read_current(machine.store)
    published = len(snapshot.keys) if snapshot else 0
    failed = sum(run.status is not DagsterRunStatus.SUCCESS for run in runs)
    rows = {
        "backfill": status,
        "runs at once, as the home says": at_once.max_concurrent_runs if at_once else "?",
        "seconds": f"{seconds:,.0f}",
        "runs, of them failed": f"{len(runs)}, {failed}",
        "sessions published": published,
        "processes killed for want of memory": peak.killed,
        "most memory of all processes, GB": f"{peak.anonymous / 1e9:.2f}",
        "the same with files in the page cache, GB": f"{peak.total / 1e9:.2f}",
    }
    table = "\n".join(
        ["| what | value |", "| --- | ---: |", *(f"| {name} | {value} |" for name, value in rows.items())]
    )
    return table, not (failed or peak.killed) and published == len(keys) and len(runs) == len(keys)


if __name__ == "__main__":
    sys.exit(main())
