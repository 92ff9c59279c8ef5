"""The services that an API keeps: a database that is away is looked for once, and not by each request."""

import asyncio
import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from unittest.mock import Mock

import httpx
import pytest
from anyio.to_thread import current_default_thread_limiter

from apex_pipeline.api import services as services_module
from apex_pipeline.api.app import create_app
from apex_pipeline.api.services import KeptServices
from apex_pipeline.errors import StoreConfigError
from apex_pipeline.races.errors import DatabaseUnavailableError
from apex_pipeline.races.reaper import Reaped
from apex_pipeline.settings import Settings, load_settings


def test_requests_that_wait_for_a_database_share_one_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[int] = []

    @contextmanager
    def away(_: Settings) -> Generator[None]:
        looks.append(1)
        raise DatabaseUnavailableError("The database is away.", "Start it.")
        yield

    monkeypatch.setattr(services_module, "opened_services", away)
    kept = KeptServices(load_settings())

    def refused(_: int) -> bool:
        with pytest.raises(DatabaseUnavailableError, match="The database is away"):
            kept.get()
        return True

    with ThreadPoolExecutor(10) as pool:
        assert all(pool.map(refused, range(50)))
    assert len(looks) == 1


def test_a_database_that_is_back_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services_module, "_AWAY_FOR_S", 0.0)
    found: list[object] = []

    @contextmanager
    def back_at_the_second_look(_: Settings) -> Generator[object]:
        found.append(object())
        if len(found) == 1:
            raise DatabaseUnavailableError("The database is away.", "Start it.")
        yield found[-1]

    monkeypatch.setattr(services_module, "opened_services", back_at_the_second_look)
    kept = KeptServices(load_settings())
    with pytest.raises(DatabaseUnavailableError):
        kept.get()
    assert kept.get() is found[-1]
    assert kept.get() is found[-1]
    assert len(found) == 2


@pytest.mark.parametrize("refusal", [None, StoreConfigError("There is no such bucket.", "Create it.")])
def test_the_store_is_opened_before_the_first_upload_and_need_not_be_there(
    refusal: StoreConfigError | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looked = threading.Event()

    def look() -> None:
        looked.set()
        if refusal is not None:
            raise refusal

    @contextmanager
    def opened(_: Settings) -> Generator[object]:
        yield Mock(store=Mock(check_access=look))

    monkeypatch.setattr(services_module, "opened_services", opened)
    monkeypatch.setattr(services_module, "reap", Mock(return_value=Reaped(0, 0, 0)))
    with KeptServices(load_settings()).running():
        assert looked.wait(10)
        deadline = time.monotonic() + 10
        while refusal is not None and "no such bucket" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.01)
    assert ("no such bucket" in caplog.text) == (refusal is not None)


def test_the_process_says_that_it_lives_while_every_thread_waits_for_a_database() -> None:
    async def ask() -> httpx.Response:
        limiter = current_default_thread_limiter()
        limiter.total_tokens = 1
        transport = httpx.ASGITransport(create_app(load_settings()), client=("127.0.0.1", 1))
        async with limiter, httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await asyncio.wait_for(client.get("/health"), timeout=10)

    assert asyncio.run(ask()).json() == {"status": "ok"}
