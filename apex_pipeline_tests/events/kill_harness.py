# ruff: noqa: S311  -- chance makes tests here, not secrets
"""Kills shippers at random while a producer rotates files in bursts, and checks what is in the bucket and in ``done/``.

``test_kills.py`` runs a small test with the gate and large ones as soak. The shippers are real processes that reach the
store through the fault proxy, which throttles, resets and loses replies; the bucket is checked without it.
"""

import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass

from apex_pipeline_tests.events.harness import Harness
from apex_pipeline_tests.servers.fault_proxy import Exchange, FaultProxy
from apex_pipeline_tests.servers.faults import SLOW_DOWN, lose_reply, reset

_LIMIT_S = 900.0
# One request in so many gets a fault.
_FAULT_EVERY = 25
_FIRST_S = 1_753_805_700  # 2025-07-29 16:15:00 UTC


@dataclass(frozen=True)
class KillPlan:
    """The size of a test.

    Attributes:
        files: Number of files.
        largest_bytes: Size of the largest; the smallest has 1 KB.
        kills: How often a shipper is killed.
        shippers: How many run at the same time.
        polls_only: Whether the shippers use listings alone.
        seed: Seed of sizes, bursts and kills.
    """

    files: int
    largest_bytes: int
    kills: int
    shippers: int = 1
    polls_only: bool = False
    seed: int = 16


@dataclass(frozen=True)
class KillResult:
    """What was counted.

    Attributes:
        seconds: From the first file to the last one in the bucket.
        bytes: Size of all files.
        puts: Requests that wrote an object of an event.
        heads: Requests that looked one up.
        faults: Requests that were given a fault.
        kills: Processes killed.
    """

    seconds: float
    bytes: int
    puts: int
    heads: int
    faults: int
    kills: int


def event_content(number: int, size: int) -> bytes:
    """Return an XML file of about this size that no other number has."""
    start = f'<EVENTS><EVENT id="{number}"><DATA>'.encode()
    return start + random.Random(number).randbytes(size // 2).hex().encode() + b"</DATA></EVENT></EVENTS>\n"


def run_kills(harness: Harness, proxy: FaultProxy, plan: KillPlan) -> KillResult:
    """Rotate files in bursts and kill shippers until all files are in ``done/``; raise if anything is wrong."""
    expected = _expected(plan)
    faults = _inject_faults(proxy, plan.seed)
    producer = threading.Thread(target=_produce, args=(harness, expected, plan.seed))
    shippers = [_start(harness, plan) for _ in range(plan.shippers)]
    started_s = time.monotonic()
    producer.start()
    chance, kills = random.Random(plan.seed), 0
    try:
        while producer.is_alive() or _done_count(harness) < plan.files:
            assert time.monotonic() - started_s < _LIMIT_S, f"{_done_count(harness)} of {plan.files} files are done"
            time.sleep(chance.uniform(0.3, 1.2) if kills < plan.kills else 0.1)
            # In step with the progress, so that kills meet every phase.
            if kills < plan.kills and _done_count(harness) >= plan.files * kills / (plan.kills + 1):
                victim = chance.randrange(plan.shippers)
                shippers[victim].kill()
                shippers[victim].wait()
                shippers[victim] = _start(harness, plan)
                kills += 1
        seconds = time.monotonic() - started_s
    finally:
        for shipper in shippers:
            shipper.send_signal(signal.SIGTERM)
            shipper.wait()
        producer.join()
    harness.ship()  # closes the entry of a file that was moved just before the last kill
    _check(harness, expected)
    assert kills == plan.kills
    total = sum(map(len, expected.values()))
    puts, heads = proxy.count("PUT", "xml-events/"), proxy.count("HEAD", "xml-events/")
    return KillResult(seconds, total, puts, heads, len(faults), kills)


def _expected(plan: KillPlan) -> dict[str, bytes]:
    chance = random.Random(plan.seed)
    names = [time.strftime("%Y%m%d_%H%M%S.xml", time.gmtime(_FIRST_S + number)) for number in range(plan.files)]
    return {name: event_content(number, chance.randint(1_000, plan.largest_bytes)) for number, name in enumerate(names)}


def _inject_faults(proxy: FaultProxy, seed: int) -> list[str]:
    """Give every 25th request a fault of changing kind, and return the list in which they are noted."""
    chance, noted = random.Random(seed), list[str]()

    def trouble(exchange: Exchange) -> None:
        noted.append(exchange.request.method)
        chance.choice((SLOW_DOWN, reset, lose_reply))(exchange)

    def is_hit(request: object) -> bool:
        del request
        return chance.randrange(_FAULT_EVERY) == 0

    proxy.inject(trouble, contains="xml-events/", where=is_hit, times=float("inf"))
    return noted


def _produce(harness: Harness, files: dict[str, bytes], seed: int) -> None:
    """Rotate the files in bursts: half of them written in place, half renamed in."""
    chance, waiting = random.Random(seed), 0
    for name, content in files.items():
        if waiting == 0:
            waiting = chance.randint(1, 60)
            time.sleep(chance.uniform(0, 0.3))
        waiting -= 1
        if chance.random() < 0.5:
            hidden = harness.folder / f".{name}"
            hidden.write_bytes(content)
            hidden.rename(harness.folder / name)
        else:
            (harness.folder / name).write_bytes(content)


def _start(harness: Harness, plan: KillPlan) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "apex_pipeline", "events", "watch", str(harness.folder)]
    if plan.polls_only:
        command.append("--poll-only")
    environment = harness.environment(
        EVENTS_SETTLE_S="0.3", EVENTS_POLL_S="0.2", RETRY_BASE_DELAY="0.02", MAX_RETRIES="8"
    )
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _done_count(harness: Harness) -> int:
    return sum(1 for _ in (harness.folder / "done").rglob("*.xml"))


def _check(harness: Harness, expected: dict[str, bytes]) -> None:
    """Each file is in the bucket once, with equal bytes, in order, and in ``done/`` once; and nothing else is."""
    stored = {key: body for key, body in harness.objects().items() if key.startswith("xml-events/")}
    assert stored == {f"xml-events/{name}": content for name, content in expected.items()}
    assert Counter(path.rpartition("/")[2] for path in harness.done()) == Counter(list(expected))
    assert {path.rpartition("/")[2]: body for path, body in harness.done().items()} == expected
    assert [name for name in harness.left() if not name.startswith(".claimed")] == []
    entries = [entry for entry in harness.entries() if entry.state.value == "done"]
    assert sorted(str(entry.key) for entry in entries) == sorted(stored)
    # The journal is in the order of delivery.
    names = [entry.name for entry in entries]
    assert names == sorted(names)
