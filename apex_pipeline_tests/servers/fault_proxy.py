"""An HTTP proxy in front of an S3 server that spoils chosen requests, in the test's own process.

Here belong listening, passing on, recording and the choice of the request to spoil. Not here: what is done to it
(``faults.py``). The Host header passes through unchanged, so signatures stay valid. Requests and replies are held in
memory whole, which is meant for some tens of MB.
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

FOR_EVER = math.inf
_STOP_POLL_S = 0.02  # the longest the end of a test waits for the accepting thread
_SERVER_TIMEOUT_S = 60  # a server that is silent for so long is a failure of the test harness
# About one connection, so not for passing on. "Expect" is answered here, before the body is asked for.
_HOP_HEADERS = frozenset({"connection", "keep-alive", "transfer-encoding", "expect", "content-length"})
_BODILESS = frozenset({204, 304})


@dataclass(frozen=True)
class Request:
    """One request as it came in.

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
        """What follows the question mark."""
        return self.target.partition("?")[2]


@dataclass(frozen=True)
class Reply:
    """One reply as the server gave it, or as a fault makes one up.

    Attributes:
        status: For example 200.
        headers: Names and values in order, without those about the connection.
        body: The body, empty for HEAD.
        length: What ``Content-Length`` says; differs from the body's length for HEAD.
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
    """One request and what is answered to it: all that a fault may do.

    Args:
        request: What was asked.
        body: What was sent with it.
        connection: To the client.
        server: Host and port of the server behind.
        is_stopping: Set when the proxy ends, so that nobody goes on waiting.
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
        """Pass the request on, with another body if one is given, and return the reply."""
        content = self.body if body is None else body
        with closing(http.client.HTTPConnection(*self._server, timeout=_SERVER_TIMEOUT_S)) as server:
            self._ask(server, content, len(content))
            with server.getresponse() as answer:
                received = answer.read()
                headers = tuple(
                    (name, value) for name, value in answer.getheaders() if name.lower() not in _HOP_HEADERS
                )
                length = int(answer.getheader("Content-Length") or len(received))
        return Reply(answer.status, headers, received, length)

    def break_off(self) -> None:
        """Pass on as much as there is of a body that broke off, and close, as the client did."""
        with closing(http.client.HTTPConnection(*self._server, timeout=_SERVER_TIMEOUT_S)) as server:
            self._ask(server, self.body, self.request.length)

    def send(self, content: bytes) -> None:
        """Send bytes to the client."""
        self._connection.sendall(content)

    def reply(self, reply: Reply) -> None:
        """Send a whole reply to the client."""
        self.send(reply.head + reply.body)

    def wait(self, seconds: float) -> None:
        """Do nothing for a time, or until the proxy ends."""
        self._is_stopping.wait(seconds)

    def hang_up(self) -> None:
        """Close the connection after this exchange, in order."""
        self.is_over = True

    def reset(self) -> None:
        """Close the connection after this exchange by a reset instead of an end."""
        self.is_over = True
        lingering_for_0_s = struct.pack("ii", 1, 0)
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, lingering_for_0_s)

    def _ask(self, server: http.client.HTTPConnection, content: bytes, length: int) -> None:
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
    """Which requests are spoiled, how, and how often.

    Attributes:
        fault: What is done.
        matches: Tells whether a request is meant.
        first: Which of the matching requests is the first to be spoiled, from 1.
        times: How many are spoiled.
        seen: Matching requests so far.
        hits: Spoiled requests so far.
    """

    fault: Fault
    matches: Callable[[Request], bool]
    first: int
    times: float
    seen: int = 0
    hits: int = 0

    def takes(self, request: Request) -> bool:
        """Tell whether this request is to be spoiled, and count it."""
        if not self.matches(request):
            return False
        self.seen += 1
        is_hit = self.first <= self.seen < self.first + self.times
        self.hits += is_hit
        return is_hit


