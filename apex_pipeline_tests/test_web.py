"""The web pages behind a password: what is served where, and what they refuse to start without.

test_deploy.py starts them as Render does.
"""

import base64
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from apex_pipeline.errors import ConfigurationError, TransientError
from apex_pipeline.settings import load_settings
from apex_pipeline.web import dagster_home, guarded_app, wait_until_served
from apex_pipeline_tests.servers.asgi import running_asgi
from apex_pipeline_tests.servers.s3_server import free_ports

_PASSWORD = "0123456789abcdef"  # noqa: S105  -- of this test


async def _ui(scope: Scope, receive: Receive, send: Send) -> None:
    """Stand for Dagster's UI, which is asked for whatever is not of the API; it starts and stops with the server."""
    if scope["type"] == "http":
        await PlainTextResponse(f"UI {Request(scope).url.path}")(scope, receive, send)


def _ask(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    credentials = base64.b64encode(f"apex:{_PASSWORD}".encode()).decode()
    connection.request("GET", path, headers={"Authorization": f"Basic {credentials}"})
    reply = connection.getresponse()
    found = reply.status, reply.read().decode()
    connection.close()
    return found


def test_the_api_is_answered_here_and_everything_else_by_the_ui(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    settings = load_settings(web_password=_PASSWORD, lake_dir=tmp_path, state_dir=tmp_path / "state")
    with running_asgi(guarded_app(_ui, settings)) as port:
        assert _ask(port, "/runs/1") == (200, "UI /runs/1")
        assert _ask(port, "/api/analytics/tracks") == (200, "[]")


def test_without_a_password_no_application_is_built() -> None:
    with pytest.raises(ConfigurationError, match="APEX_WEB_PASSWORD is not set"):
        guarded_app(_ui, load_settings(web_password=None))


def test_a_home_without_configuration_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no dagster\.yaml in DAGSTER_HOME"):
        dagster_home(load_settings(dagster_home=tmp_path))
    (tmp_path / "dagster.yaml").touch()
    assert dagster_home(load_settings(dagster_home=tmp_path)) == tmp_path


# Stands for Dagster's UI: its arguments, and what of it these tests need.
_FAKE_UI = """
import os, sys
from pathlib import Path
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute

async def info(request):
    return PlainTextResponse(" ".join(sys.argv[1:]) + " " + os.environ["DAGSTER_HOME"])

async def echo(websocket):
    await websocket.accept("graphql-ws")
    await websocket.send_text(await websocket.receive_text())
    await websocket.receive()  # until the visitor goes

Path(os.environ["PID_FILE"]).write_text(str(os.getpid()))
if "FAILS" in os.environ:
    sys.exit(7)
app = Starlette(routes=[Route("/server_info", info), WebSocketRoute("/graphql", echo)])
uvicorn.run(app, host=sys.argv[2], port=int(sys.argv[4]), log_level="error")
"""


@contextmanager
def _served(folder: Path, **more: str) -> Generator[tuple[subprocess.Popen[str], int]]:
    """Run the command with a stand-in for Dagster's UI, and yield it with its port; it may not answer yet."""
    (folder / "dagster_webserver").mkdir()
    (folder / "dagster_webserver" / "__init__.py").touch()
    (folder / "dagster_webserver" / "__main__.py").write_text(_FAKE_UI)
    (folder / "dagster.yaml").touch()
    (folder / "lake" / "data").mkdir(parents=True)
    (port,) = free_ports(1)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(folder), *sys.path]),
        "DAGSTER_HOME": str(folder),
        "APEX_LAKE_DIR": str(folder / "lake"),
        "APEX_WEB_PASSWORD": _PASSWORD,
        "PID_FILE": str(folder / "pid"),
        **more,
    }
    command = [sys.executable, "-m", "apex_pipeline.web", "-p", str(port), "-w", "w.yaml"]
    # Both processes hold the output open: its end is the end of both.
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as own:
        try:
            yield own, port
        finally:
            own.kill()


def _wait_until_open(process: subprocess.Popen[str], port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            assert _ask(port, "/health")[0] == 200
        except ConnectionRefusedError:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


_CREDENTIALS = {"Authorization": "Basic " + base64.b64encode(f"apex:{_PASSWORD}".encode()).decode()}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_requests_and_websockets_reach_the_ui_which_ends_with_this_process(tmp_path: Path, number: int) -> None:
    with _served(tmp_path) as (process, port):
        _wait_until_open(process, port)
        status, info = _ask(port, "/server_info")
        assert status == 200
        assert info.startswith("-h 127.0.0.1 -p ")
        assert info.endswith(f" -w w.yaml {tmp_path}")
        assert _ask(port, "/api/analytics/tracks") == (200, "[]")
        address, protocols = f"ws://127.0.0.1:{port}/graphql", [Subprotocol("graphql-ws")]
        with connect(address, subprotocols=protocols, additional_headers=_CREDENTIALS, proxy=None) as websocket:
            websocket.send("subscribe")
            assert websocket.recv(20) == "subscribe"
            process.send_signal(number)  # while it is open
            output, _ = process.communicate(timeout=30)
        assert process.returncode == (143 if number == signal.SIGTERM else -signal.SIGKILL)
        assert "Traceback" not in output


def test_without_the_password_or_from_another_site_neither_requests_nor_websockets_pass(tmp_path: Path) -> None:
    settings = load_settings(web_password=_PASSWORD, lake_dir=tmp_path, state_dir=tmp_path / "state")
    with running_asgi(guarded_app(_ui, settings)) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/graphql")
        assert connection.getresponse().status == 401
        connection.close()
        for headers, status in (({}, 401), ({**_CREDENTIALS, "Origin": "https://other.example"}, 403)):
            with pytest.raises(InvalidStatus) as refused:
                connect(f"ws://127.0.0.1:{port}/graphql", additional_headers=headers, proxy=None)
            assert refused.value.response.status_code == status


def test_when_the_ui_dies_the_command_ends_with_a_message(tmp_path: Path) -> None:
    with _served(tmp_path) as (process, port):
        _wait_until_open(process, port)
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
        output, _ = process.communicate(timeout=30)
        assert process.returncode == 2
        assert "Dagster's UI ended with exit code -9." in output
        assert "Traceback" not in output


def test_a_ui_that_does_not_start_ends_the_command_with_a_message(tmp_path: Path) -> None:
    with _served(tmp_path, FAILS="1") as (process, _):
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 2
        assert "Dagster's UI ended with exit code 7." in output


def test_the_wait_for_the_ui_has_a_limit() -> None:
    (nobody,) = free_ports(1)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as deaf:
        try:
            with pytest.raises(TransientError, match="did not answer within 0 s"):
                wait_until_served(deaf, nobody, timeout_s=0.3)
        finally:
            deaf.kill()
