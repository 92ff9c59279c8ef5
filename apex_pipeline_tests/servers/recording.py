"""A server that notes the bytes of every request, for comparing what two clients send.

Contains a server of raw sockets, because a library for HTTP would tidy up what arrived. See canned.py for one that
understands requests.
"""

import socket
import socketserver
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

_HEAD_END = b"\r\n\r\n"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(frozen=True)
class RawRequest:
    """One request as it arrived.

    Attributes:
        line: Method, target and version.
        headers: Values by name in lower case.
        body: The body.
    """

    line: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Recording:
    """A running server.

    Attributes:
        endpoint: Its address.
        reply: What it replies to each request, with status line and headers.
        requests: The requests so far.
        connections: Number of connections that were opened.
    """

    endpoint: str = ""
    reply: bytes = b""
    requests: list[RawRequest] = field(default_factory=list[RawRequest])
    connections: int = 0


@contextmanager
def recording_server(reply: bytes) -> Generator[Recording]:
    """Run a server on loopback that gives the same reply to every request."""
    recording = Recording(reply=reply)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            recording.connections += 1
            connection: socket.socket = self.request
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            received = b""
            while True:
                while _HEAD_END not in received:
                    more = connection.recv(65536)
                    if not more:
                        return
                    received += more
                head, _, received = received.partition(_HEAD_END)
                line, *lines = head.decode("latin-1").split("\r\n")
                headers = {name.lower(): value for name, _, value in (text.partition(": ") for text in lines)}
                if headers.get("expect") == "100-continue":
                    connection.sendall(_CONTINUE)
                length = int(headers.get("content-length", "0"))
                while len(received) < length:
                    received += connection.recv(65536)
                recording.requests.append(RawRequest(line, headers, received[:length]))
                received = received[length:]
                connection.sendall(recording.reply)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Handler)
    recording.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield recording
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
