"""An HTTP proxy in front of an S3 server that injects faults into chosen requests; runs in the test process.

Contains the proxy, the record of requests, and the rules that choose which requests get a fault; see faults.py for the
faults. The Host header is forwarded unchanged, so signatures stay valid. Requests and replies of up to some tens of MB
are held in memory.
"""

import http.client
import io
import math
import socket
import socketserver
import struct
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

import pytest

from apex_pipeline_tests.servers.s3_server import S3Server

FOREVER = math.inf
_STOP_POLL_S = 0.02  # longest wait for the listener thread at the end of a test
_SERVER_TIMEOUT_S = 60  # a server silent for this long fails the test
# Headers of one connection, not forwarded. The proxy itself replies to "Expect", before it reads the body.
_HOP_HEADERS = frozenset({"connection", "keep-alive", "transfer-encoding", "expect", "content-length"})
_BODILESS = frozenset({204, 304})


@dataclass(frozen=True)
class Request:
    """One request as received.

    Attributes:
        method: ``GET``, ``PUT`` …
        target: Path and query as sent, percent-encoded.
        headers: By lower-case name.
        length: Bytes of the body.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    length: int

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """The part after the question mark."""
        return self.target.partition("?")[2]


@dataclass(frozen=True)
class Reply:
    """One reply, from the server or from a fault.

    Attributes:
        status: For example 200.
        headers: Names and values in order, without those of the connection.
        body: The body, empty for HEAD.
        length: Value of ``Content-Length``; differs from the body's length for HEAD.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    length: int

    @property
    def head(self) -> bytes:
        """Status line and headers as sent, with the empty line."""
        reason = http.client.responses.get(self.status, "Unknown")
        lines = [f"HTTP/1.1 {self.status} {reason}", *(f"{name}: {value}" for name, value in self.headers)]
        if self.status not in _BODILESS:
            lines.append(f"Content-Length: {self.length}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


class Exchange:
    """One request and its reply, with the operations that a fault may use.

    Args:
        request: The request, without its body.
        body: The body of the request.
        connection: Connection to the client.
        server: Host and port of the server behind the proxy.
        is_stopping: Set when the proxy stops, to end all waits.
    """

    def __init__(
        self,
        request: Request,
        body: bytes,
        connection: socket.socket,
        server: tuple[str, int],
        is_stopping: threading.Event,
    ) -> None:
        self.request = request
        self.body = body
        self.is_over = False
        self._connection = connection
        self._server = server
        self._is_stopping = is_stopping

    def ask_server(self, body: bytes | None = None) -> Reply:
        """Forward the request, with another body if one is given, and return the reply."""
        content = self.body if body is None else body
        with closing(http.client.HTTPConnection(*self._server, timeout=_SERVER_TIMEOUT_S)) as server:
            self._send_request(server, content, len(content))
            with server.getresponse() as response:
                received = response.read()
                headers = tuple(
                    (name, value) for name, value in response.getheaders() if name.lower() not in _HOP_HEADERS
                )
                length = int(response.getheader("Content-Length") or len(received))
        return Reply(response.status, headers, received, length)

    def forward_incomplete(self) -> None:
        """Forward the received part of an incomplete body, and close the connection, as the client did."""
        with closing(http.client.HTTPConnection(*self._server, timeout=_SERVER_TIMEOUT_S)) as server:
            self._send_request(server, self.body, self.request.length)

    def send(self, content: bytes) -> None:
        """Send bytes to the client."""
        if self._is_stopping.is_set():  # a wait that the stop ended must not be followed by its reply
            self.is_over = True
            return
        self._connection.sendall(content)

    def reply(self, reply: Reply) -> None:
        """Send a complete reply to the client."""
        self.send(reply.head + reply.body)

    def wait(self, seconds: float) -> None:
        """Wait for some seconds, or until the proxy stops."""
        self._is_stopping.wait(seconds)

    def hang_up(self) -> None:
        """Close the connection normally after this exchange."""
        self.is_over = True

    def reset(self) -> None:
        """Close the connection with a TCP reset after this exchange."""
        self.is_over = True
        lingering_for_0_s = struct.pack("ii", 1, 0)
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, lingering_for_0_s)

    def _send_request(self, server: http.client.HTTPConnection, content: bytes, length: int) -> None:
        server.putrequest(self.request.method, self.request.target, skip_host=True, skip_accept_encoding=True)
        for name, value in self.request.headers.items():
            if name not in _HOP_HEADERS:
                server.putheader(name, value)
        if "content-length" in self.request.headers:
            server.putheader("content-length", str(length))
        server.endheaders(content)


Fault = Callable[[Exchange], None]


@dataclass
class Rule:
    """Which requests get a fault, and how often.

    Attributes:
        fault: The fault.
        matches: Returns whether the rule applies to a request.
        first: Number of the first matching request that gets the fault, from 1.
        times: Number of requests that get the fault.
        seen: Matching requests so far.
        hits: Requests with the fault so far.
    """

    fault: Fault
    matches: Callable[[Request], bool]
    first: int
    times: float
    seen: int = 0
    hits: int = 0

    def applies_to(self, request: Request) -> bool:
        """Return whether this request gets the fault, and count it."""
        if not self.matches(request):
            return False
        self.seen += 1
        is_hit = self.first <= self.seen < self.first + self.times
        self.hits += is_hit
        return is_hit


