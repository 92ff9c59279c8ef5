"""Implements ``apex serve``: one process that answers questions about a lake over HTTP; see ``api/lake``."""

import os
import socket
import sys
from contextlib import closing
from ipaddress import ip_address
from typing import Annotated, Any, Final

import typer

from apex_pipeline.cli.emit import print_line
from apex_pipeline.cli.options import Lake
from apex_pipeline.errors import ConfigurationError
from apex_pipeline.extras import needs_libraries
from apex_pipeline.settings import Settings, load_settings

# Answers in work are cut off then, which leaves the rest of six seconds to end (process/interrupts.py).
_SHUTDOWN_S: Final = 2
# Beyond it, further requests get 503 at once instead of a place in a queue that nobody sees.
_MOST_CONNECTIONS: Final = 1_000
# Connections that wait for the server to accept them.
_BACKLOG: Final = 1_024


def serve_command(
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; another one than this machine's own needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Port to listen on; 0 for a free one.", min=0, max=65_535)] = 8000,
    lake: Lake = None,
) -> None:
    """Answer questions about the lake over HTTP, for applications: tables, laps, telemetry."""
    settings = load_settings()
    _require_token(settings, host)
    with needs_libraries():
        import uvicorn  # noqa: PLC0415  -- of an extra
        from uvicorn.protocols.http.auto import AutoHTTPProtocol  # noqa: PLC0415  -- as above

        from apex_pipeline.api.lake.app import create_app  # noqa: PLC0415  -- as above
        from apex_pipeline.api.lake.slow_heads import with_head_timeout  # noqa: PLC0415  -- as above

        app = create_app(settings, lake)
    config = uvicorn.Config(
        app,
        http=with_head_timeout(AutoHTTPProtocol),
        log_config=None,  # that of the process, APEX_LOG_FORMAT
        access_log=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=_SHUTDOWN_S,
        server_header=False,
    )
    with closing(_listening(host, port)) as listener:
        print_line(f"Serving at {_address(listener)}/api/v1/sessions; stop with Ctrl+C.")
        sys.stdout.flush()  # what follows may take days
        uvicorn.Server(config).run(sockets=[listener])


def _require_token(settings: Settings, host: str) -> None:
    """Raise a ``ConfigurationError`` if others than this machine could ask, and no token tells them apart."""
    if settings.api_token is None and not _is_this_machine(host):
        raise ConfigurationError(
            f"The address {host} can be reached from other machines, and no token is set.",
            "Set APEX_API_TOKEN to a random text, for example that of `openssl rand -hex 24`, or leave out --host.",
        )


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens; uvicorn itself would end the process without saying what to do.

    Raises:
        ConfigurationError: The address cannot be listened on.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(_host_and_port(address), family=family, backlog=_BACKLOG)
    except OSError as error:
        # The system's own words: `socket` adds the address once more.
        reason = os.strerror(error.errno) if isinstance(error.errno, int) and error.errno > 0 else str(error)
        raise ConfigurationError(
            f"{host}:{port} cannot be listened on: {reason}.",
            "Another program may use it: choose another --port, or 0 for a free one.",
        ) from error


def _host_and_port(address: tuple[Any, ...]) -> tuple[str, int]:
    return address[0], address[1]


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
