"""Reads from a bucket while replies are refused, truncated, stalled, delayed or damaged in transit.

After a temporary fault the correct bytes are returned, a permanent one raises an error of the right type, and wrong
bytes are never returned. Every read method is tested with the same faults.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from apex_pipeline.errors import StoreAuthError, StoreCorruptionError, StorePermissionError, StoreUnavailableError
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.s3.store import S3Store
from apex_pipeline_tests.servers import faults
from apex_pipeline_tests.servers.fault_proxy import FOREVER, Exchange, Fault, FaultProxy
from apex_pipeline_tests.servers.s3_server import S3Bucket, S3Server, new_bucket
from apex_pipeline_tests.storage.s3.fault_harness import (
    CONTENT,
    KEY,
    LARGE,
    LARGE_KEY,
    MAX_ATTEMPTS,
    TOO_LONG_S,
    FaultHarness,
    is_get,
)
from apex_pipeline_tests.storage.s3.harness import connect, write_source

pytestmark = pytest.mark.req("A-074", "A-131")


def _read_file(store: S3Store) -> bytes:
    with store.open_as_file(KEY) as path:
        return path.read_bytes()


def _read_stream(store: S3Store) -> bytes:
    with store.open_stream(KEY) as stream:
        return stream.read()


def _read_seekable(store: S3Store) -> bytes:
    with store.open_seekable(KEY) as file:
        file.seek(1_000_001)
        return file.read(300_000)


_READS: dict[str, tuple[Callable[[S3Store], bytes], bytes]] = {
    "read_bytes": (lambda store: store.read_bytes(KEY), CONTENT),
    "open_as_file": (_read_file, CONTENT),
    "open_stream": (_read_stream, CONTENT),
    "open_seekable": (_read_seekable, CONTENT[1_000_001:1_300_001]),
    "read_head": (lambda store: store.read_head(KEY, 100_000), CONTENT[:100_000]),
}
_FAULTS: dict[str, Fault] = {
    "500": faults.INTERNAL_ERROR,
    "503": faults.SLOW_DOWN,
    "reset": faults.reset,
    "lost reply": faults.lose_reply,
    "truncated": faults.truncate_reply,
    "bit flipped": faults.corrupt_reply,
}
_LATE: dict[str, Fault] = {"stalls": faults.stall_reply(TOO_LONG_S), "delayed": faults.delay_reply(TOO_LONG_S)}


@pytest.fixture(scope="module")
def filled_bucket(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Bucket]:
    """A bucket with two objects, which the tests of this module do not change."""
    folder = tmp_path_factory.mktemp("source")
    with new_bucket(s3_server) as bucket:
        store = S3Store(connect(bucket), "", DigestCache(), state=folder)
        store.write_bytes(KEY, CONTENT)
        store.write_file(LARGE_KEY, write_source(folder, LARGE))
        yield bucket


@pytest.fixture(params=["direct", "botocore"])
def harness(
    request: pytest.FixtureRequest, fault_proxy: FaultProxy, filled_bucket: S3Bucket, no_pauses: list[float]
) -> FaultHarness:
    # A new store for each test: after 100 failed attempts a boto3 client stops retrying.
    return FaultHarness(fault_proxy, filled_bucket, is_direct=request.param == "direct")


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("fault", _FAULTS)
@pytest.mark.parametrize("read", _READS)
def test_each_temporary_fault_costs_one_more_request(harness: FaultHarness, read: str, fault: str, times: int) -> None:
    how, expected = _READS[read]
    store = harness.store
    assert how(store) == expected
    without_fault = harness.proxy.count(where=is_get)
    rule = harness.proxy.inject(_FAULTS[fault], where=is_get, times=times)
    assert how(store) == expected
    assert rule.hits == times
    assert harness.proxy.count(where=is_get) == 2 * without_fault + times


@pytest.mark.parametrize("fault", _FAULTS)
@pytest.mark.parametrize("read", _READS)
def test_a_permanent_fault_raises_an_error_and_later_reads_succeed(
    harness: FaultHarness, read: str, fault: str
) -> None:
    how, expected = _READS[read]
    store = harness.store
    rule = harness.proxy.inject(_FAULTS[fault], where=is_get, times=FOREVER)
    with pytest.raises(StoreCorruptionError if fault == "bit flipped" else StoreUnavailableError):
        how(store)
    assert rule.hits <= MAX_ATTEMPTS
    harness.proxy.heal()
    assert how(store) == expected


@pytest.mark.parametrize("fault", _LATE)
@pytest.mark.parametrize(("read", "times"), [*((read, 1) for read in _READS), ("read_bytes", 3), ("open_seekable", 3)])
def test_a_request_is_repeated_after_a_timeout(harness: FaultHarness, read: str, fault: str, times: int) -> None:
    how, expected = _READS[read]
    rule = harness.proxy.inject(_LATE[fault], where=is_get, times=times)
    assert how(harness.impatient_store) == expected
    assert rule.hits == times


@pytest.mark.parametrize(
    ("read", "fault"), [("read_bytes", "stalls"), ("open_seekable", "stalls"), ("read_head", "delayed")]
)
def test_repeated_timeouts_raise_an_error(harness: FaultHarness, read: str, fault: str) -> None:
    how, expected = _READS[read]
    store = harness.impatient_store
    rule = harness.proxy.inject(_LATE[fault], where=is_get, times=FOREVER)
    with pytest.raises(StoreUnavailableError):
        how(store)
    assert rule.hits <= MAX_ATTEMPTS
    harness.proxy.heal()
    assert how(store) == expected


@pytest.mark.parametrize("read", _READS)
def test_a_slow_reply_does_not_time_out(harness: FaultHarness, read: str) -> None:
    how, expected = _READS[read]
    # Shorter than the reply, and eight times the pause between its pieces, to leave room for a busy machine.
    store = harness.store_with_timeout(2)
    rule = harness.proxy.inject(faults.slow_reply(2.5), where=is_get)
    assert how(store) == expected
    assert rule.hits == 1
    ranges = [request.headers.get("range") for request in harness.proxy.requests if is_get(request)]
    assert len(ranges) == len(set(ranges))  # no range was requested twice


@pytest.mark.parametrize("fault", _FAULTS)
def test_a_stream_survives_a_fault_in_the_middle(harness: FaultHarness, fault: str) -> None:
    rule = harness.proxy.inject(_FAULTS[fault], where=is_get, first=2)
    with harness.store.open_stream(LARGE_KEY) as stream:
        assert stream.read() == LARGE
    assert rule.hits == 1


def _flip_bit_of_byte(position: int) -> Fault:
    """Return a fault that flips a bit of this byte of the object in every ranged reply that contains it."""

    def act(exchange: Exchange) -> None:
        first, last = exchange.request.headers["range"].removeprefix("bytes=").split("-")
        if int(first) <= position <= int(last):
            faults.corrupt_reply_at(position - int(first))(exchange)
        else:
            exchange.reply(exchange.ask_server())

    return act


@pytest.mark.parametrize(
    ("start", "length", "damaged"),
    [
        pytest.param(0, 4, 0, id="the first byte"),
        pytest.param(len(LARGE) - 8, 8, len(LARGE) - 1, id="the last byte"),
        pytest.param(1_000_003, 5, 1_000_005, id="one byte of five"),
        pytest.param(1_000_003, 3_000_000, 1_000_003, id="first of many"),
        pytest.param(1_000_003, 3_000_000, 4_000_002, id="last of many"),
        pytest.param(1_000_003, 3_000_000, 2_500_000, id="in the middle of many"),
    ],
)
def test_a_flipped_bit_anywhere_in_a_range_is_detected(
    harness: FaultHarness, start: int, length: int, damaged: int
) -> None:
    harness.proxy.inject(_flip_bit_of_byte(damaged), where=is_get, times=FOREVER)
    with harness.store.open_seekable(LARGE_KEY) as file:
        file.seek(start)
        with pytest.raises(StoreCorruptionError, match=r"large\.csv is damaged"):
            file.read(length)
        harness.proxy.heal()
        file.seek(start)
        assert file.read(length) == LARGE[start : start + length]


@pytest.mark.parametrize("length", [1, 10, 100_000])
def test_a_flipped_bit_in_the_head_is_detected(harness: FaultHarness, length: int) -> None:
    store = harness.store
    harness.proxy.inject(_flip_bit_of_byte(length - 1), where=is_get, times=FOREVER)
    with pytest.raises(StoreCorruptionError, match=r"x\.csv is damaged"):
        store.read_head(KEY, length)
    harness.proxy.heal()
    assert store.read_head(KEY, length) == CONTENT[:length]


@pytest.mark.parametrize(
    ("code", "error"), [("AccessDenied", StorePermissionError), ("SignatureDoesNotMatch", StoreAuthError)]
)
@pytest.mark.parametrize("read", _READS)
def test_permanent_errors_are_not_retried(harness: FaultHarness, read: str, code: str, error: type[Exception]) -> None:
    rule = harness.proxy.inject(faults.refuse(403, code), where=is_get, times=FOREVER)
    with pytest.raises(error):
        _READS[read][0](harness.store)
    assert rule.hits == 1


# JuiceFS describes an object without an ETag while it is being replaced.
@pytest.mark.parametrize("read", ["read_bytes", "open_stream", "open_as_file"])
def test_an_incomplete_description_of_an_object_is_asked_for_again(harness: FaultHarness, read: str) -> None:
    how, expected = _READS[read]
    rule = harness.proxy.inject(faults.drop_header("ETag"), where=is_get, times=3)
    assert how(harness.store) == expected
    assert rule.hits == 3


def test_a_store_that_never_describes_its_objects_is_reported(harness: FaultHarness) -> None:
    harness.proxy.inject(faults.drop_header("ETag"), where=is_get, times=FOREVER)
    with pytest.raises(StoreUnavailableError, match="described the object incompletely"):
        harness.store.read_bytes(KEY)


@pytest.mark.parametrize("fault", ["500", "503", "reset", "lost reply"])
def test_the_head_request_before_a_read_survives_faults(harness: FaultHarness, fault: str) -> None:
    how, expected = _READS["open_seekable"]
    rule = harness.proxy.inject(_FAULTS[fault], method="HEAD", times=3)
    assert how(harness.store) == expected
    assert rule.hits == 3


def test_a_failed_download_leaves_no_file_on_disk(harness: FaultHarness, tmp_path: Path) -> None:
    with harness.store.open_as_file(KEY) as path:
        assert path in tmp_path.rglob("x.csv")
    harness.proxy.inject(faults.truncate_reply, where=is_get, times=FOREVER)
    with pytest.raises(StoreUnavailableError):
        _read_file(harness.store)
    assert not list(tmp_path.rglob("x.csv"))
