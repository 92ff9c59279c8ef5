"""Builds the HTTP application: who may use it, what it answers, and which errors look how.

Start it with ``uvicorn --factory apex_pipeline.api.app:create_app --port 8000``.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from apex_pipeline import __version__
from apex_pipeline.api import health, lap_routes, races
from apex_pipeline.api.guard import install_guard
from apex_pipeline.api.problems import install_problems
from apex_pipeline.api.services import KeptServices
from apex_pipeline.logs import set_up_logging
from apex_pipeline.settings import Settings, load_settings


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the application.

    Args:
        settings: The configuration; by default read from the environment and ``.env``.

    Raises:
        ConfigurationError: A setting is invalid.
    """
    settings = settings or load_settings()
    set_up_logging(settings.log_format)
    services = KeptServices(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        with services.running():
            yield

    app = FastAPI(
        title="APEX races",
        summary="AMS2 races in, correct laps out.",
        version=__version__,
        lifespan=lifespan,
    )
    app.state.services = services
    for router in (races.router, lap_routes.router, health.router):
        app.include_router(router)
    install_problems(app)
    install_guard(app, settings)
    return app