class FaultProxy:
    """Passes requests on to a server and spoils those that rules ask for. Made by :func:`running_proxy`.

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
        """Requests whose body broke off: the server got as much of it. They are not among :attr:`requests`."""
        with self._lock:
            return list(self._broken)

    def note_broken(self, request: Request) -> None:
        """Record a request that broke off."""
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
        """Spoil requests from now on; of several rules for one request the oldest counts.

        Args:
            fault: What is done to the request.
            method: Only requests of this method.
            contains: Only requests with this in path or query, as sent.
            where: Only requests this accepts.
            first: Which of them is the first to be spoiled, from 1.
            times: How many are, :data:`FOR_EVER` for all.
        """
        rule = Rule(fault, _selection(method, contains, where), first, times)
        with self._lock:
            self._rules.append(rule)
        return rule

    def heal(self) -> None:
        """Forget all rules."""
        with self._lock:
            self._rules.clear()

    def count(
        self, method: str | None = None, contains: str = "", where: Callable[[Request], bool] = lambda _: True
    ) -> int:
        """Return how many requests like these there were."""
        is_meant = _selection(method, contains, where)
        return sum(is_meant(request) for request in self.requests)

    def fault_for(self, request: Request) -> Fault:
        """Record a request and return what to do with it."""
        with self._lock:
            self._requests.append(request)
            rule = next((rule for rule in self._rules if rule.takes(request)), None)
        return _pass_on if rule is None else rule.fault

    def serve(self) -> None:
        """Accept connections until :meth:`stop`."""
        self._listener.serve_forever(_STOP_POLL_S)

    def stop(self) -> None:
        """Close every connection, and return when all threads have ended."""
        self.is_stopping.set()
        self._listener.shutdown()
        self._listener.hang_up()
        self._listener.server_close()


class _Listener(socketserver.ThreadingTCPServer):
    """Accepts connections and gives each a thread."""

    request_queue_size = 128

    def __init__(self, proxy: FaultProxy) -> None:
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.proxy = proxy
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection; nothing is said before, so that a reset is one."""
        with self._lock:
            self._open.discard(request)
            self.close_request(request)

    def hang_up(self) -> None:
        """Wake the threads that wait for their clients."""
        with self._lock:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:  # the client was faster
                    continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep for the end of the test what went wrong; a client that lost its patience and went away is no failure."""
        error = sys.exception()
        if error is not None and not isinstance(error, ConnectionError):
            self.proxy.failures.append(error)


class _Conversation(socketserver.BaseRequestHandler):
    """One client's connection with all its requests, one after the other."""

    def handle(self) -> None:
        proxy = cast("_Listener", self.server).proxy
        connection = cast("socket.socket", self.request)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection.makefile("rb") as received:
            while (asked := _next_request(received, connection)) is not None:
                request, body = asked
                exchange = Exchange(request, body, connection, proxy.server, proxy.is_stopping)
                if len(body) < request.length:
                    proxy.note_broken(request)
                    exchange.break_off()
                    return
                proxy.fault_for(request)(exchange)
                if exchange.is_over:
                    return


def _next_request(received: io.BufferedReader, connection: socket.socket) -> tuple[Request, bytes] | None:
    """Read a request and its body, shorter than announced if the client went away; none if it has closed."""
    line = received.readline().decode("latin-1").split()
    if not line:
        return None
    headers = {name.lower(): value for name, value in http.client.parse_headers(received).items()}
    if "transfer-encoding" in headers:
        raise ValueError("the proxy takes no requests of unknown length")
    if headers.get("expect", "").lower() == "100-continue":
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    length = int(headers.get("content-length", "0"))
    body = received.read(length)
    return Request(line[0], line[1], headers, length), body


def _selection(method: str | None, contains: str, where: Callable[[Request], bool]) -> Callable[[Request], bool]:
    def is_meant(request: Request) -> bool:
        return method in {None, request.method} and contains in request.target and where(request)

    return is_meant


def _pass_on(exchange: Exchange) -> None:
    exchange.reply(exchange.ask_server())


@contextmanager
def running_proxy(server: S3Server) -> Generator[FaultProxy]:
    """Run a proxy in front of a server; a failure inside the proxy is raised at the end."""
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
