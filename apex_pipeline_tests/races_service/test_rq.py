"""The queue of Redis: what RQ shows, what is lost with it, and a worker that processes what waits."""

import os
import signal
import socket
import threading
import time

import pytest

from apex_pipeline.errors import ConfigurationError
from apex_pipeline.races import queues
from apex_pipeline.races.errors import QueueUnavailableError
from apex_pipeline.races.queues import LocalQueue, RqQueue, open_queue, redis_place
from apex_pipeline.races.services import opened_services
from apex_pipeline.races.submit import submit_race
from apex_pipeline.races.views import list_race_ids, view_race
from apex_pipeline.races.worker import is_worker_alive, run_rq_worker
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline_tests.races_service.conftest import two_laps
from apex_pipeline_tests.servers.redis_server import RedisServer


@pytest.fixture
def settings(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in redis_server.environment.items():
        monkeypatch.setenv(name, value)
    return load_settings()


@pytest.fixture
def queue(settings: Settings) -> RqQueue:
    opened = open_queue(settings)
    assert isinstance(opened, RqQueue)
    return opened


def test_a_job_waits_under_its_id_until_the_queue_is_emptied(queue: RqQueue, redis_server: RedisServer) -> None:
    queue.check()
    queue.put("race", "job")
    queue.put("race", "job")  # the outbox is emptied at least once
    with redis_server.client() as client:
        assert client.llen("rq:queue:race_processing") == 2
        assert queue.is_waiting("job")
        assert not queue.is_waiting("another-job")
        client.flushall()
    assert not queue.is_waiting("job")


def test_a_worker_of_rq_processes_what_waits(settings: Settings) -> None:
    with opened_services(settings) as services:
        answers = [submit_race(services, blob) for blob in (two_laps(), b"no race")]
        run_rq_worker(settings, burst=True)
        views = [view_race(services.database, answer.race_id) for answer in answers]
        assert [(view.status, view.attempts) for view in views] == [("Ready", 1), ("Failed", 1)]
        run_rq_worker(settings, burst=True)
        assert view_race(services.database, answers[0].race_id) == views[0]


def test_a_worker_that_works_is_told_from_none(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_worker_alive(settings)
    seen: list[bool] = []

    def look_and_stop() -> None:
        deadline = time.monotonic() + 20
        while not any(seen) and time.monotonic() < deadline:
            seen.append(is_worker_alive(settings))
            time.sleep(0.05)
        monkeypatch.setattr(socket, "gethostname", lambda: "another machine")
        seen.append(is_worker_alive(settings))
        os.kill(os.getpid(), signal.SIGTERM)  # ends the worker as Docker does

    thread = threading.Thread(target=look_and_stop)
    thread.start()
    run_rq_worker(settings)
    thread.join()
    assert seen[-2:] == [True, False]


@pytest.mark.parametrize(
    "chosen",
    [{"redis_host": "127.0.0.1", "redis_port": 1}, {"redis_url": "redis://:hidden@127.0.0.1:1/0"}],
    ids=["host", "url"],
)
def test_while_redis_is_away_nothing_is_registered_and_no_password_is_shown(chosen: dict[str, object]) -> None:
    settings = load_settings(**chosen)
    with opened_services(settings) as services:
        with pytest.raises(QueueUnavailableError, match=r"127\.0\.0\.1:1") as caught:
            submit_race(services, two_laps())
        assert "hidden" not in str(caught.value)
        assert list_race_ids(services.database) == []
        assert list(services.store.list("races/")) == []
    assert "hidden" not in redis_place(settings)
    with pytest.raises(QueueUnavailableError):
        run_rq_worker(settings, burst=True)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://cache.example:6380/1", "cache.example:6380"),
        ("rediss://user:{}@cache.example", "cache.example:6379"),
        ("redis://cache.example:6379?password={}@home", "cache.example:6379"),
        ("redis://:hid/den@cache.example", "REDIS_URL"),
        ("redis://user:hid/den@cache.example", "REDIS_URL"),
        ("unix:///run/redis.sock?password=hidden", "REDIS_URL"),
    ],
)
def test_a_place_never_contains_a_password(url: str, place: str) -> None:
    assert redis_place(load_settings(redis_url=url.format("hidden"))) == place


def test_without_redis_there_is_no_worker_of_it_and_that_is_said() -> None:
    for ask in (is_worker_alive, run_rq_worker):
        with pytest.raises(ConfigurationError, match="Neither REDIS_HOST nor REDIS_URL is set"):
            ask(load_settings())


def test_a_url_that_is_none_and_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="REDIS_URL cannot be used"):
        open_queue(load_settings(redis_url="http://example.org"))
    monkeypatch.setattr(queues, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match="apex-pipeline\\[queue\\]"):
        open_queue(load_settings(redis_host="localhost"))


def test_without_redis_one_process_is_started_and_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []

    class Process:
        returncode: int | None = None

        def __init__(self, command: list[str], **_: object) -> None:
            started.append(command)

    monkeypatch.setattr(queues.subprocess, "Popen", Process)
    queue = open_queue(load_settings())
    assert isinstance(queue, LocalQueue)
    queue.check()
    assert not queue.is_waiting("job")
    queue.put("race", "job")
    with queue.working() as is_first:
        assert is_first
        queue.put("another race", "another-job")
        assert queue.is_waiting("job")
    assert [command[-3:] for command in started] == [["race", "worker", "--burst"]]
    assert not queue.is_waiting("job")
