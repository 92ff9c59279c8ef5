"""A server that treats each request as a script says, for what real servers do only now and then.

Contains a server of raw sockets whose scripts close connections, answer early or break off. See fault_proxy.py for
faults in front of a real server, recording.py for what was sent.
"""

import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

_HEAD_END = b"\r\n\r\n"
_NOW = b"Date: Sat, 06 Sep 2025 18:41:00 GMT\r\n"


@dataclass
class Exchange:
    """One request in progress.

    Attributes:
        number: Number of the request to this server, from 1.
        head: Request line and headers.
        length: Announced length of the body, of which nothing may have been read.
        connection: The connection.
        received: Bytes of the body that arrived with the head.
    """

    number: int
    head: str
    length: int
    connection: socket.socket
    received: bytes = b""

    def read_body(self) -> bytes:
        """Read the rest of the body."""
        while len(self.received) < self.length:
            self.received += self.connection.recv(65536)
        return self.received

    def reply(self, status: int = 200, headers: str = "", body: bytes = b"", *, length: int | None = None) -> None:
        """Send a reply; ``length`` is announced instead of the length of the body."""
        lines = f"HTTP/1.1 {status} Reason\r\n{headers}Content-Length: {len(body) if length is None else length}\r\n"
        self.connection.sendall(lines.encode() + _NOW + b"\r\n" + body)

    def reset(self) -> None:
        """Close the connection with a TCP reset when the script ends."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


# Returns whether the connection stays open.
Script = Callable[[Exchange], bool]


@dataclass
class ScriptedServer:
    """A running server.

    Attributes:
        endpoint: Its address.
        heads: Request line and headers of each request.
        connections: For each request, the number of its connection.
    """

    endpoint: str = ""
    heads: list[str] = field(default_factory=list[str])
    connections: list[int] = field(default_factory=list[int])


@contextmanager
def scripted_server(script: Script) -> Generator[ScriptedServer]:
    """Run a server on loopback that treats every request as the script says."""
    running = ScriptedServer()
    lock = threading.Lock()
    opened = 0

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            nonlocal opened
            with lock:
                opened += 1
                connection_number = opened
            connection: socket.socket = self.request
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            received = b""
            is_open = True
            while is_open:
                while _HEAD_END not in received:
                    try:
                        more = connection.recv(65536)
                    except ConnectionError:
                        return
                    if not more:
                        return
                    received += more
                head, _, received = received.partition(_HEAD_END)
                text = head.decode("latin-1")
                lengths = [line for line in text.lower().split("\r\n") if line.startswith("content-length: ")]
                length = int(lengths[0].partition(": ")[2]) if lengths else 0
                with lock:
                    running.heads.append(text)
                    running.connections.append(connection_number)
                    number = len(running.heads)
                exchange = Exchange(number, text, length, connection, received)
                is_open = script(exchange)
                received = b""

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    server = Server(("127.0.0.1", 0), Handler)
    running.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
