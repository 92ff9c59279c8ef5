"""What a server behind the proxy receives, and what its visitor gets back; both speak real HTTP and WebSockets."""

import asyncio
import hashlib
import http.client
import json
import socket
from collections.abc import AsyncGenerator, Generator, Iterable

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from apex_pipeline.api.reverse_proxy import ReverseProxy
from apex_pipeline_tests.servers.asgi import running_asgi
from apex_pipeline_tests.servers.s3_server import free_ports

_LARGE = 20_000_000


async def _seen(request: Request) -> Response:
    """Return what the server sees of a request."""
    target = request.scope["raw_path"].decode() + "?" + request.scope["query_string"].decode()
    headers = [[name.decode(), value.decode()] for name, value in request.headers.raw]
    return JSONResponse({"target": target, "headers": headers, "url": str(request.url)})


async def _digest(request: Request) -> Response:
    digest = hashlib.sha256()
    async for chunk in request.stream():
        digest.update(chunk)
    return PlainTextResponse(digest.hexdigest())


async def _large(_: Request) -> Response:
    return Response(b"x" * _LARGE)


async def _slow(_: Request) -> Response:
    async def parts() -> AsyncGenerator[bytes]:
        yield b"first"
        await asyncio.sleep(60)

    return StreamingResponse(parts())


async def _cookies(_: Request) -> Response:
    response = PlainTextResponse("two cookies", 418)
    response.raw_headers += [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"connection", b"close, x-of-the-hop")]
    response.raw_headers += [(b"x-of-the-hop", b"1"), (b"x-of-the-answer", b"1")]
    return response


async def _redirect(request: Request) -> Response:
    return RedirectResponse(request.url.replace(path="/elsewhere"))


async def _echo(websocket: WebSocket) -> None:
    """Return what the server sees, then every message, until the one that asks to be left."""
    await websocket.accept(websocket.scope["subprotocols"][-1] if websocket.scope["subprotocols"] else None)
    await websocket.send_json([str(websocket.url), {**websocket.headers}])
    while (message := await websocket.receive())["type"] == "websocket.receive":
        if message.get("text") == "leave":
            await websocket.close(4321, "left")
            return
        if message.get("text") is not None:
            await websocket.send_text(message["text"])
        else:
            await websocket.send_bytes(message["bytes"])


async def _refuse(websocket: WebSocket) -> None:
    await websocket.close()


_SERVER = Starlette(
    routes=[
        Route("/digest", _digest, methods=["POST", "PUT"]),
        Route("/large", _large),
        Route("/slow", _slow),
        Route("/cookies", _cookies),
        Route("/redirect", _redirect),
        WebSocketRoute("/echo", _echo),
        WebSocketRoute("/refused", _refuse),
        Route("/{path:path}", _seen, methods=["GET", "DELETE"]),
    ]
)


@pytest.fixture(scope="module")
def port() -> Generator[int]:
    """Port of a proxy in front of the server."""
    with running_asgi(_SERVER) as behind, running_asgi(ReverseProxy(behind)) as port:
        yield port


def _ask(
    port: int, target: str, method: str = "GET", body: bytes | Iterable[bytes] | None = None, /, **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, target, body, {name.replace("_", "-"): text for name, text in headers.items()})
        reply = connection.getresponse()
        return reply, reply.read()
    finally:
        connection.close()


def _connect(port: int, path: str = "/echo", **headers: str) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{port}{path}", additional_headers=headers, max_size=None, proxy=None)


@pytest.mark.parametrize(
    "target", ["/?", "/a%2Fb/%25?x=%26&x=1&y", "//other.example/x?", "/a;b=c@d:e?q='[]'", "/%C3%A9?z=%00"]
)
def test_path_and_query_arrive_as_they_were_sent(port: int, target: str) -> None:
    assert json.loads(_ask(port, target)[1])["target"] == target


