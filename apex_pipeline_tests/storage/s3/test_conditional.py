"""Conditional writes to a bucket while replies are lost, conflicts are reported, or the store has no conditions."""

from collections.abc import Callable, Mapping

import pytest

from apex_pipeline.errors import StoreConfigError, StorePermissionError, StoreUnavailableError
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.s3.client import S3Connection
from apex_pipeline.storage.s3.store import S3Store
from apex_pipeline_tests.servers import faults
from apex_pipeline_tests.servers.fault_proxy import FOREVER, Exchange, Fault, Request
from apex_pipeline_tests.storage.s3.fault_harness import MAX_ATTEMPTS, FaultHarness, carries_checksum

KEY = "catalog/current.json"


def _is_conditional(request: Request) -> bool:
    return request.method == "PUT" and not {"if-match", "if-none-match"}.isdisjoint(request.headers)


def _is_write(request: Request) -> bool:
    return _is_conditional(request) and request.path.endswith(KEY)


def _lose_reply_and(act: Callable[[], object]) -> Fault:
    """Forward the request, do something else before the client sends it again, and close the connection."""

    def fault(exchange: Exchange) -> None:
        exchange.ask_server()
        act()
        exchange.hang_up()

    return fault


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("fault", [faults.lose_reply, faults.reset, faults.SLOW_DOWN, faults.INTERNAL_ERROR])
def test_a_write_succeeds_although_its_reply_was_lost(fault_harness: FaultHarness, fault: Fault, times: int) -> None:
    store = fault_harness.store
    rule = fault_harness.proxy.inject(fault, where=_is_write, times=times)
    first = store.write_if(KEY, b"one", None)
    assert first is not None
    assert rule.hits == times
    fault_harness.proxy.inject(fault, where=_is_write, times=times)
    second = store.write_if(KEY, b"two", first.tag)
    assert second is not None
    assert second.tag != first.tag
    assert second == store.head(KEY)
    assert fault_harness.content(KEY) == b"two"


def test_a_lost_reply_to_a_refused_write_is_still_a_refusal(fault_harness: FaultHarness) -> None:
    # Even if the other writer wrote the same content.
    fault_harness.store.write_bytes(KEY, b"same")
    fault_harness.proxy.inject(faults.lose_reply, where=_is_write, times=2)
    assert fault_harness.store.write_if(KEY, b"same", None) is None


def test_a_write_that_was_replaced_after_its_reply_was_lost_is_reported_as_lost(fault_harness: FaultHarness) -> None:
    other = fault_harness.bucket.client

    def replace() -> None:
        other.put_object(Bucket=fault_harness.bucket.name, Key=KEY, Body=b"theirs")

    def remove() -> None:
        other.delete_object(Bucket=fault_harness.bucket.name, Key=KEY)

    fault_harness.proxy.inject(_lose_reply_and(replace), where=_is_write)
    assert fault_harness.store.write_if(KEY, b"ours", None) is None
    assert fault_harness.content(KEY) == b"theirs"
    found = fault_harness.store.read_with_tag(KEY)
    assert found is not None
    fault_harness.proxy.inject(_lose_reply_and(remove), where=_is_write)
    assert fault_harness.store.write_if(KEY, b"ours", found[1]) is None


@pytest.mark.parametrize("code", ["ConditionalRequestConflict", "OperationAborted"])
def test_a_reported_conflict_is_tried_again(fault_harness: FaultHarness, code: str) -> None:
    fault_harness.proxy.inject(faults.refuse(409, code), where=_is_write, times=2)
    assert fault_harness.store.write_if(KEY, b"one", None) is not None
    fault_harness.proxy.inject(faults.refuse(409, code), where=_is_write, times=FOREVER)
    assert fault_harness.store.write_if(KEY, b"two", None) is None
    assert fault_harness.content(KEY) == b"one"


def test_the_reply_of_aws_to_the_replacement_of_a_missing_object_is_understood(fault_harness: FaultHarness) -> None:
    fault_harness.proxy.inject(faults.refuse(404, "NoSuchKey"), where=_is_write)
    assert fault_harness.store.write_if(KEY, b"one", "0" * 32) is None


