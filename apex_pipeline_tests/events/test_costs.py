"""What waiting and shipping cost: requests, CPU, memory, and the time until a finished file is in the bucket."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from apex_pipeline.events.folder import list_folder
from apex_pipeline.events.journal import Entry, EntryState, Journal, journal_path
from apex_pipeline.events.ship import opened
from apex_pipeline_tests.events.harness import KEY, NAME, XML, Harness

_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def _watching(harness: Harness, **variables: str) -> Generator[int]:
    """Run ``apex events watch`` and yield its process id."""
    command = [sys.executable, "-m", "apex_pipeline", "events", "watch", str(harness.folder)]
    process = subprocess.Popen(
        command, env=harness.environment(**variables), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _cpu_s(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS


def _wait_for(harness: Harness, key: str, limit_s: float) -> float:
    """Return how long it takes until an object is there."""
    started_s = time.monotonic()
    while key not in harness.bucket.object_keys():
        assert time.monotonic() - started_s < limit_s
        time.sleep(0.02)
    return time.monotonic() - started_s


def _deliver_on_paper(harness: Harness, count: int) -> None:
    """Write files and journal entries that say they are in the bucket."""
    for number in range(count):
        (harness.folder / f"event_{number:06}.xml").write_bytes(b"<EVENT/>")
    journal = Journal(journal_path(harness.state_dir), harness.folder)
    for file in list_folder(harness.folder).files:
        journal.put(
            Entry(file.name, *file.state, EntryState.DELIVERED, ctime_ns=file.ctime_ns, sha256="0" * 64, key="k")
        )
    journal.close()


def _poll(harness: Harness) -> tuple[float, int, int]:
    """Return the CPU seconds of one poll, the files it would ship, and its requests."""
    with opened(harness.config(events_on_success="keep")) as ready:
        started_s = time.process_time()
        waiting = ready.shipper.pending(list_folder(harness.folder).files)
        return time.process_time() - started_s, len(waiting), ready.store.request_stats.requests


def test_a_poll_over_delivered_files_sends_no_request(harness: Harness) -> None:
    _deliver_on_paper(harness, 500)
    assert _poll(harness)[1:] == (0, 0)


@pytest.mark.soak
def test_a_poll_over_a_hundred_thousand_delivered_files_takes_two_seconds_at_most(harness: Harness) -> None:
    _deliver_on_paper(harness, 100_000)
    cpu_s, waiting, requests = _poll(harness)
    assert (waiting, requests) == (0, 0)
    assert cpu_s <= 2


@pytest.mark.soak
@pytest.mark.parametrize("poll", ["0.5", "2"])
def test_an_idle_watch_takes_at_most_one_percent_of_a_core(harness: Harness, poll: str) -> None:
    with _watching(harness, EVENTS_POLL_S=poll, EVENTS_SETTLE_S="0") as process:
        harness.write(NAME)
        _wait_for(harness, KEY, 60)
        time.sleep(2)
        before_s = _cpu_s(process)
        time.sleep(30)
        assert (_cpu_s(process) - before_s) / 30 <= 0.01


@pytest.mark.soak
@pytest.mark.parametrize("way", ["written", "renamed"])
def test_a_file_is_in_the_bucket_two_seconds_after_its_settle_time_at_most(harness: Harness, way: str) -> None:
    settle_s = 3.0
    with _watching(harness, EVENTS_SETTLE_S=str(settle_s)):  # the poll at its default, 2 s
        harness.write("20250729_000000.xml")
        _wait_for(harness, "xml-events/20250729_000000.xml", 60)
        for second in range(5):
            name = f"20250729_16150{second}.xml"
            hidden = harness.folder / f".{name}"
            if way == "renamed":
                hidden.write_bytes(XML + name.encode().join((b"<!--", b"-->")))
                time.sleep(0.05)
                hidden.rename(harness.folder / name)
            else:
                (harness.folder / name).write_bytes(XML + name.encode().join((b"<!--", b"-->")))
            assert _wait_for(harness, f"xml-events/{name}", 30) <= settle_s + 2


@pytest.mark.soak
@pytest.mark.parametrize(("name", "size"), [(NAME, 15_000_000), ("20250729_161500.bin", 300_000_000)])
def test_the_memory_of_shipping_does_not_grow_with_the_file(harness: Harness, name: str, size: int) -> None:
    line = b"<EVENT><TYPE>lap</TYPE></EVENT>\n"
    harness.write(name, b"<EVENTS>" + line * (size // len(line)) + b"</EVENTS>")
    command = [sys.executable, "-m", "apex_pipeline", "events", "ship", str(harness.folder)]
    subprocess.run(command, env=harness.environment(EVENTS_SETTLE_S="0"), check=True, stdout=subprocess.DEVNULL)
    # Measured: 140 MB of libraries, the file if it is checked, or its parts.
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 300_000