def test_the_server_learns_host_and_visitor_but_not_the_password_nor_what_concerns_the_connection(port: int) -> None:
    claims = {"X_Forwarded_For": "1.2.3.4", "X_Forwarded_Proto": "https", "Forwarded": "for=1.2.3.4"}
    hop = {"Connection": "keep-alive, X-Mine", "X_Mine": "1", "TE": "trailers", "Proxy_Authorization": "y"}
    _, body = _ask(port, "/", Host="apex.example", Authorization="Basic eA==", Cookie="a=b", **claims, **hop)
    seen = json.loads(body)
    given = sorted(map(tuple, seen["headers"]))
    # Claims of a visitor from this machine, where uvicorn looks for proxies, are believed by it, not by the proxy.
    assert [name for name, _ in given] == [
        *("accept-encoding", "cookie", "host", "x-forwarded-for", "x-forwarded-proto")
    ]
    assert ("host", "apex.example") in given
    assert seen["url"].endswith("://apex.example/")


def test_redirects_stay_at_the_visitors_address(port: int) -> None:
    reply, _ = _ask(port, "/redirect", Host="apex.example:8080")
    assert (reply.status, reply.getheader("location")) == (307, "http://apex.example:8080/elsewhere")


def test_repeated_headers_of_an_answer_stay_apart_and_those_of_the_connection_go(port: int) -> None:
    reply, body = _ask(port, "/cookies")
    assert (reply.status, body) == (418, b"two cookies")
    assert reply.msg.get_all("set-cookie") == ["a=1", "b=2"]
    assert reply.getheader("x-of-the-answer") == "1"
    assert reply.getheader("x-of-the-hop") is None
    assert len(reply.msg.get_all("date") or []) == 1


def test_large_bodies_pass_in_both_directions(port: int) -> None:
    data = bytes(range(256)) * (_LARGE // 256)
    chunks = (data[at : at + 100_000] for at in range(0, len(data), 100_000))
    for body in (data, chunks):
        assert _ask(port, "/digest", "POST", body)[1].decode() == hashlib.sha256(data).hexdigest()
    assert len(_ask(port, "/large")[1]) == _LARGE


def test_an_answer_passes_before_it_is_complete(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/slow")
    assert connection.getresponse().read(5) == b"first"
    connection.close()


def test_a_server_that_is_away_is_a_bad_gateway_for_requests_and_websockets() -> None:
    (nobody,) = free_ports(1)
    with running_asgi(ReverseProxy(nobody)) as port:
        reply, body = _ask(port, "/")
        assert reply.status == 502
        assert b"does not answer" in body
        with pytest.raises(InvalidStatus) as refused:
            _connect(port)
        assert refused.value.response.status_code == 502


def test_messages_pass_in_both_directions_whole_and_of_their_kind(port: int) -> None:
    with _connect(port) as websocket:
        websocket.recv()
        for message in ("text ✓", b"\x00\xff", "x" * 5_000_000, ""):
            websocket.send(message)
            assert websocket.recv(20) == message


def test_a_websocket_keeps_host_origin_subprotocol_path_and_cookies(port: int) -> None:
    address = f"ws://127.0.0.1:{port}/echo?a=%2F"
    protocols, headers = [Subprotocol("graphql-ws"), Subprotocol("other")], {"Cookie": "a=b", "Authorization": "x"}
    with connect(
        address, subprotocols=protocols, origin=Origin("http://o.example"), additional_headers=headers, proxy=None
    ) as websocket:
        url, seen = json.loads(websocket.recv(20))
        assert websocket.subprotocol == "other"
    assert url == address
    assert (seen["origin"], seen["cookie"], seen["x-forwarded-proto"]) == ("http://o.example", "a=b", "http")
    assert "authorization" not in seen


def test_the_code_with_which_the_server_closes_reaches_the_visitor(port: int) -> None:
    with _connect(port) as websocket:
        websocket.recv()
        websocket.send("leave")
        with pytest.raises(ConnectionClosed):
            websocket.recv(20)
        assert (websocket.close_code, websocket.close_reason) == (4321, "left")


def test_a_refusal_of_the_server_is_one_for_the_visitor(port: int) -> None:
    with pytest.raises(InvalidStatus) as refused:
        _connect(port, "/refused")
    assert refused.value.response.status_code == 502


@pytest.mark.parametrize("host", ["a b", "h:port", "[::1", "user:word@h"])
def test_a_websocket_with_a_host_that_is_none_is_answered(port: int, host: str) -> None:
    handshake = f"GET /echo HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    handshake += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(handshake.encode())
        assert int(connection.recv(1000).split()[1]) in {101, 400, 502}
