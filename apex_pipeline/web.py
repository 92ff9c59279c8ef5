"""Serves Dagster's UI and the analytics API behind one password: ``python -m apex_pipeline.web``.

Only puts them together. It is for places whose addresses are public; on a machine of one's own, ``apex ui`` needs no
password.
"""

import os
from pathlib import Path
from typing import Annotated

import dagster as dg
import typer
import uvicorn

# Dagster exports no other way to serve its UI as a part of one's own application.
from dagster._core.workspace.context import WorkspaceProcessContext  # noqa: TID251  -- as above
from dagster._core.workspace.load_target import WorkspaceFileTarget  # noqa: TID251  -- as above
from dagster_webserver.app import create_app_from_workspace_process_context
from starlette.routing import Router
from starlette.types import ASGIApp

from apex_pipeline.api.analytics import analytics_routes
from apex_pipeline.api.password import PasswordGuard, web_password
from apex_pipeline.entry_point import run_command_line
from apex_pipeline.errors import ConfigurationError
from apex_pipeline.logs import set_up_logging
from apex_pipeline.settings import Settings, load_settings


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
    os.environ["DAGSTER_HOME"] = os.fspath(dagster_home(settings))
    with (
        dg.DagsterInstance.get() as instance,
        WorkspaceProcessContext(instance, WorkspaceFileTarget([os.fspath(workspace)])) as context,
    ):
        ui = create_app_from_workspace_process_context(context)
        # Render and Compose put a proxy in front, which says in a header that the visitor came by HTTPS.
        uvicorn.run(guarded_app(ui, settings), host=host, port=port, log_level="warning", proxy_headers=True)


def main() -> None:
    """Run the command, and exit with a message instead of a traceback if a setting is wrong."""
    run_command_line(lambda: typer.run(serve))


if __name__ == "__main__":
    main()