class FaultProxy:
    """Forwards requests to a server and injects faults by rules. Created by :func:`running_proxy`.

    Args:
        upstream: Address of the server.
    """

    def __init__(self, upstream: str) -> None:
        address = urlsplit(upstream)
        self.server = (address.hostname or "", address.port or 80)
        self.is_stopping = threading.Event()
        self.failures: list[BaseException] = []
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self._requests: list[Request] = []
        self._broken: list[Request] = []
        self._listener = _Listener(self)
        self.endpoint = f"http://127.0.0.1:{self._listener.server_address[1]}"

    @property
    def requests(self) -> list[Request]:
        """Every request so far, in the order of arrival."""
        with self._lock:
            return list(self._requests)

    @property
    def broken(self) -> list[Request]:
        """Requests with an incomplete body, forwarded as far as received; not contained in :attr:`requests`."""
        with self._lock:
            return list(self._broken)

    def record_broken(self, request: Request) -> None:
        """Record a request with an incomplete body."""
        with self._lock:
            self._broken.append(request)

    def inject(
        self,
        fault: Fault,
        *,
        method: str | None = None,
        contains: str = "",
        where: Callable[[Request], bool] = lambda _: True,
        first: int = 1,
        times: float = 1,
    ) -> Rule:
        """Inject a fault from now on; if several rules match a request, the oldest applies.

        Args:
            fault: The fault.
            method: Only for requests with this method.
            contains: Only for requests with this text in the path or query, as sent.
            where: Only for requests for which this returns true.
            first: Number of the first matching request that gets the fault, from 1.
            times: Number of requests that get the fault; :data:`FOREVER` for all.
        """
        rule = Rule(fault, _selection(method, contains, where), first, times)
        with self._lock:
            self._rules.append(rule)
        return rule

    def heal(self) -> None:
        """Remove all rules."""
        with self._lock:
            self._rules.clear()

    def count(
        self, method: str | None = None, contains: str = "", where: Callable[[Request], bool] = lambda _: True
    ) -> int:
        """Return the number of matching requests so far."""
        matches = _selection(method, contains, where)
        return sum(matches(request) for request in self.requests)

    def fault_for(self, request: Request) -> Fault:
        """Record a request and return its fault."""
        with self._lock:
            self._requests.append(request)
            rule = next((rule for rule in self._rules if rule.applies_to(request)), None)
        return _forward if rule is None else rule.fault

    def serve(self) -> None:
        """Accept connections until :meth:`stop`."""
        self._listener.serve_forever(_STOP_POLL_S)

    def stop(self) -> None:
        """Close every connection and wait for all threads to end."""
        self.is_stopping.set()
        self._listener.shutdown()
        self._listener.hang_up()
        self._listener.server_close()


class _Listener(socketserver.ThreadingTCPServer):
    """Accepts connections, each in its own thread."""

    request_queue_size = 128

    def __init__(self, proxy: FaultProxy) -> None:
        super().__init__(("127.0.0.1", 0), _ConnectionHandler)
        self.proxy = proxy
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection without shutting it down first, so a reset stays a reset."""
        with self._lock:
            self._open.discard(request)
            self.close_request(request)

    def hang_up(self) -> None:
        """Shut all connections down, to wake the threads that wait for their clients."""
        with self._lock:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:  # already closed by the client
                    continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep the error for the end of the test; a client that timed out and disconnected is not a failure."""
        error = sys.exception()
        if error is not None and not isinstance(error, ConnectionError):
            self.proxy.failures.append(error)


class _ConnectionHandler(socketserver.BaseRequestHandler):
    """Handles the requests of one client connection, one after the other."""

    def handle(self) -> None:
        proxy = cast("_Listener", self.server).proxy
        connection = cast("socket.socket", self.request)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection.makefile("rb") as received:
            while (incoming := _next_request(received, connection)) is not None:
                request, body = incoming
                exchange = Exchange(request, body, connection, proxy.server, proxy.is_stopping)
                if len(body) < request.length:
                    proxy.record_broken(request)
                    exchange.forward_incomplete()
                    return
                proxy.fault_for(request)(exchange)
                if exchange.is_over:
                    return


def _next_request(received: io.BufferedReader, connection: socket.socket) -> tuple[Request, bytes] | None:
    """Return the next request and its body, incomplete if the client disconnected; ``None`` at the end."""
    line = received.readline().decode("latin-1").split()
    if not line:
        return None
    headers = {name.lower(): value for name, value in http.client.parse_headers(received).items()}
    if "transfer-encoding" in headers:
        raise ValueError("the proxy does not support requests of unknown length")
    if headers.get("expect", "").lower() == "100-continue":
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    length = int(headers.get("content-length", "0"))
    body = received.read(length)
    return Request(line[0], line[1], headers, length), body


def _selection(method: str | None, contains: str, where: Callable[[Request], bool]) -> Callable[[Request], bool]:
    def matches(request: Request) -> bool:
        return method in {None, request.method} and contains in request.target and where(request)

    return matches


def _forward(exchange: Exchange) -> None:
    exchange.reply(exchange.ask_server())


@contextmanager
def running_proxy(server: S3Server) -> Generator[FaultProxy]:
    """Run a proxy in front of a server; re-raise failures inside the proxy at the end."""
    proxy = FaultProxy(server.endpoint)
    thread = threading.Thread(target=proxy.serve, name="fault-proxy")
    thread.start()
    try:
        yield proxy
    finally:
        proxy.stop()
        thread.join()
    if proxy.failures:
        raise proxy.failures[0]


@pytest.fixture
def fault_proxy(s3_server: S3Server) -> Iterator[FaultProxy]:
    with running_proxy(s3_server) as proxy:
        yield proxy
