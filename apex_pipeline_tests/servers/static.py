"""A web server over a folder, as static hosting is: objects by their name, ranges, no listing; and its faults."""

import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

_LONGEST_WAIT_S = 60


@dataclass
class StaticServer:
    """A running server.

    Attributes:
        folder: What it serves.
        address: Its address.
        has_ranges: Whether it gives parts of objects.
        refuses: Status of the replies to the next requests.
        cuts: Number of next replies that end in the middle of the body.
        headers: Headers added to every reply.
        answers: Requests wait until it is set.
        requests: What was asked for: method, path and range.
    """

    folder: Path
    address: str = ""
    has_ranges: bool = True
    refuses: list[int] = field(default_factory=list[int])
    cuts: int = 0
    headers: dict[str, str] = field(default_factory=dict[str, str])
    answers: threading.Event = field(default_factory=threading.Event)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list[tuple[str, str, "str | None"]])


@contextmanager
def serving(folder: Path) -> Generator[StaticServer]:
    """Serve a folder on loopback."""
    served = StaticServer(folder)
    served.answers.set()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(served))
    served.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        served.answers.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(served: StaticServer) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        server_state = served

    return Handler


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_state: StaticServer

    def do_GET(self) -> None:
        served = self.server_state
        wanted = self.headers.get("Range")
        served.requests.append((self.command, self.path, wanted))
        served.answers.wait(_LONGEST_WAIT_S)
        path = served.folder / unquote(self.path).lstrip("/")
        if served.refuses:
            self._answer(served.refuses.pop(0), b"")
        elif not path.is_file():
            self._answer(404, b"")
        else:
            content = path.read_bytes()
            tag = {"ETag": f'"{hash(content):x}"', "Last-Modified": formatdate(path.stat().st_mtime, usegmt=True)}
            if wanted and served.has_ranges:
                first, _, last = wanted.removeprefix("bytes=").partition("-")
                self._answer(206, content[int(first) : int(last) + 1], tag)
            else:
                self._answer(200, content, tag)

    def _answer(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        served = self.server_state
        self.send_response_only(status)
        for name, value in {**(headers or {}), **served.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if served.cuts and len(content) > 1:
            served.cuts -= 1
            content = content[: len(content) // 2]
            self.close_connection = True
        self.wfile.write(content)

    do_HEAD = do_GET  # noqa: N815  -- named by the base class

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  -- named by the base class
        """Log nothing."""

    def handle(self) -> None:
        """Serve a connection, which the client may close at any time."""
        with suppress(ConnectionError):
            super().handle()
