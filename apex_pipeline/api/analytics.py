"""Answers what an application asks first: which tracks and sessions there are, by the loader that applications call.

Made of plain Starlette routes, which come with Dagster's webserver and can be mounted in any other application.
"""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from apex_pipeline.catalog import LocalDataLoader, S3DataLoader, get_loader
from apex_pipeline.settings import Settings

_UNAVAILABLE = 503

Loader = S3DataLoader | LocalDataLoader


def analytics_routes(settings: Settings) -> list[Route]:
    """Return the routes below ``/api/analytics``; the loader sends no request before the first one is used.

    Args:
        settings: Location of the lake.
    """
    loader = get_loader(settings)

    def tracks(request: Request) -> JSONResponse:
        del request
        return _listed(loader, loader.get_available_tracks)

    def sessions(request: Request) -> JSONResponse:
        return _listed(loader, lambda: loader.get_available_sessions(request.path_params["track"]))

    # Starlette runs plain functions in threads, so a slow store does not keep other requests waiting.
    return [
        Route("/api/analytics/tracks", tracks),
        Route("/api/analytics/track/{track}/sessions", sessions),
    ]


def _listed(loader: Loader, find: Callable[[], list[str]]) -> JSONResponse:
    """Answer with a list of names; an error is told, because an empty list would say that there is nothing."""
    names, failure = find(), loader.last_failure
    if failure is not None:
        return JSONResponse({"error": str(failure.error)}, _UNAVAILABLE)
    return JSONResponse(names)
