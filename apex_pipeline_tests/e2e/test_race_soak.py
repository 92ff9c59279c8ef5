"""Fifty uploads at once while processes of every kind are killed: nothing lost, nothing doubled, every status right."""

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg
import pytest
import redis

from apex_pipeline_tests.races_service.conftest import LAP_TIMES_S, two_laps
from apex_pipeline_tests.servers.race_stack import RaceStack, running_stack

_LOG = logging.getLogger(__name__)
_RACES = 50
_WORKERS = ("worker.1", "worker.2")
_KILLED_FOR_S = 45
_RIGHT_WITHIN_S = 120
# What Docker's `restart: always` does after a death: a short pause, then the same command line.
_RESTART_PAUSE_S = 0.5
_HORSE_WAIT_S = 4
_SEED = 15
_KINDS = ("worker", "horse", "horse", "worker and horse", "api", "redis", "postgres")


@pytest.fixture
def stack() -> Iterator[RaceStack]:
    with running_stack() as stack:
        stack.start_api()
        for worker in _WORKERS:
            stack.start(worker)
        yield stack


class _Killer:
    """Kills at random, and starts again what it has killed.

    Args:
        stack: The services.
    """

    def __init__(self, stack: RaceStack) -> None:
        self._stack = stack
        self._random = random.Random(_SEED)  # noqa: S311  -- repeatable, not secret
        self.killed: Counter[str] = Counter()

    def kill_one(self) -> None:
        """Kill one process after a while, and start it again."""
        time.sleep(self._random.uniform(0.3, 1.5))
        kind = self._random.choice(_KINDS)
        worker = self._random.choice(_WORKERS)
        if "horse" in kind:
            self.killed["horse"] += self._kill_horse(worker)
        if kind == "horse":
            return
        name = worker if kind.startswith("worker") else kind
        self._stack.kill(name)
        self.killed[kind] += 1
        time.sleep(_RESTART_PAUSE_S)
        self._stack.start(name)

    def _kill_horse(self, worker: str) -> bool:
        """Wait for a work-horse, which lives for a part of a second, and kill it."""
        deadline = time.monotonic() + _HORSE_WAIT_S
        while time.monotonic() < deadline:
            if self._stack.kill_horse(worker, self._random.uniform(0, 0.5)):  # before its claim, or in its work
                return True
            time.sleep(0.02)
        return False

    def restart_the_dead(self) -> None:
        """Start what has ended by itself: a worker whose Redis was away, or a database with an old process alive."""
        for name, process in list(self._stack.processes.items()):
            if name != "migrate" and process.poll() is not None:
                self._stack.start(name)


def _upload(stack: RaceStack, number: int, stopped: threading.Event) -> str:
    """Upload a race as a patient client does: until it is answered."""
    blob = two_laps(number)
    while not stopped.is_set():
        try:
            with stack.http() as client:
                answer = client.post("/race/upload", content=blob, headers={"Content-Type": "application/octet-stream"})
        except httpx.TransportError:
            time.sleep(0.3)
            continue
        assert answer.status_code in (200, 503), answer.text
        if answer.status_code == 200:
            return answer.json()["race_id"]
        assert answer.headers["Retry-After"]
        time.sleep(0.5)
    raise TimeoutError


def _statuses(stack: RaceStack) -> dict[str, str]:
    with stack.http() as client:
        races = client.get("/race/list", params={"limit": 1000}).raise_for_status().json()
    return {race["race_id"]: race["status"] for race in races}


def _are_all_ready(stack: RaceStack) -> bool:
    found = Counter(_statuses(stack).values())
    return found["Ready"] == _RACES and found["Processing"] == 0


@pytest.mark.soak
@pytest.mark.req("C-006", "C-016")
def test_fifty_uploads_survive_kills_of_everything_and_an_emptied_queue(stack: RaceStack) -> None:
    blobs = [two_laps(number) for number in range(_RACES)]
    assert len(set(blobs)) == _RACES
    killer, stopped, begun = _Killer(stack), threading.Event(), time.monotonic()
    is_flushed = False
    with ThreadPoolExecutor(_RACES) as pool:
        uploads = [pool.submit(_upload, stack, number, stopped) for number in range(_RACES)]
        try:
            while time.monotonic() - begun < _KILLED_FOR_S:
                killer.kill_one()
                killer.restart_the_dead()
                if not is_flushed and time.monotonic() - begun > _KILLED_FOR_S / 2:
                    is_flushed = _flush(stack)
            ended = time.monotonic()
            while time.monotonic() - ended < _RIGHT_WITHIN_S and not _is_done(stack):
                killer.restart_the_dead()
                time.sleep(0.5)
            waited = time.monotonic() - ended
        finally:
            stopped.set()
        answers = [upload.result() for upload in uploads]
    _LOG.info("Killed %s; right after %.0f s; attempts %s", dict(killer.killed), waited, _attempts(stack))
    assert is_flushed
    assert killer.killed["horse"] > 0
    assert waited < _RIGHT_WITHIN_S, Counter(_statuses(stack).values())
    _require_whole(stack, answers)


def _flush(stack: RaceStack) -> bool:
    try:
        stack.redis().flushall()
    except redis.RedisError:
        return False
    return True


def _is_done(stack: RaceStack) -> bool:
    try:
        return _are_all_ready(stack)
    except (httpx.HTTPError, psycopg.Error):
        return False


def _attempts(stack: RaceStack) -> dict[int, int]:
    return dict(stack.sql("SELECT attempts, count(*) FROM races GROUP BY attempts ORDER BY attempts"))


def _require_whole(stack: RaceStack, answers: list[str]) -> None:
    """Require one race per upload, each with its own laps once, and the objects that belong to them."""
    assert len(set(answers)) == _RACES
    assert _statuses(stack) == dict.fromkeys(answers, "Ready")
    assert stack.sql("SELECT count(DISTINCT sha256) FROM races") == [(_RACES,)]
    assert stack.sql("SELECT count(*) FROM race_outbox") == [(0,)]
    times = stack.sql("SELECT race_id, lap_time_s FROM laps WHERE kind = 'flying' ORDER BY race_id, lap_number")
    assert len(times) == _RACES * len(LAP_TIMES_S)
    assert [seconds for _, seconds in times] == pytest.approx(LAP_TIMES_S * _RACES, abs=0.1)
    assert stack.sql("SELECT count(*) FROM laps WHERE kind <> 'flying'") == [(_RACES,)]
    with stack.http() as client:
        for race in answers:
            laps = client.get(f"/race/{race}/laps").raise_for_status().json()
            assert client.get(f"/race/{race}/laps/{laps[0]['lap_number']}").status_code == 200
