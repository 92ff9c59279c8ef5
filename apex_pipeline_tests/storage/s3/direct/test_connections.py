"""Connections that close, break or belong to another process, and replies that only botocore understands."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.credentials import RefreshableCredentials

from apex_pipeline.errors import StoreAuthError, StoreConfigError, StoreError, StoreUnavailableError
from apex_pipeline.storage.request_stats import RequestStats
from apex_pipeline.storage.s3.client import S3Connection
from apex_pipeline.storage.s3.direct.client import DirectClient
from apex_pipeline_tests.servers.canned import answering
from apex_pipeline_tests.servers.s3_server import S3Bucket
from apex_pipeline_tests.servers.scripted import Exchange, Script, ScriptedServer, scripted_server
from apex_pipeline_tests.storage.s3.harness import connect, store_of

_OBJECT = 'ETag: "0"\r\nLast-Modified: Sat, 06 Sep 2025 18:40:00 GMT\r\n'
_MD5_OF_X = "9dd4e461268c8034f5c8564e155c67a6"
_BUSY = b"<Error><Code>SlowDown</Code><Message>later</Message></Error>"
_PATHS = pytest.mark.parametrize("is_direct", [True, False], ids=["direct", "botocore"])


def _connection(server: ScriptedServer, *, is_direct: bool = True, **options: Any) -> S3Connection:
    connection = S3Connection("races", "us-east-1", server.endpoint, "key", "secret", is_direct=is_direct, **options)
    assert isinstance(connection.objects, DirectClient) is is_direct
    return connection


def _answer(exchange: Exchange, headers: str = "") -> bool:
    """Reply to a request with success: a PUT with the MD5 of ``x``, a GET with ``x``."""
    exchange.read_body()
    if exchange.head.startswith("PUT"):
        exchange.reply(headers=f'ETag: "{_MD5_OF_X}"\r\n{headers}')
    else:
        is_head = exchange.head.startswith("HEAD")
        exchange.reply(headers=_OBJECT + headers, body=b"" if is_head else b"x", length=1)
    return True


@_PATHS
def test_a_connection_that_the_server_closed_while_idle_is_replaced(no_pauses: list[float], *, is_direct: bool) -> None:
    closed = threading.Event()

    def close_after_reply(exchange: Exchange) -> bool:
        _answer(exchange)
        closed.set()
        return False

    with scripted_server(close_after_reply) as server:
        store = store_of(_connection(server, is_direct=is_direct))
        for _ in range(3):
            assert store.read_bytes("x.csv") == b"x"
            assert closed.wait(10)
            closed.clear()
        assert len(server.heads) == 3
        assert server.connections == [1, 2, 3]


@_PATHS
def test_a_connection_that_closes_as_the_request_arrives_costs_a_repetition(
    no_pauses: list[float], *, is_direct: bool
) -> None:
    def close_instead_of_second_reply(exchange: Exchange) -> bool:
        return False if exchange.number == 2 else _answer(exchange)

    with scripted_server(close_instead_of_second_reply) as server:
        store = store_of(_connection(server, is_direct=is_direct))
        assert [store.read_bytes("x.csv"), store.read_bytes("x.csv")] == [b"x", b"x"]
        assert len(server.heads) == 3
        assert len(no_pauses) == 1
        assert store.request_stats.requests == 3
        assert store.request_stats.errors == 1


@_PATHS
def test_connections_are_kept_open(*, is_direct: bool) -> None:
    with scripted_server(_answer) as server:
        store = store_of(_connection(server, is_direct=is_direct))
        for _ in range(5):
            store.write_bytes("x.csv", b"x")
            store.read_bytes("x.csv")
            store.head("x.csv")
        assert set(server.connections) == {1}


@_PATHS
def test_an_unread_body_does_not_spoil_the_connection(*, is_direct: bool) -> None:
    with scripted_server(_answer) as server:
        store = store_of(_connection(server, is_direct=is_direct))
        reader = vars(store)["_reader"]
        assert reader.read_small("x.csv", 0)[1] is None  # the object is larger than that
        assert store.read_bytes("x.csv") == b"x"


def test_a_server_may_refuse_before_it_has_read_the_body(no_pauses: list[float]) -> None:
    def refuse_early(exchange: Exchange) -> bool:
        exchange.reply(403, body=b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>")
        exchange.read_body()
        return True

    with scripted_server(refuse_early) as server:
        store = store_of(_connection(server))
        with pytest.raises(StoreError, match="AccessDenied"):
            store.write_bytes("x.csv", bytes(7_000_000))


def test_a_server_that_closes_before_it_has_read_the_body_is_asked_again(no_pauses: list[float]) -> None:
    def close_early(exchange: Exchange) -> bool:
        if exchange.number < 3:
            exchange.reset()
            return False
        exchange.read_body()
        exchange.reply(headers=f'ETag: "{_MD5_OF_ZEROS}"\r\n')
        return True

    with scripted_server(close_early) as server:
        store_of(_connection(server)).write_bytes("x.csv", bytes(7_000_000))
        assert len(server.heads) == 3


_MD5_OF_ZEROS = "8e5daee75e9a4bb3d912168d5c14f960"


@_PATHS
def test_a_busy_store_is_asked_again_after_the_same_pauses(no_pauses: list[float], *, is_direct: bool) -> None:
    def busy_twice(exchange: Exchange) -> bool:
        if exchange.number < 3:
            exchange.read_body()
            exchange.reply(503, "Retry-After: 7\r\nx-amz-retry-after: 3000\r\n", _BUSY)
            return True
        return _answer(exchange)

    with scripted_server(busy_twice) as server:
        store = store_of(_connection(server, is_direct=is_direct))
        store.write_bytes("x.csv", b"x")
        attempts = [line for head in server.heads for line in head.split("\r\n") if line.startswith("amz-sdk-request")]
    # botocore follows AWS's own header, and not Retry-After; its own pauses would be shorter here.
    assert no_pauses == [3.0, 3.0]
    assert [line.partition(": ")[2].split("; ")[-2:] for line in attempts] == [
        ["attempt=1", "max=8"],
        ["attempt=2", "max=8"],
        ["attempt=3", "max=8"],
    ]


@_PATHS
def test_a_store_that_stays_busy_is_reported_after_8_attempts(no_pauses: list[float], *, is_direct: bool) -> None:
    def busy(exchange: Exchange) -> bool:
        exchange.read_body()
        exchange.reply(503, "Retry-After: 7\r\n", _BUSY)
        return True

    with scripted_server(busy) as server:
        store = store_of(_connection(server, is_direct=is_direct))
        with pytest.raises(StoreUnavailableError, match="throttling"):
            store.write_bytes("x.csv", b"x")
        assert len(server.heads) == 8


def _unusual(reply: Callable[[Exchange], None], numbers: set[int]) -> Script:
    """Return a script that gives an unusual reply to the requests with these numbers, and else a normal one."""

    def act(exchange: Exchange) -> bool:
        if exchange.number not in numbers:
            return _answer(exchange)
        exchange.read_body()
        reply(exchange)
        return True

    return act


def _watched(connection: S3Connection, monkeypatch: pytest.MonkeyPatch, method: str) -> list[str]:
    """Return a list that gets the key of each request that botocore's client sends."""
    keys: list[str] = []
    send = getattr(connection.client, method)

    def watched(**arguments: Any) -> Any:
        keys.append(arguments["Key"])
        return send(**arguments)

    monkeypatch.setattr(connection.client, method, watched)
    return keys