def test_a_missing_bucket_is_not_a_lost_race(fault_harness: FaultHarness) -> None:
    assert fault_harness.store.has_conditional_writes
    fault_harness.proxy.inject(faults.refuse(404, "NoSuchBucket"), where=_is_write)
    with pytest.raises(StoreConfigError, match="NoSuchBucket"):
        fault_harness.store.write_if(KEY, b"one", "0" * 32)


def test_an_unreachable_store_is_reported(fault_harness: FaultHarness) -> None:
    rule = fault_harness.proxy.inject(faults.SLOW_DOWN, where=_is_write, times=FOREVER)
    with pytest.raises(StoreUnavailableError):
        fault_harness.store.write_if(KEY, b"one", None)
    assert rule.hits <= MAX_ATTEMPTS


@pytest.mark.parametrize(
    "refusal",
    [(501, "NotImplemented"), (400, "InvalidArgument"), (400, "InvalidRequest"), (405, "MethodNotAllowed")],
    ids=lambda refusal: refusal[1],
)
def test_a_store_that_refuses_conditions_gets_a_lookup_and_a_plain_write(
    fault_harness: FaultHarness, refusal: tuple[int, str]
) -> None:
    rule = fault_harness.proxy.inject(faults.refuse(*refusal), where=_is_conditional, times=FOREVER)
    store = fault_harness.store
    assert not store.has_conditional_writes
    first = store.write_if(KEY, b"one", None)
    assert first is not None
    assert store.write_if(KEY, b"two", None) is None
    assert store.write_if(KEY, b"two", "0" * 32) is None
    assert store.write_if(KEY, b"two", first.tag) is not None
    assert fault_harness.content(KEY) == b"two"
    assert rule.hits == 1
    # The refusal of the condition was not mistaken for one of the checksum.
    assert all(carries_checksum(request) for request in fault_harness.proxy.requests if request.method == "PUT")
    assert fault_harness.bucket.object_keys() == [KEY]


def test_a_store_that_compares_only_for_new_objects_is_not_relied_on(fault_harness: FaultHarness) -> None:
    def has_if_match(request: Request) -> bool:
        return "if-match" in request.headers

    fault_harness.proxy.inject(faults.refuse(501, "NotImplemented"), where=has_if_match, times=FOREVER)
    assert not fault_harness.store.has_conditional_writes


def test_the_store_is_tested_once_and_before_the_first_conditional_write(fault_harness: FaultHarness) -> None:
    store = fault_harness.store
    store.write_bytes(KEY, b"plain")
    assert fault_harness.proxy.count(contains="probe-") == 0
    store.write_if("a.json", b"one", None)
    store.write_if("b.json", b"one", None)
    assert store.has_conditional_writes
    assert fault_harness.proxy.count(contains="probe-") == 4
    assert fault_harness.bucket.object_keys() == ["a.json", "b.json", KEY]


def test_a_test_object_that_may_not_be_removed_is_no_failure(fault_harness: FaultHarness) -> None:
    fault_harness.proxy.inject(faults.refuse(403, "AccessDenied"), method="DELETE")
    assert fault_harness.store.has_conditional_writes


def test_a_key_that_may_not_write_is_reported_by_the_first_write(fault_harness: FaultHarness) -> None:
    fault_harness.proxy.inject(faults.refuse(403, "AccessDenied"), method="PUT", times=FOREVER)
    with pytest.raises(StorePermissionError):
        fault_harness.store.write_if(KEY, b"one", None)


def test_aws_is_not_tested() -> None:
    sent: list[str] = []

    def refuse(model: object, params: Mapping[str, object], **_: object) -> None:
        sent.append(str(params))
        raise AssertionError(model)

    connection = S3Connection("bucket", "us-east-1", None, "key", "secret")
    connection.client.meta.events.register("before-call.s3", refuse)
    assert S3Store(connection, "", DigestCache()).has_conditional_writes
    assert sent == []
