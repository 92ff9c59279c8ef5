"""Puts a web application behind a password, for a platform whose addresses are public.

The password is HTTP's own (Basic), which browsers and curl know, so it must only be sent over HTTPS; a platform such as
Render ends HTTPS in front of the service. The comparison takes the same time wherever a wrong password differs.
"""

import base64
import binascii
import hmac
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from apex_pipeline.errors import ConfigurationError
from apex_pipeline.settings import Settings

USER: Final = "apex"
# Shows that the service lives; platforms ask it without a password.
HEALTH_PATH: Final = "/health"
# 16 letters and digits chosen at random are out of reach of guessing over a network.
_SHORTEST = 16
_POLICY_VIOLATION = 1008


def web_password(settings: Settings) -> str:
    """Return the password of the settings.

    Raises:
        ConfigurationError: There is none, or it is too short to stay secret.
    """
    secret = settings.web_password.get_secret_value() if settings.web_password else ""
    if len(secret) < _SHORTEST:
        what = f"has fewer than {_SHORTEST} characters" if secret else "is not set"
        raise ConfigurationError(
            f"APEX_WEB_PASSWORD {what}, and these pages would be open to everyone.",
            "Set it to a random text, for example that of `openssl rand -hex 24`.",
        )
    return secret


class PasswordGuard:
    """Lets only requests with the password through, and none that another web site's page makes.

    A browser sends a password it knows with every request, whoever's page asks for it.

    Args:
        app: The application behind it.
        password: The password; the user is ``apex``.
    """

    def __init__(self, app: ASGIApp, password: str) -> None:
        self._app = app
        self._expected = f"{USER}:{password}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a refused request, and pass on any other."""
        refusal = self.refusal(scope) if scope["type"] in {"http", "websocket"} else None
        if refusal is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
            await WebSocketClose(_POLICY_VIOLATION)(scope, receive, send)  # the server says 403
        else:
            await refusal(scope, receive, send)

    def refusal(self, scope: Mapping[str, Any]) -> PlainTextResponse | None:
        """Return the answer to a request that is not passed on; ``None`` for one that is."""
        if scope["type"] == "http" and scope["path"] == HEALTH_PATH:
            return PlainTextResponse("ok\n")
        headers = Headers(raw=scope["headers"])
        if not hmac.compare_digest(_credentials(headers.get("authorization", "")), self._expected):
            challenge = {"WWW-Authenticate": 'Basic realm="APEX", charset="UTF-8"'}
            return PlainTextResponse("The password is missing or wrong.\n", 401, challenge)
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers.get("host"):
            return PlainTextResponse("Pages of other web sites may not use this one.\n", 403)
        return None


def _credentials(header: str) -> bytes:
    """Return ``user:password`` of a header; empty if it has none."""
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        return b""