def _chunked(exchange: Exchange) -> None:
    head = f"HTTP/1.1 200 OK\r\n{_OBJECT}Transfer-Encoding: chunked\r\nTrailer: x-amz-checksum-crc32\r\n\r\n"
    exchange.connection.sendall(head.encode() + b"1\r\nx\r\n0\r\nx-amz-checksum-crc32: jNW6gw==\r\n\r\n")


def _without_length(exchange: Exchange) -> None:
    head = f"HTTP/1.1 200 OK\r\n{_OBJECT}Transfer-Encoding: chunked\r\n\r\n"
    exchange.connection.sendall(head.encode() + b"1\r\nx\r\n0\r\n\r\n")


_UNUSUAL: dict[str, tuple[Callable[[Exchange], None], bool]] = {
    # And whether the next requests are left to botocore as well.
    "redirect": (lambda to: to.reply(307, "Location: http://127.0.0.1:1/\r\n"), True),
    "other region": (
        lambda to: to.reply(400, body=b"<Error><Code>AuthorizationHeaderMalformed</Code><Region>x</Region></Error>"),
        True,
    ),
    "no content": (lambda to: to.reply(204), False),
    "trailers": (_chunked, False),
    "no length": (_without_length, False),
    "encoded": (lambda to: to.reply(200, f"{_OBJECT}Content-Encoding: aws-chunked\r\n", b"x"), False),
}


