"""An ASGI application on a loopback port, in a thread of the test."""

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from apex_pipeline_tests.servers.s3_server import free_ports

_START_TIMEOUT_S = 60


@contextmanager
def running_asgi(app: ASGIApp, **options: Any) -> Generator[int]:
    """Serve an application, with further options of uvicorn's, and yield the port."""
    (port,) = free_ports(1)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", **options))
    thread = threading.Thread(target=server.run, name="asgi-server", daemon=True)
    thread.start()
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not server.started:
        assert thread.is_alive(), "the application did not start"
        assert time.monotonic() < deadline, "the application did not start in time"
        time.sleep(0.01)
    try:
        yield port
    finally:
        server.should_exit = True
        thread.join(_START_TIMEOUT_S)
