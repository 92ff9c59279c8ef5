"""Serves Dagster's UI and the analytics API behind one password: ``python -m apex_pipeline.web``.

Only puts them together: ``dagster-webserver`` runs beside, on a loopback port, and ends with this process. It is for
places whose addresses are public; on a machine of one's own, ``apex ui`` needs no password.
"""

import os
import socket
import subprocess
import threading
import time
import urllib.request
from pathlib import Path
from typing import Annotated, Final

import typer
import uvicorn
from starlette.routing import Router
from starlette.types import ASGIApp

from apex_pipeline.api.analytics import analytics_routes
from apex_pipeline.api.password import PasswordGuard, web_password
from apex_pipeline.entry_point import run_command_line
from apex_pipeline.errors import ConfigurationError, TransientError
from apex_pipeline.logs import set_up_logging
from apex_pipeline.process.children import running_beside
from apex_pipeline.process.interrupts import pause
from apex_pipeline.settings import Settings, load_settings

# Importing Dagster and loading code locations takes some seconds, and many times that on a small or busy machine.
_START_TIMEOUT_S: Final = 180.0
# Open requests and WebSockets are cut off then, which leaves the rest of six seconds to end the UI (interrupts.py).
_SHUTDOWN_S: Final = 2


def guarded_app(ui: ASGIApp, settings: Settings) -> ASGIApp:
    """Return the application: the analytics API, and the UI for every other path, behind the password.

    Args:
        ui: Dagster's UI.
        settings: Location of the lake, and the password.

    Raises:
        ConfigurationError: There is no password, or too short a one.
    """
    return PasswordGuard(Router(analytics_routes(settings), default=ui), web_password(settings))


def dagster_home(settings: Settings) -> Path:
    """Return the folder with Dagster's configuration as an absolute path; unlike ``apex ui``, nothing makes one.

    Raises:
        ConfigurationError: There is none.
    """
    home = settings.dagster_home.expanduser().absolute()
    if not (home / "dagster.yaml").is_file():
        raise ConfigurationError(
            f"There is no dagster.yaml in DAGSTER_HOME, which is {home}.",
            "Copy one of those in deploy/ there; on a laptop, `apex ui` makes one.",
        )
    return home


def serve(
    workspace: Annotated[Path, typer.Option("--workspace", "-w", help="Dagster's workspace file.")],
    host: Annotated[str, typer.Option("--host", "-h", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", help="Port to listen on.")] = 3000,
) -> None:
    """Serve Dagster's UI and the analytics API behind the password APEX_WEB_PASSWORD."""
    settings = load_settings()
    set_up_logging(settings.log_format)
    web_password(settings)  # before anything is opened
    # Dagster reads its home from the environment only, and requires an absolute path.
    environment = {**os.environ, "DAGSTER_HOME": os.fspath(dagster_home(settings))}
    ui_port = _free_port()
    app = guarded_app(_ui_at(ui_port), settings)
    # Render and Compose put a proxy in front, which says in a header that the visitor came by HTTPS.
    config = uvicorn.Config(
        app, host=host, port=port, log_level="warning", proxy_headers=True, timeout_graceful_shutdown=_SHUTDOWN_S
    )
    arguments = ["-h", "127.0.0.1", "-p", str(ui_port), "-w", os.fspath(workspace)]
    with running_beside("dagster_webserver", arguments, environment) as ui:
        wait_until_served(ui, ui_port)
        serve_while_running(uvicorn.Server(config), ui)


def wait_until_served(ui: "subprocess.Popen[bytes]", port: int, timeout_s: float = _START_TIMEOUT_S) -> None:
    """Wait until Dagster's UI answers.

    Raises:
        ConfigurationError: It ended.
        TransientError: It did not answer in time.
    """
    # Without what the environment says of proxies: they are for other machines.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if (code := ui.poll()) is not None:
            raise ConfigurationError(f"Dagster's UI ended with exit code {code}.", "Its own message is above.")
        try:
            with opener.open(f"http://127.0.0.1:{port}/server_info", timeout=5):
                return
        except OSError:  # not yet
            pause(0.2)
    raise TransientError(
        f"Dagster's UI did not answer within {timeout_s:.0f} s.",
        "Start it again; if that does not help, look for what it waits for in its own messages above.",
    )


def serve_while_running(server: uvicorn.Server, ui: "subprocess.Popen[bytes]") -> None:
    """Serve until this process is asked to end.

    Raises:
        TransientError: The UI ended before.
    """
    has_lost_ui = threading.Event()

    def end_with_ui() -> None:
        ui.wait()
        has_lost_ui.set()
        server.should_exit = True

    threading.Thread(target=end_with_ui, name="ui", daemon=True).start()
    server.run()
    if has_lost_ui.is_set():
        raise TransientError(f"Dagster's UI ended with exit code {ui.returncode}.", "Start this service again.")


def _ui_at(port: int) -> ASGIApp:
    try:
        from apex_pipeline.api.reverse_proxy import ReverseProxy  # noqa: PLC0415  -- of an extra
    except ImportError as missing:
        raise ConfigurationError(
            f"The package {missing.name} is not installed.", "Install it with `pip install 'apex-pipeline[deploy]'`."
        ) from missing
    return ReverseProxy(port)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main() -> None:
    """Run the command, and exit with a message instead of a traceback if a setting is wrong."""
    run_command_line(lambda: typer.run(serve))


if __name__ == "__main__":
    main()