@pytest.mark.parametrize("kind", _UNUSUAL)
def test_a_reply_of_another_kind_is_left_to_botocore(
    no_pauses: list[float], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    reply, is_lasting = _UNUSUAL[kind]
    with scripted_server(_unusual(reply, {1} if is_lasting else {1, 3})) as server:
        connection = _connection(server)
        botocores = _watched(connection, monkeypatch, "get_object")
        store = store_of(connection)
        assert [store.read_bytes("1.csv"), store.read_bytes("2.csv")] == [b"x", b"x"]
        assert botocores == ["1.csv", "2.csv"]
        assert len(server.heads) == (3 if is_lasting else 4)
        assert store.request_stats.requests == len(server.heads)


def test_a_head_request_refused_without_a_reason_is_left_to_botocore(
    no_pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    # AWS replies like this to a HEAD request that is signed for another region.
    with scripted_server(_unusual(lambda to: to.reply(400), {1})) as server:
        connection = _connection(server)
        botocores = _watched(connection, monkeypatch, "head_object")
        assert store_of(connection).head("x.csv") is not None
        assert botocores == ["x.csv"]
        assert len(server.heads) == 2


def test_an_interim_reply_is_skipped() -> None:
    def continue_first(exchange: Exchange) -> bool:
        exchange.connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        return _answer(exchange)

    with scripted_server(continue_first) as server:
        store = store_of(_connection(server))
        store.write_bytes("x.csv", b"x")
        assert store.read_bytes("x.csv") == b"x"


@_PATHS
def test_expired_credentials_are_reported(no_pauses: list[float], *, is_direct: bool) -> None:
    def expired(exchange: Exchange) -> bool:
        exchange.read_body()
        exchange.reply(400, body=b"<Error><Code>ExpiredToken</Code><Message>no</Message></Error>")
        return True

    with scripted_server(expired) as server:
        store = store_of(_connection(server, is_direct=is_direct))
        with pytest.raises(StoreAuthError, match="have expired"):
            store.write_bytes("x.csv", b"x")
        assert len(server.heads) == 1


@_PATHS
def test_credentials_are_renewed_between_requests(monkeypatch: pytest.MonkeyPatch, *, is_direct: bool) -> None:
    keys = iter(["first", "second", "third"])

    def renew() -> dict[str, str]:
        # So close to their end, credentials are renewed before each use.
        expiry = (datetime.now(UTC) + timedelta(seconds=5)).isoformat()
        return {"access_key": next(keys), "secret_key": "s", "token": "t", "expiry_time": expiry}

    def create(*_: object, **__: object) -> Any:
        return RefreshableCredentials.create_from_metadata(renew(), renew, "test")

    monkeypatch.setattr("botocore.credentials.CredentialResolver.load_credentials", create)
    with scripted_server(_answer) as server:
        connection = S3Connection("races", "us-east-1", server.endpoint, is_direct=is_direct)
        store = store_of(connection)
        monkeypatch.setattr("apex_pipeline.storage.s3.client.load_credentials", lambda _: "test")
        store.head("x.csv")
        store.head("x.csv")
    used = [head.partition("Credential=")[2].partition("/")[0] for head in server.heads]
    assert used == ["second", "third"]


@_PATHS
def test_a_slow_reply_times_out(no_pauses: list[float], *, is_direct: bool) -> None:
    is_over = threading.Event()

    def stall(exchange: Exchange) -> bool:
        is_over.wait(10)
        return False

    with scripted_server(stall) as server:
        store = store_of(_connection(server, is_direct=is_direct, read_timeout_s=0.2, attempts=2))
        with pytest.raises(StoreUnavailableError, match="timed out"):
            store.head("x.csv")
        is_over.set()
        assert store.request_stats == RequestStats(2, 2, store.request_stats.waited_s)
        assert store.request_stats.waited_s >= 0.4


@pytest.mark.parametrize(
    ("endpoint", "error", "text"),
    [
        ("http://127.0.0.1:1", StoreUnavailableError, "cannot be reached"),
        ("http://no-such-host.invalid", StoreUnavailableError, "cannot be reached"),
    ],
)
@_PATHS
def test_a_store_that_cannot_be_reached_is_reported(
    no_pauses: list[float], endpoint: str, error: type[StoreError], text: str, *, is_direct: bool
) -> None:
    connection = S3Connection("races", "us-east-1", endpoint, "key", "secret", attempts=1, is_direct=is_direct)
    with pytest.raises(error, match=text):
        store_of(connection).read_bytes("x.csv")


@_PATHS
def test_a_server_without_tls_is_reported(no_pauses: list[float], *, is_direct: bool) -> None:
    with answering(200, "", {}) as address:
        secure = address.replace("http://", "https://")
        connection = S3Connection("races", "us-east-1", secure, "key", "secret", attempts=1, is_direct=is_direct)
        with pytest.raises(StoreConfigError, match="a secure connection could not be established"):
            store_of(connection).read_bytes("x.csv")


def test_a_missing_file_of_certificates_is_reported(no_pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nonexistent/bundle.pem")
    connection = S3Connection("races", "us-east-1", "https://127.0.0.1:1", "key", "secret", attempts=1)
    with pytest.raises((StoreConfigError, StoreUnavailableError)):
        store_of(connection).read_bytes("x.csv")


def test_a_proxy_is_told_the_entire_address(monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted_server(_answer) as proxy:
        monkeypatch.setenv("http_proxy", proxy.endpoint.removeprefix("http://"))
        monkeypatch.setenv("no_proxy", "")
        connection = S3Connection("races", "us-east-1", "http://store.invalid:9000", "key", "secret")
        assert isinstance(connection.objects, DirectClient)
        assert store_of(connection).read_bytes("a b.csv") == b"x"
        assert proxy.heads[0].startswith("GET http://store.invalid:9000/races/a%20b.csv HTTP/1.1\r\n")
        assert "\r\nHost: store.invalid:9000\r\n" in proxy.heads[0]


def test_an_unreachable_proxy_is_reported(no_pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    connection = S3Connection("races", "us-east-1", "http://store.invalid:9000", "key", "secret", attempts=1)
    with pytest.raises(StoreUnavailableError):
        store_of(connection).read_bytes("x.csv")


def test_many_threads_share_one_client(s3_bucket: S3Bucket) -> None:
    store = store_of(connect(s3_bucket))

    def write_and_read(number: int) -> bytes:
        store.write_bytes(f"x/{number}.csv", b"%d" % number * 1000)
        return store.read_bytes(f"x/{number}.csv")

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(write_and_read, range(200))) == [b"%d" % number * 1000 for number in range(200)]
    assert store.request_stats.requests == 400
    assert store.request_stats.errors == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_a_forked_process_opens_connections_of_its_own() -> None:
    with scripted_server(_answer) as server:
        store = store_of(_connection(server))
        store.head("x.csv")
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = 0 if store.read_bytes("x.csv") == b"x" else 2
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        store.head("x.csv")
        assert server.connections == [1, 2, 1]
