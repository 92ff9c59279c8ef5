"""A server with one fixed reply, for replies that a real server never sends on request."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_LONG_AGO = "Sat, 06 Sep 2025 18:40:00 GMT"


@contextmanager
def answering(status: int, body: str, headers: dict[str, str]) -> Generator[str]:
    """Run a server on loopback that sends the same reply to every request, and yield its address.

    Args:
        status: HTTP status.
        body: XML body of the reply.
        headers: Extra headers besides the length; ``Date`` overrides the current date, an empty value removes one.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            self.send_response_only(status)
            for name, value in {
                "Content-Type": "application/xml",
                "Last-Modified": _LONG_AGO,
                "ETag": '"0"',
                **headers,
            }.items():
                if value:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body.encode())

        do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815  -- named by the base class

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  -- named by the base class
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def refusal(code: str, message: str = "no") -> str:
    """Return the body of an S3 error."""
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
