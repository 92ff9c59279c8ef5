"""Clients that are slow to send a head, at real servers with each of uvicorn's protocols."""

import asyncio
import socket
import time
from collections.abc import Generator
from contextlib import ExitStack, suppress

import pytest
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from apex_pipeline.api.lake.slow_heads import with_head_timeout
from apex_pipeline_tests.servers.asgi import running_asgi

_TIMEOUT_S = 0.5
_SLOW_CLIENTS = 50
_HEAD = b"GET /%d HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


async def _app(scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer after as many milliseconds as the path says."""
    if scope["type"] == "http":
        await asyncio.sleep(int(scope["path"][1:]) / 1000)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture(params=[H11Protocol, HttpToolsProtocol])
def port(request: pytest.FixtureRequest) -> Generator[int]:
    protocol = with_head_timeout(request.param, _TIMEOUT_S)
    with running_asgi(_app, http=protocol, lifespan="off", timeout_keep_alive=30) as found:
        yield found


def _connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def _is_answered(client: socket.socket) -> bool:
    received = b""
    while not received.endswith(b"ok"):
        block = client.recv(4_096)
        if not block:
            return False
        received += block
    return received.startswith(b"HTTP/1.1 200")


def _ended(client: socket.socket) -> bool:
    """Return whether the server has ended a connection over which it has nothing to answer."""
    client.setblocking(False)
    with suppress(BlockingIOError):
        try:
            return client.recv(1) == b""
        except ConnectionError:
            return True
    return False


def test_fifty_clients_that_send_byte_by_byte_are_disconnected_and_hinder_nobody(port: int) -> None:
    with ExitStack() as stack:
        slow = [stack.enter_context(_connected(port)) for _ in range(_SLOW_CLIENTS)]
        started_s = time.monotonic()
        for byte in _HEAD[:10]:
            for client in slow:
                with suppress(ConnectionError):
                    client.send(bytes([byte]))
            with _connected(port) as other:
                other.sendall(_HEAD % 0)
                assert _is_answered(other)
            time.sleep(2 * _TIMEOUT_S / 10)
        while not all(_ended(client) for client in slow):
            assert time.monotonic() - started_s < 10
            time.sleep(0.01)


def test_a_connection_without_a_byte_is_ended(port: int) -> None:
    with _connected(port) as client:
        assert client.recv(1) == b""


def test_an_answer_may_take_longer_than_a_head(port: int) -> None:
    with _connected(port) as client:
        head = _HEAD % (4 * _TIMEOUT_S * 1000)
        client.sendall(head[:20])
        time.sleep(_TIMEOUT_S / 5)
        client.sendall(head[20:])
        assert _is_answered(client)


def test_each_request_of_a_connection_has_its_time(port: int) -> None:
    with _connected(port) as client:
        for _ in range(3):
            client.sendall(_HEAD % 0)
            assert _is_answered(client)
            time.sleep(1.5 * _TIMEOUT_S)
        client.sendall(_HEAD[:10])
        assert client.recv(1) == b""
