"""The web pages behind a password: what is served where, and what they refuse to start without.

test_deploy.py starts them as Render does.
"""

import base64
import http.client
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from apex_pipeline.errors import ConfigurationError
from apex_pipeline.settings import load_settings
from apex_pipeline.web import dagster_home, guarded_app
from apex_pipeline_tests.servers.asgi import running_asgi

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
