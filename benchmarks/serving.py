"""Measures `apex serve`: how long answers take when requests come at a fixed rate, and how much memory it uses.

Run it from the project's folder on a lake with laps and telemetry (Linux):

    python benchmarks/serving.py LAKE TRACK SESSION CAR LAP [--seconds 20] [--mixed-minutes 10]

The generator is open-loop: requests leave at their time whether earlier ones were answered or not, and the time to an
answer counts from then. A generator that waits for answers would hide a stalled server. It shares the cores with the
server, as on the machine that the figures in docs/http.md are from.
"""

import argparse
import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

_START_TIMEOUT_S = 60
# As many as a busy page server's proxy keeps open.
_CONNECTIONS = 32
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Work:
    """One kind of request at one rate.

    Attributes:
        name: For the report.
        rate: Requests per second.
        target: Returns the address of the nth request.
        encoding: What the client accepts.
    """

    name: str
    rate: int
    target: Callable[[int], str]
    encoding: str = "identity"


async def run(port: int, work: Work, seconds: float) -> list[float]:
    """Send requests at their time, and return how long each took from then, in milliseconds."""
    due: asyncio.Queue[tuple[float, int] | None] = asyncio.Queue()
    took_ms: list[float] = []

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
        while (item := await due.get()) is not None:
            planned_s, number = item
            writer.write(
                f"GET {work.target(number)} HTTP/1.1\r\n"
                f"Host: 127.0.0.1\r\nAccept-Encoding: {work.encoding}\r\n\r\n".encode()
            )
            head = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            if b" 200 " not in head.split(b"\r\n", 1)[0] or length is None:
                raise SystemExit(f"{work.target(number)}: {head.decode()}")
            await reader.readexactly(int(length[1]))
            took_ms.append((time.perf_counter() - planned_s) * 1000)
        writer.close()

    connections = [asyncio.create_task(connection()) for _ in range(_CONNECTIONS)]
    started_s = time.perf_counter()
    for number in range(int(work.rate * seconds)):
        planned_s = started_s + number / work.rate
        await asyncio.sleep(max(0.0, planned_s - time.perf_counter()))
        due.put_nowait((planned_s, number))
    for _ in connections:
        due.put_nowait(None)
    await asyncio.gather(*connections)
    return took_ms


@contextmanager
def serving(lake: str) -> Generator[tuple[int, int]]:
    """Run ``apex serve``, and yield its port and its process."""
    command = [sys.executable, "-m", "apex_pipeline", "serve", "--lake", lake, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            found = re.search(r":(\d+)/", line)
            if found is None:
                raise SystemExit(f"apex serve did not start: {line}")
            yield int(found[1]), process.pid
        finally:
            process.terminate()
            process.wait(_START_TIMEOUT_S)


def memory_mb(pid: int, kind: str = "VmRSS") -> float:
    """Return the resident memory of a process, in 1,000,000 bytes."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(re.search(rf"{kind}:\s+(\d+) kB", status)[1]) * 1024 / 1e6  # type: ignore[index]  # Linux always has it


def _report(work: Work, took_ms: list[float], seconds: float) -> None:
    """Print a line; ``seconds`` is how long all answers took together."""
    ordered = sorted(took_ms)
    shares = [ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in (0.5, 0.99)]
    done = len(took_ms) / seconds
    print(f"| {work.name} | {work.rate}/s | {done:.0f}/s | {shares[0]:.1f} | {shares[1]:.1f} | {ordered[-1]:.1f} |")


def _works(arguments: argparse.Namespace) -> list[Work]:
    laps = f"/api/v1/sessions/{arguments.track}/{arguments.session}/laps"
    lap = f"/api/v1/sessions/{arguments.track}/{arguments.session}/cars/{arguments.car}/laps/{arguments.lap}/telemetry"
    channels = "channels=speed_kph,brake_front_bar,throttle_blade_pct,steering_deg"
    fresh = count()
    return [
        Work("laps, JSON", 300, lambda _: laps),
        Work("laps, JSON", 1_000, lambda _: laps),
        Work("laps, JSON, gzip", 1_000, lambda _: laps, "gzip"),
        Work("laps, Arrow", 500, lambda _: f"{laps}?format=arrow"),
        Work("one lap, 4 channels, 500 points, kept", 100, lambda _: f"{lap}?{channels}&max_points=500"),
        # Another number of points each time, up to the most that may be asked for, so that no answer is kept at first.
        Work(
            "one lap, 4 channels, 500 points, made",
            100,
            lambda _: f"{lap}?{channels}&max_points={500 + next(fresh) % 19_500}",
        ),
    ]


def main() -> None:
    """Print one line per kind of request, and the memory of the server."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("lake", "track", "session", "car", "lap"):
        parser.add_argument(name)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--mixed-minutes", type=float, default=0)
    arguments = parser.parse_args()
    works = _works(arguments)
    with serving(arguments.lake) as (port, pid):
        print(
            f"load {Path('/proc/loadavg').read_text(encoding='ascii').split()[0]}, at start {memory_mb(pid):.0f} MB\n"
        )
        print("| answer | asked | done | p50, ms | p99, ms | worst, ms |\n| --- | ---: | ---: | ---: | ---: | ---: |")
        for work in works:
            asyncio.run(run(port, work, 1))  # opens the lake, and makes what is kept
            started_s = time.perf_counter()
            took_ms = asyncio.run(run(port, work, arguments.seconds))
            _report(work, took_ms, time.perf_counter() - started_s)
        print(f"\nload {Path('/proc/loadavg').read_text(encoding='ascii').split()[0]}, memory {memory_mb(pid):.0f} MB")
        for minute in range(int(arguments.mixed_minutes)):
            for work in (works[0], works[2], works[5]):
                asyncio.run(run(port, work, 20))
            print(f"minute {minute + 1}: {memory_mb(pid):.0f} MB, at most {memory_mb(pid, 'VmHWM'):.0f} MB", flush=True)


if __name__ == "__main__":
    main()
