"""The fault proxy itself, tested with a client that never retries."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from http.client import HTTPConnection, IncompleteRead, RemoteDisconnected
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from apex_pipeline_tests.servers import faults
from apex_pipeline_tests.servers.fault_proxy import FOREVER, Fault, FaultProxy, running_proxy
from apex_pipeline_tests.servers.s3_server import S3Bucket, S3Server

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

_CONTENT = bytes(range(256)) * 400
_KEY = "data/a b.csv"


@pytest.fixture
def client(s3_bucket: S3Bucket, fault_proxy: FaultProxy) -> "Iterator[S3Client]":
    with closing(replace(s3_bucket.server, endpoint=fault_proxy.endpoint).client()) as client:
        yield client


@pytest.fixture
def target(s3_bucket: S3Bucket, client: "S3Client") -> str:
    """Path and query of a presigned URL that reads an object through the proxy."""
    s3_bucket.client.put_object(Bucket=s3_bucket.name, Key=_KEY, Body=_CONTENT)
    address = client.generate_presigned_url("get_object", Params={"Bucket": s3_bucket.name, "Key": _KEY})
    return "/" + address.split("/", 3)[3]


@pytest.fixture
def connection(fault_proxy: FaultProxy) -> Iterator[HTTPConnection]:
    with closing(HTTPConnection(fault_proxy.endpoint.removeprefix("http://"), timeout=60)) as connection:
        yield connection


def _get(connection: HTTPConnection, target: str) -> tuple[int, bytes]:
    connection.request("GET", target)
    with connection.getresponse() as reply:
        return reply.status, reply.read()


def test_requests_without_a_rule_are_forwarded_unchanged(
    s3_bucket: S3Bucket, client: "S3Client", fault_proxy: FaultProxy
) -> None:
    client.put_object(Bucket=s3_bucket.name, Key=_KEY, Body=_CONTENT, Metadata={"sha256": "x"})
    assert client.head_object(Bucket=s3_bucket.name, Key=_KEY)["ContentLength"] == len(_CONTENT)
    read = client.get_object(Bucket=s3_bucket.name, Key=_KEY, Range="bytes=10-19")
    assert (read["Body"].read(), read["Metadata"]) == (_CONTENT[10:20], {"sha256": "x"})
    client.delete_object(Bucket=s3_bucket.name, Key=_KEY)
    assert s3_bucket.object_keys() == []
    assert [request.method for request in fault_proxy.requests] == ["PUT", "HEAD", "GET", "DELETE"]
    first = fault_proxy.requests[0]
    assert (first.path, first.length) == (f"/{s3_bucket.name}/data/a%20b.csv", len(_CONTENT))
    assert first.headers["x-amz-meta-sha256"] == "x"
    assert fault_proxy.count("GET", "a%20b", lambda request: "range" in request.headers) == 1


def test_an_incomplete_body_is_forwarded_and_recorded_as_broken(
    s3_bucket: S3Bucket, client: "S3Client", fault_proxy: FaultProxy
) -> None:
    address = client.generate_presigned_url("put_object", Params={"Bucket": s3_bucket.name, "Key": _KEY})
    with closing(HTTPConnection(fault_proxy.endpoint.removeprefix("http://"), timeout=60)) as connection:
        connection.putrequest("PUT", "/" + address.split("/", 3)[3])
        connection.putheader("Content-Length", str(len(_CONTENT)))
        connection.endheaders(_CONTENT[:100])
    deadline = time.monotonic() + 60
    while not fault_proxy.broken and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [(request.method, request.length) for request in fault_proxy.broken] == [("PUT", len(_CONTENT))]
    assert fault_proxy.requests == []
    assert s3_bucket.object_keys() == []


def test_the_server_still_checks_signatures(s3_bucket: S3Bucket, fault_proxy: FaultProxy) -> None:
    impostor = replace(s3_bucket.server, endpoint=fault_proxy.endpoint, secret_access_key="wrong")  # noqa: S106  -- wrong
    with closing(impostor.client()) as client, pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        client.get_object(Bucket=s3_bucket.name, Key=_KEY)


def test_a_connection_carries_many_requests(connection: HTTPConnection, target: str, fault_proxy: FaultProxy) -> None:
    assert _get(connection, target) == (200, _CONTENT)
    first = connection.sock
    assert [_get(connection, target) for _ in range(3)] == [(200, _CONTENT)] * 3
    assert connection.sock is first
    assert "X-Amz-Signature" in fault_proxy.requests[-1].query


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (faults.INTERNAL_ERROR, 500, "InternalError"),
        (faults.SLOW_DOWN, 503, "SlowDown"),
        (faults.MISSING_LENGTH, 411, "MissingContentLength"),
        (faults.NOT_IMPLEMENTED, 501, "NotImplemented"),
        (faults.MISSING_MD5, 400, "MissingContentMD5"),
        (faults.fail_with_success, 200, "InternalError"),
    ],
)
def test_an_error_reply_does_not_reach_the_server(
    connection: HTTPConnection, s3_bucket: S3Bucket, fault_proxy: FaultProxy, fault: Fault, status: int, code: str
) -> None:
    fault_proxy.inject(fault)
    connection.request("DELETE", f"/{s3_bucket.name}")
    with connection.getresponse() as reply:
        assert reply.status == status
        assert f"<Code>{code}</Code>".encode() in reply.read()
    s3_bucket.client.head_bucket(Bucket=s3_bucket.name)


def test_a_reset_happens_before_the_request_is_forwarded(
    client: "S3Client", s3_bucket: S3Bucket, connection: HTTPConnection, target: str, fault_proxy: FaultProxy
) -> None:
    fault_proxy.inject(faults.reset, times=2)
    with pytest.raises(ConnectionResetError):
        _get(connection, target)
    with pytest.raises(Exception, match="Connection was closed"):
        client.delete_object(Bucket=s3_bucket.name, Key=_KEY)
    assert s3_bucket.object_keys() == [_KEY]


def test_a_request_with_a_lost_reply_was_executed(
    client: "S3Client", s3_bucket: S3Bucket, fault_proxy: FaultProxy
) -> None:
    fault_proxy.inject(faults.lose_reply)
    with pytest.raises(Exception, match="Connection was closed"):
        client.put_object(Bucket=s3_bucket.name, Key=_KEY, Body=_CONTENT)
    assert s3_bucket.object_keys() == [_KEY]


def test_a_truncated_reply_has_the_full_length_and_half_the_body(
    connection: HTTPConnection, target: str, fault_proxy: FaultProxy
) -> None:
    fault_proxy.inject(faults.truncate_reply)
    with pytest.raises(IncompleteRead) as raised:
        _get(connection, target)
    assert raised.value.partial == _CONTENT[: len(_CONTENT) // 2]


@pytest.mark.parametrize("fault", [faults.stall_reply(0.5), faults.slow_reply(0.5), faults.delay_reply(0.5)])
def test_a_late_reply_is_complete(
    connection: HTTPConnection, target: str, fault_proxy: FaultProxy, fault: Fault
) -> None:
    fault_proxy.inject(fault)
    start = time.monotonic()
    assert _get(connection, target) == (200, _CONTENT)
    assert time.monotonic() - start >= 0.5


@pytest.mark.parametrize(("fault", "times_out"), [(faults.stall_reply(60), True), (faults.slow_reply(2.5), False)])
def test_a_stalled_reply_times_out_and_a_slow_one_does_not(
    connection: HTTPConnection, target: str, fault_proxy: FaultProxy, fault: Fault, *, times_out: bool
) -> None:
    # Shorter than the slow reply, and eight times the pause between its pieces, to leave room for a busy machine.
    connection.timeout = 2
    fault_proxy.inject(fault)
    if times_out:
        with pytest.raises(TimeoutError):
            _get(connection, target)
    else:
        assert _get(connection, target) == (200, _CONTENT)


def test_one_bit_of_a_reply_is_flipped(connection: HTTPConnection, target: str, fault_proxy: FaultProxy) -> None:
    fault_proxy.inject(faults.corrupt_reply)
    status, content = _get(connection, target)
    assert status == 200
    assert (int.from_bytes(content) ^ int.from_bytes(_CONTENT)).bit_count() == 1


def test_one_bit_of_a_request_is_flipped(client: "S3Client", s3_bucket: S3Bucket, fault_proxy: FaultProxy) -> None:
    fault_proxy.inject(faults.corrupt_request, method="PUT")
    with pytest.raises(ClientError, match="BadDigest"):
        client.put_object(Bucket=s3_bucket.name, Key=_KEY, Body=_CONTENT, ChecksumAlgorithm="CRC32")


def test_a_rule_applies_to_matching_requests_and_a_limited_number_of_times(
    connection: HTTPConnection, target: str, fault_proxy: FaultProxy
) -> None:
    other = fault_proxy.inject(faults.reset, method="PUT")
    rule = fault_proxy.inject(faults.SLOW_DOWN, method="GET", contains="a%20b.csv", first=2, times=2)
    assert [_get(connection, target)[0] for _ in range(5)] == [200, 503, 503, 200, 200]
    assert (rule.seen, rule.hits, other.seen) == (5, 2, 0)


def test_a_permanent_rule_ends_with_heal(connection: HTTPConnection, target: str, fault_proxy: FaultProxy) -> None:
    fault_proxy.inject(faults.SLOW_DOWN, where=lambda request: request.length == 0, times=FOREVER)
    assert {_get(connection, target)[0] for _ in range(5)} == {503}
    fault_proxy.heal()
    assert _get(connection, target)[0] == 200


def test_requests_of_many_threads_are_served_and_counted(target: str, fault_proxy: FaultProxy) -> None:
    rule = fault_proxy.inject(faults.SLOW_DOWN, times=10)

    def send(_: int) -> list[int]:
        with closing(HTTPConnection(fault_proxy.endpoint.removeprefix("http://"), timeout=60)) as connection:
            return [_get(connection, target)[0] for _ in range(10)]

    with ThreadPoolExecutor(8) as pool:
        statuses = [status for batch in pool.map(send, range(8)) for status in batch]
    assert sorted(statuses) == [200] * 70 + [503] * 10
    assert rule.hits == 10
    assert len(fault_proxy.requests) == 80


def test_stopping_does_not_wait_for_faults_or_idle_clients(s3_server: S3Server) -> None:
    with running_proxy(s3_server) as proxy:
        address = proxy.endpoint.removeprefix("http://")
        idle, waiting = HTTPConnection(address), HTTPConnection(address)
        idle.connect()
        proxy.inject(faults.delay_reply(600))
        waiting.request("GET", "/")
    # Waiting for the fault would give a reply; waiting for the idle client would never end.
    with closing(idle), closing(waiting), pytest.raises((RemoteDisconnected, ConnectionResetError)):
        waiting.getresponse()


def _corrupt_an_empty_body(server: S3Server) -> None:
    with running_proxy(server) as proxy:
        proxy.inject(faults.corrupt_request)
        with closing(HTTPConnection(proxy.endpoint.removeprefix("http://"))) as connection:
            connection.request("GET", "/")
            with pytest.raises(RemoteDisconnected):
                connection.getresponse()


def test_a_fault_without_effect_fails_the_test(s3_server: S3Server) -> None:
    with pytest.raises(AssertionError, match="no body to corrupt"):
        _corrupt_an_empty_body(s3_server)
