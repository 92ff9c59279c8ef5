"""Passes HTTP and WebSockets on to a server on this machine, without keeping bodies in memory.

The visitor's ``Host`` and ``Origin`` stay, so addresses that the server makes are right for the visitor; the password
is not passed on. fastapi-proxy-lib 0.3 is not used because it joins repeated headers, such as ``Set-Cookie``, and
writes all headers of a failed request, so the password too, to the log.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Final
from urllib.parse import quote

import httpx
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Origin, Subprotocol

# They concern one connection (RFC 9110, 7.6.1), and here are two.
_HOP_BY_HOP: Final = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection"),
        *(b"te", b"trailer", b"transfer-encoding", b"upgrade"),
    }
)
# Told anew here: what a visitor says of himself is not to be believed.
_FORWARDED: Final = frozenset({b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"})
_NOT_PASSED_ON: Final = _HOP_BY_HOP | _FORWARDED | {b"authorization"}
# uvicorn adds its own to every answer.
_OF_THE_SERVER: Final = frozenset({b"date", b"server"})
# Made by the client of WebSockets from its arguments.
_OF_THE_HANDSHAKE: Final = frozenset({b"host", b"origin"})
# Dagster gives each statement of its database 15 s, and a page of the UI makes several.
_TIMEOUT: Final = httpx.Timeout(300, connect=10)
# Batches of a run's events are a few MB; uvicorn allows visitors 16.
_MAX_MESSAGE_BYTES: Final = 64 * 2**20
# Stays as it is in path and query; the other bytes are not allowed there, but some programs send them.
_SAFE: Final = "!$%&'()*+,/:;=?@[]~"
_INTERNAL_ERROR: Final = 1011
# Codes that only say how a connection ended, and are never sent (RFC 6455, 7.4.1).
_UNSENDABLE: Final = frozenset({1004, 1005, 1006, 1015})

_Headers = list[tuple[bytes, bytes]]


class ReverseProxy:
    """Application that passes everything on to a server on 127.0.0.1.

    Args:
        port: Its port.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        # A new connection costs little within a machine; the server may close an idle one just as it is used.
        limits = httpx.Limits(max_keepalive_connections=0)
        # Settings of the environment, such as HTTPS_PROXY, are for other machines.
        self._client = httpx.AsyncClient(timeout=_TIMEOUT, limits=limits, trust_env=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request or WebSocket on."""
        if scope["type"] == "http":
            await self._pass_request(Request(scope, receive), send)
        elif scope["type"] == "websocket":
            await self._pass_websocket(WebSocket(scope, receive, send))

    async def _pass_request(self, request: Request, send: Send) -> None:
        has_body = "content-length" in request.headers or "transfer-encoding" in request.headers
        # Not built by the client, which would add headers of its own.
        passed_on = httpx.Request(
            request.method,
            httpx.URL(f"http://127.0.0.1:{self._port}").copy_with(raw_path=_target(request.scope)),
            headers=_passed_on(request),
            content=request.stream() if has_body else None,
        )
        try:
            answer = await self._client.send(passed_on, stream=True)
        except ClientDisconnect:  # in the middle of his request
            return
        except httpx.TransportError:
            await _no_answer()(request.scope, request.receive, send)
            return
        try:
            response = StreamingResponse(answer.aiter_raw(), answer.status_code)
            response.raw_headers = _without(_HOP_BY_HOP | _OF_THE_SERVER, answer.headers.raw)
            await response(request.scope, request.receive, send)
        finally:
            await answer.aclose()

    async def _pass_websocket(self, visitor: WebSocket) -> None:
        try:
            server = await self._connected(visitor)
        except (OSError, ValueError, WebSocketException):  # away, or the visitor's Host is none
            await visitor.send_denial_response(_no_answer())
            return
        async with server:
            await visitor.accept(server.subprotocol)
            await _exchange(visitor, server)

    async def _connected(self, visitor: WebSocket) -> ClientConnection:
        host, origin = visitor.headers.get("host", "127.0.0.1"), visitor.headers.get("origin")
        headers = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in _passed_on(visitor)
            if name not in _OF_THE_HANDSHAKE and not name.startswith(b"sec-websocket-")
        ]
        return await connect(
            f"ws://{host}{_target(visitor.scope).decode('ascii')}",
            host="127.0.0.1",
            port=self._port,
            origin=Origin(origin) if origin is not None else None,
            subprotocols=[Subprotocol(name) for name in visitor.scope["subprotocols"]] or None,
            additional_headers=headers,
            user_agent_header=None,
            proxy=None,
            compression=None,  # costs time, and saves nothing within a machine
            ping_interval=None,  # the system tells the end of a process; a busy one is not to be cut off
            max_size=_MAX_MESSAGE_BYTES,
        )


async def _exchange(visitor: WebSocket, server: ClientConnection) -> None:
    """Pass messages on in both directions until one side ends."""
    directions = [asyncio.create_task(_to_server(visitor, server)), asyncio.create_task(_to_visitor(visitor, server))]
    try:
        await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for direction in directions:
            direction.cancel()
        await asyncio.gather(*directions, return_exceptions=True)


async def _to_server(visitor: WebSocket, server: ClientConnection) -> None:
    with suppress(ConnectionClosed):
        while (message := await visitor.receive())["type"] == "websocket.receive":
            text: str | None = message.get("text")
            await server.send(text if text is not None else message["bytes"])
        await server.close(_sendable(message.get("code")))


async def _to_visitor(visitor: WebSocket, server: ClientConnection) -> None:
    with suppress(WebSocketDisconnect):
        with suppress(ConnectionClosed):
            async for message in server:
                await (visitor.send_text(message) if isinstance(message, str) else visitor.send_bytes(message))
        await visitor.close(_sendable(server.close_code), server.close_reason)


def _sendable(code: int | None) -> int:
    return _INTERNAL_ERROR if code is None or code in _UNSENDABLE else code


def _target(scope: Scope) -> bytes:
    """Return path and query as the visitor sent them: an escaped slash is not one."""
    query: bytes = scope["query_string"]
    path: bytes = scope["raw_path"]
    return quote(path + b"?" + query if query else path, safe=_SAFE).encode()


def _passed_on(connection: HTTPConnection) -> _Headers:
    """Return the headers of a visitor with who and how he came, for the server's own addresses and log."""
    told = [(b"x-forwarded-proto", connection.url.scheme.replace("ws", "http").encode())]
    if connection.client is not None:
        told.append((b"x-forwarded-for", connection.client.host.encode()))
    return _without(_NOT_PASSED_ON, connection.headers.raw) + told


def _without(names: frozenset[bytes], headers: Iterable[tuple[bytes, bytes]]) -> _Headers:
    """Return headers with lower-case names, without some and without those that ``Connection`` names."""
    given = [(name.lower(), value) for name, value in headers]
    named = {word.strip().lower() for name, value in given if name == b"connection" for word in value.split(b",")}
    return [(name, value) for name, value in given if name not in names and name not in named]


def _no_answer() -> PlainTextResponse:
    return PlainTextResponse("The server behind this address does not answer; try again.\n", 502)
