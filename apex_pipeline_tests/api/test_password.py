"""The password in front of a public address, asked over HTTP."""

import base64
import http.client
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, Router, WebSocketRoute
from starlette.websockets import WebSocket

from apex_pipeline.api.password import HEALTH_PATH, PasswordGuard, web_password
from apex_pipeline.errors import ConfigurationError
from apex_pipeline.settings import load_settings
from apex_pipeline_tests.servers.asgi import running_asgi

_PASSWORD = "correct-horse-battery-staple"  # noqa: S105  -- of this test
_RIGHT = f"apex:{_PASSWORD}"


def _hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{request.method} {request.url.path}")


async def _echo(socket_: WebSocket) -> None:
    await socket_.accept()
    await socket_.send_text("welcome")
    await socket_.close()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    app = Router([Route("/{path:path}", _hello, methods=["GET", "POST"]), WebSocketRoute("/graphql", _echo)])
    with running_asgi(PasswordGuard(app, _PASSWORD)) as port:
        yield port


def _ask(port: int, credentials: str | None, path: str = "/runs", **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    if credentials is not None:
        headers["Authorization"] = f"Basic {base64.b64encode(credentials.encode()).decode()}"
    connection.request("GET", path, headers=headers)
    reply = connection.getresponse()
    reply.read()
    connection.close()
    return reply


def test_the_right_password_lets_every_request_through(port: int) -> None:
    assert _ask(port, _RIGHT).status == 200


@pytest.mark.parametrize(
    "credentials",
    [None, "", ":", "apex:", f":{_PASSWORD}", f"root:{_PASSWORD}", f"apex:{_PASSWORD}x", f"apex:{_PASSWORD[:-1]}"],
)
def test_anything_else_is_asked_for_the_password(port: int, credentials: str | None) -> None:
    reply = _ask(port, credentials)
    assert reply.status == 401
    assert reply.headers["WWW-Authenticate"].startswith("Basic realm=")


@pytest.mark.parametrize("header", ["Basic", "Basic ???", "Bearer abc", f"Basic {_RIGHT}", "Basic AAA", "basic é"])
def test_a_header_that_is_no_password_is_refused_and_breaks_nothing(port: int, header: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/", headers={"Authorization": header.encode("latin-1")})
    assert connection.getresponse().status == 401
    connection.close()


@given(st.text(max_size=60).filter(lambda text: text != _RIGHT))
def test_no_other_text_is_the_password(text: str) -> None:
    guard = PasswordGuard(Router([]), _PASSWORD)
    header = base64.b64encode(text.encode("utf-8", "surrogatepass"))
    scope = {"type": "http", "path": "/", "headers": [(b"authorization", b"Basic " + header)]}
    refusal = guard.refusal(scope)
    assert refusal is not None
    assert refusal.status_code == 401


def test_the_health_of_the_service_is_no_secret_and_nothing_else_is_open(port: int) -> None:
    assert _ask(port, None, HEALTH_PATH).status == 200
    for path in (f"{HEALTH_PATH}/", f"{HEALTH_PATH}/..%2fgraphql", "/server_info", "/graphql", f"//{HEALTH_PATH}"):
        assert _ask(port, None, path).status == 401, path


def test_a_page_of_another_web_site_may_not_use_the_password_that_the_browser_knows(port: int) -> None:
    assert _ask(port, _RIGHT, Origin="https://elsewhere.example").status == 403
    assert _ask(port, _RIGHT, Origin="null").status == 403
    assert _ask(port, _RIGHT, Origin=f"http://127.0.0.1:{port}").status == 200


def _handshake(port: int, *headers: str) -> str:
    """Return the status line of the answer to the start of a WebSocket."""
    lines = [
        "GET /graphql HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        *headers,
    ]
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        return connection.recv(1024).split(b"\r\n")[0].decode()


def test_web_sockets_need_the_password_too(port: int) -> None:
    password = f"Authorization: Basic {base64.b64encode(_RIGHT.encode()).decode()}"
    assert " 401 " in _handshake(port)
    assert " 403 " in _handshake(port, password, "Origin: https://elsewhere.example")
    assert " 101 " in _handshake(port, password)


@pytest.mark.parametrize(("password", "problem"), [("", "is not set"), ("secret", "has fewer than 16 characters")])
def test_without_a_password_that_stays_secret_nothing_is_served(password: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=f"APEX_WEB_PASSWORD {problem}") as caught:
        web_password(load_settings(web_password=password or None))
    assert "secret," not in str(caught.value)
