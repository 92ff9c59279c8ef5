"""Decides who may use the API: those with the token, or, where none is set, programs on the same machine.

Pages of web sites may use it only if their site is listed, whether they send a token or not.
"""

import hmac
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from apex_pipeline.api.problems import problem_response
from apex_pipeline.settings import Settings

# Whether the service lives is no secret, and whoever watches over it has no token.
_OPEN_PATHS: Final = frozenset({"/health", "/ready"})


# Makes the answer to a refused request from its status, kind, reason and next step.
Refuse = Callable[[int, str, str, str], Response]


def install_guard(
    app: FastAPI,
    settings: Settings,
    *,
    refuse: Refuse = problem_response,
    open_paths: frozenset[str] = _OPEN_PATHS,
    exposed: Sequence[str] = (),
) -> None:
    """Let only those use the app who may.

    Args:
        app: The application.
        settings: The token, and the web sites whose pages may use it.
        refuse: Makes the answer to a refused request.
        open_paths: What everyone may ask.
        exposed: Headers of answers that pages of listed web sites may read.
    """
    origins = tuple(origin.strip().rstrip("/") for origin in settings.api_origins.split(",") if origin.strip())
    token = settings.api_token.get_secret_value() if settings.api_token else None
    app.add_middleware(Guard, token=token, origins=origins, refuse=refuse, open_paths=open_paths)
    if origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=origins, allow_methods=["*"], allow_headers=["*"], expose_headers=exposed
        )


class Guard:
    """Refuses requests without the token, and those of other web sites' pages.

    Args:
        app: The application behind it.
        token: The token; ``None`` accepts only requests that arrive on a loopback address.
        origins: Web sites whose pages may use the API.
        refuse: Makes the answer to a refused request.
        open_paths: What everyone may ask.
    """

    def __init__(
        self, app: ASGIApp, token: str | None, origins: tuple[str, ...], refuse: Refuse, open_paths: frozenset[str]
    ) -> None:
        self._app = app
        self._token = token
        self._origins = origins
        self._refuse = refuse
        self._open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a refused request, and pass on any other."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
            return
        status, message, remedy = refusal
        answer = self._refuse(status, "not allowed", message, remedy)
        if status == 401:  # noqa: PLR2004  -- the status that must say how to identify oneself
            answer.headers["WWW-Authenticate"] = "Bearer"
        await answer(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str, str] | None:
        if scope["path"] in self._open_paths:
            return None
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if origin and origin not in self._origins and urlsplit(origin).netloc != headers.get("host"):
            return 403, "Pages of this web site may not use the API.", "Add the site to APEX_API_ORIGINS."
        if self._token is None:
            # A page whose own name leads to this machine would send its own name as the host.
            if _is_loopback(scope) and _is_local_name(headers.get("host", "")):
                return None
            return 403, "The API has no token, so it answers this machine only.", "Set APEX_API_TOKEN where it runs."
        given = headers.get("authorization", "").removeprefix("Bearer ")
        if hmac.compare_digest(given.encode(), self._token.encode()):
            return None
        return 401, "The token is missing or wrong.", "Send the header `Authorization: Bearer <APEX_API_TOKEN>`."


def _is_local_name(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname or ""
    return name == "localhost" or _is_loopback_address(name)


def _is_loopback(scope: Scope) -> bool:
    """Return whether the request arrived on an address that only this machine can reach."""
    server = scope.get("server")
    if server is None or server[1] is None:  # a socket file, which has permissions of its own
        return True
    return _is_loopback_address(server[0])


def _is_loopback_address(text: str) -> bool:
    try:
        return ip_address(text).is_loopback
    except ValueError:
        return False
