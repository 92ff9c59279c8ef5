"""Builds the application that serves a lake: its routes, who may use it, how errors look, and what is counted.

Start it with ``apex serve``, or with ``uvicorn --factory apex_pipeline.api.lake.app:create_app``.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from apex_pipeline import __version__
from apex_pipeline.api.guard import install_guard
from apex_pipeline.api.lake import (
    distance_routes,
    health_routes,
    page_routes,
    seed_routes,
    session_routes,
    snapshot_routes,
    table_routes,
    telemetry_routes,
)
from apex_pipeline.api.lake.health_routes import ServiceMetrics
from apex_pipeline.api.lake.problems import install_problems, problem_response
from apex_pipeline.api.lake.service import LakeService
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline.storage.factory import open_store, open_store_at

_PREFIX = "/api/v1"
# What a page of another web site may read besides the body.
_EXPOSED = ("Apex-Count", "Apex-Limit", "Apex-Next", "Apex-Snapshot", "ETag")
_OPEN_PATHS = frozenset({"/health", "/healthz", "/readyz"})


def create_app(settings: Settings | None = None, lake: str | None = None) -> FastAPI:
    """Return the application.

    Args:
        settings: The configuration; by default read from the environment and ``.env``.
        lake: Folder or URL of the lake; by default that of the settings.

    Raises:
        ConfigurationError: A setting is invalid.
    """
    settings = settings or load_settings()
    opened = partial(open_store_at, lake, settings) if lake else partial(open_store, settings, for_writing=False)
    service = LakeService(settings, opened, lake or str(settings.lake_dir))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        yield
        service.close()

    app = FastAPI(
        title="APEX lake",
        summary="Published race data: tables, sessions, laps and telemetry, from one snapshot each.",
        version=__version__,
        lifespan=lifespan,
        # Its pages load scripts from elsewhere, and the document itself says everything.
        docs_url=None,
        redoc_url=None,
    )
    app.state.lake = service
    app.state.metrics = ServiceMetrics(service)
    for routes in (snapshot_routes, table_routes, session_routes, telemetry_routes, distance_routes):
        app.include_router(routes.router, prefix=_PREFIX)
    app.include_router(page_routes.router)
    app.include_router(seed_routes.router)
    app.include_router(health_routes.router)
    install_problems(app)
    install_guard(app, settings, refuse=problem_response, open_paths=_OPEN_PATHS, exposed=_EXPOSED)
    app.add_middleware(Counted, metrics=app.state.metrics)
    return app


class Counted:
    """Counts the answers, and answers HEAD like GET: the server leaves out the body.

    Args:
        app: The application behind it.
        metrics: Where they are counted.
    """

    def __init__(self, app: ASGIApp, metrics: ServiceMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and count its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_s, status, has_answered = time.perf_counter(), 500, False
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}

        async def sent(message: Message) -> None:
            nonlocal status, has_answered
            status, has_answered = message.get("status", status), True
            await send(message)

        try:
            await self._app(scope, receive, sent)
        except asyncio.CancelledError:
            # The server stops, and waits no longer. It would write a traceback for it, and answer 500.
            if not has_answered:
                await _stopped()(scope, receive, sent)
        finally:
            self._metrics.count(_route_name(scope), status, time.perf_counter() - started_s)


def _stopped() -> Response:
    return problem_response(503, "Service Unavailable", "The server is being stopped.", "Ask again when it runs.")


def _route_name(scope: Scope) -> str:
    """Return the name of the function that answered, like ``session_routes.laps``; there are few of them."""
    endpoint = scope.get("endpoint")
    return "none" if endpoint is None else f"{endpoint.__module__.rpartition('.')[2]}.{endpoint.__name__}"
