"""The services that an API keeps: a database that is away is looked for once, and not by each request."""

import asyncio
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest
from anyio.to_thread import current_default_thread_limiter

from apex_pipeline.api import services as services_module
from apex_pipeline.api.app import create_app
from apex_pipeline.api.services import KeptServices
from apex_pipeline.races.errors import DatabaseUnavailableError
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


def test_the_process_says_that_it_lives_while_every_thread_waits_for_a_database() -> None:
    async def ask() -> httpx.Response:
        limiter = current_default_thread_limiter()
        limiter.total_tokens = 1
        transport = httpx.ASGITransport(create_app(load_settings()), client=("127.0.0.1", 1))
        async with limiter, httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await asyncio.wait_for(client.get("/health"), timeout=10)

    assert asyncio.run(ask()).json() == {"status": "ok"}
