"""Tests of writing to a bucket while requests are refused, cut, delayed or damaged on their way, and answers lost.

A fault that goes away is survived. One that stays ends in an error of the right type, with the object as it was before
or as it was to be, and the next write mends all. Nothing is left behind that the store does not tell of.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from apex_pipeline.errors import (
    ApexError,
    StoreAuthError,
    StoreConfigError,
    StoreError,
    StorePermissionError,
    StoreUnavailableError,
)
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.s3.store import S3Store
from apex_pipeline_tests.servers import faults
from apex_pipeline_tests.servers.fault_proxy import FOR_EVER, Fault
from apex_pipeline_tests.storage.s3.fault_harness import (
    CONTENT,
    IN_PARTS,
    KEY,
    LARGE,
    MOST_TRIES,
    TOO_LONG_S,
    FaultHarness,
    Selection,
    carries_checksum,
    is_complete,
    is_copy,
    is_create,
    is_part,
    is_put,
    is_second_part,
)
from apex_pipeline_tests.storage.s3.harness import write_source

pytestmark = pytest.mark.req("A-074", "A-131")

_OLD = b"what was there before"


def _write_small(store: S3Store, folder: Path) -> bytes:
    del folder
    store.write_bytes(KEY, CONTENT)
    return CONTENT


def _write_in_parts(store: S3Store, folder: Path) -> bytes:
    store.write_file(KEY, write_source(folder, IN_PARTS))
    return IN_PARTS


# What is written, and which of its requests meets the fault.
_STEPS: dict[str, tuple[Callable[[S3Store, Path], bytes], Selection]] = {
    "put": (_write_small, is_put),
    "create": (_write_in_parts, is_create),
    "part 2": (_write_in_parts, is_second_part),
    "complete": (_write_in_parts, is_complete),
}
_FAULTS: dict[str, Fault] = {
    "500": faults.INTERNAL_ERROR,
    "503": faults.SLOW_DOWN,
    "reset": faults.reset,
    "lost reply": faults.lose_reply,
    "bit flipped": faults.corrupt_request,
    "200 with error": faults.fail_with_success,
    "truncated": faults.truncate_reply,
}
_CASES = [
    *((step, fault) for step in _STEPS for fault in ("500", "503", "reset", "lost reply")),
    ("put", "bit flipped"),
    ("part 2", "bit flipped"),
    ("complete", "200 with error"),
]


def _discard_what_nobody_knows_of(harness: FaultHarness, step: str, fault: str) -> None:
    """Take uploads back whose beginning was never heard of; anything else that is left fails the test."""
    if (step, fault) == ("create", "lost reply"):
        for write in harness.store.incomplete_uploads():
            harness.store.abort(write)
    assert harness.bucket.uploads() == []


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize(("step", "fault"), _CASES)
def test_a_fault_that_goes_away_is_survived(
    fault_harness: FaultHarness, tmp_path: Path, step: str, fault: str, times: int
) -> None:
    write, is_meant = _STEPS[step]
    rule = fault_harness.proxy.inject(_FAULTS[fault], where=is_meant, times=times)
    expected = write(fault_harness.store, tmp_path)
    assert rule.hits == times
    assert fault_harness.content() == expected
    _discard_what_nobody_knows_of(fault_harness, step, fault)


@pytest.mark.parametrize(("step", "fault"), _CASES)
def test_a_fault_that_stays_is_an_error_and_the_next_write_mends_all(
    fault_harness: FaultHarness, tmp_path: Path, step: str, fault: str
) -> None:
    write, is_meant = _STEPS[step]
    fault_harness.store.write_bytes(KEY, _OLD)
    rule = fault_harness.proxy.inject(_FAULTS[fault], where=is_meant, times=FOR_EVER)
    with pytest.raises(StoreUnavailableError):
        write(fault_harness.store, tmp_path)
    assert rule.hits <= MOST_TRIES
    fault_harness.proxy.heal()
    assert fault_harness.content() in ([_OLD] if fault != "lost reply" else [_OLD, CONTENT, IN_PARTS])
    told = sorted((str(unfinished.key), unfinished.mark) for unfinished in fault_harness.store.incomplete_uploads())
    assert told == fault_harness.bucket.uploads()
    expected = write(fault_harness.store, tmp_path)
    assert fault_harness.content() == expected
    _discard_what_nobody_knows_of(fault_harness, step, fault)


@pytest.mark.parametrize("is_meant", [is_create, is_second_part, is_complete])
def test_only_the_request_that_failed_is_sent_again(
    fault_harness: FaultHarness, tmp_path: Path, is_meant: Selection
) -> None:
    fault_harness.proxy.inject(faults.SLOW_DOWN, where=is_meant, times=2)
    fault_harness.store.write_file(KEY, write_source(tmp_path, LARGE))
    sent = [fault_harness.proxy.count(where=selection) for selection in (is_put, is_create, is_part, is_complete)]
    assert sum(sent) == sum([0, 1, 3, 1]) + 2
    assert fault_harness.proxy.count(where=is_meant) == 3
    assert fault_harness.content() == LARGE


@pytest.mark.parametrize("step", ["put", "part 2"])
def test_a_damaged_request_is_sent_once_more(fault_harness: FaultHarness, tmp_path: Path, step: str) -> None:
    write, is_meant = _STEPS[step]
    fault_harness.proxy.inject(faults.corrupt_request, where=is_meant)
    write(fault_harness.store, tmp_path)
    assert fault_harness.proxy.count(where=is_meant) == 2


@pytest.mark.parametrize("times", [1, 3])
def test_a_damaged_completion_never_makes_a_wrong_object(
    fault_harness: FaultHarness, tmp_path: Path, times: int
) -> None:
    fault_harness.store.write_bytes(KEY, _OLD)
    fault_harness.proxy.inject(faults.corrupt_request, where=is_complete, times=times)
    try:
        _write_in_parts(fault_harness.store, tmp_path)
    except ApexError:
        assert fault_harness.content() == _OLD
    else:
        assert fault_harness.content() == IN_PARTS


@pytest.mark.parametrize("step", _STEPS)
def test_an_answer_that_comes_too_late_is_not_waited_for(
    fault_harness: FaultHarness, tmp_path: Path, step: str
) -> None:
    write, is_meant = _STEPS[step]
    rule = fault_harness.proxy.inject(faults.delay_reply(TOO_LONG_S), where=is_meant)
    expected = write(fault_harness.impatient_store, tmp_path)
    assert rule.hits == 1
    assert fault_harness.content() == expected
    _discard_what_nobody_knows_of(fault_harness, step, "lost reply")


def test_answers_that_always_come_too_late_are_given_up(fault_harness: FaultHarness) -> None:
    rule = fault_harness.proxy.inject(faults.delay_reply(TOO_LONG_S), where=is_put, times=FOR_EVER)
    with pytest.raises(StoreUnavailableError):
        fault_harness.impatient_store.write_bytes(KEY, CONTENT)
    assert rule.hits <= MOST_TRIES


def test_an_upload_that_was_given_up_is_gone_on_with_where_it_stopped(
    fault_harness: FaultHarness, tmp_path: Path
) -> None:
    source = write_source(tmp_path, LARGE)
    fault_harness.proxy.inject(faults.SLOW_DOWN, where=is_second_part, times=FOR_EVER)
    with pytest.raises(StoreUnavailableError):
        fault_harness.store.write_file(KEY, source)
    assert len(fault_harness.bucket.uploads()) == 1
    fault_harness.proxy.heal()
    sent_before = [fault_harness.proxy.count(where=selection) for selection in (is_create, is_second_part, is_part)]
    fault_harness.store.write_file(KEY, source)
    sent = [fault_harness.proxy.count(where=selection) for selection in (is_create, is_second_part, is_part)]
    # The third part may have been given up before it was sent.
    assert sent[:2] == [sent_before[0], sent_before[1] + 1]
    assert sent[2] <= sent_before[2] + 2
    assert fault_harness.content() == LARGE
    assert fault_harness.bucket.uploads() == []


@pytest.mark.parametrize(
    ("step", "status", "code", "error"),
    [
        ("put", 403, "AccessDenied", StorePermissionError),
        ("put", 403, "SignatureDoesNotMatch", StoreAuthError),
        ("put", 404, "NoSuchBucket", StoreConfigError),
        ("put", 400, "EntityTooLarge", StoreError),
        ("part 2", 403, "AccessDenied", StorePermissionError),
        ("part 2", 400, "InvalidRequest", StoreError),
    ],
)
def test_what_another_try_cannot_mend_is_not_tried_again_and_leaves_nothing(
    fault_harness: FaultHarness, tmp_path: Path, step: str, status: int, code: str, error: type[ApexError]
) -> None:
    write, is_meant = _STEPS[step]
    fault_harness.store.write_bytes(KEY, _OLD)
    sent_before = fault_harness.proxy.count(where=is_meant)
    fault_harness.proxy.inject(faults.refuse(status, code), where=is_meant, times=FOR_EVER)
    with pytest.raises(error, match=code) as raised:
        write(fault_harness.store, tmp_path)
    assert type(raised.value) is error
    assert fault_harness.proxy.count(where=is_meant) == sent_before + 1
    assert fault_harness.content() == _OLD
    assert fault_harness.bucket.uploads() == []


@pytest.mark.parametrize("step", ["create", "complete"])
def test_no_upload_stays_behind_that_may_not_be_made(fault_harness: FaultHarness, tmp_path: Path, step: str) -> None:
    write, is_meant = _STEPS[step]
    rule = fault_harness.proxy.inject(faults.refuse(403, "AccessDenied"), where=is_meant, times=FOR_EVER)
    with pytest.raises(StorePermissionError):
        write(fault_harness.store, tmp_path)
    assert rule.hits == 1
    assert fault_harness.bucket.uploads() == fault_harness.bucket.object_keys() == []


@pytest.mark.parametrize(
    "refusal",
    [faults.MISSING_LENGTH, faults.NOT_IMPLEMENTED, faults.MISSING_MD5],
    ids=["411", "NotImplemented", "MissingContentMD5"],
)
@pytest.mark.parametrize("first", [_write_small, _write_in_parts], ids=["small first", "in parts first"])
def test_a_store_that_refuses_checksums_is_asked_for_them_once_and_gets_content_md5(
    fault_harness: FaultHarness, tmp_path: Path, refusal: Fault, first: Callable[[S3Store, Path], bytes]
) -> None:
    rule = fault_harness.proxy.inject(refusal, where=carries_checksum, times=FOR_EVER)
    for write in (first, _write_small, _write_in_parts):
        expected = write(fault_harness.store, tmp_path)
        assert fault_harness.content() == expected
    assert rule.hits == 1
    sent = [request for request in fault_harness.proxy.requests if is_put(request) or is_part(request)]
    assert all("content-md5" in request.headers for request in sent if not carries_checksum(request))


@pytest.mark.parametrize("write", [_write_small, _write_in_parts], ids=["small", "in parts"])
def test_a_store_without_checksums_still_notices_a_flipped_bit(
    fault_harness: FaultHarness, tmp_path: Path, write: Callable[[S3Store, Path], bytes]
) -> None:
    fault_harness.proxy.inject(faults.NOT_IMPLEMENTED, where=carries_checksum, times=FOR_EVER)
    fault_harness.store.write_bytes("data/first.csv", b"")
    rule = fault_harness.proxy.inject(faults.corrupt_request, where=lambda request: request.method == "PUT")
    assert write(fault_harness.store, tmp_path) == fault_harness.content()
    assert rule.hits == 1


def test_a_store_that_refuses_everything_is_said_so_at_once(fault_harness: FaultHarness) -> None:
    rule = fault_harness.proxy.inject(faults.NOT_IMPLEMENTED, where=is_put, times=FOR_EVER)
    with pytest.raises(StoreConfigError, match="does not support"):
        fault_harness.store.write_bytes(KEY, CONTENT)
    assert rule.hits <= 2


# -- requests beside the content ------------------------------------------------------------------------------------


def _list(store: ObjectStore) -> object:
    return [(stored.key, stored.size) for stored in store.list()]


def _look_up(store: ObjectStore) -> object:
    found = store.head(KEY)
    return None if found is None else (found.key, found.size)


def _copy(store: ObjectStore) -> object:
    return store.copy(KEY, "history/x.csv").size


def _delete(store: ObjectStore) -> object:
    return store.delete(KEY)


_OTHERS: dict[str, tuple[Callable[[ObjectStore], object], Selection, object]] = {
    "list": (_list, lambda request: "list-type=2" in request.query, [(KEY, len(_OLD))]),
    "look up": (_look_up, lambda request: request.method == "HEAD", (KEY, len(_OLD))),
    "copy": (_copy, is_copy, len(_OLD)),
    "delete": (_delete, lambda request: request.method == "DELETE", None),
    "unfinished": (lambda store: store.incomplete_uploads(), lambda request: "uploads" in request.query, []),
}
_OTHER_CASES = [
    *((operation, fault) for operation in _OTHERS for fault in ("503", "reset", "lost reply")),
    ("copy", "200 with error"),
    ("list", "truncated"),
]


@pytest.mark.parametrize(("operation", "fault"), _OTHER_CASES)
def test_other_requests_survive_faults_that_go_away(fault_harness: FaultHarness, operation: str, fault: str) -> None:
    run, is_meant, expected = _OTHERS[operation]
    fault_harness.store.write_bytes(KEY, _OLD)
    rule = fault_harness.proxy.inject(_FAULTS[fault], where=is_meant, times=3)
    assert run(fault_harness.store) == expected
    assert rule.hits == 3


@pytest.mark.parametrize(("operation", "fault"), _OTHER_CASES)
def test_other_requests_end_in_an_error_where_a_fault_stays(
    fault_harness: FaultHarness, operation: str, fault: str
) -> None:
    run, is_meant, expected = _OTHERS[operation]
    fault_harness.store.write_bytes(KEY, _OLD)
    fault_harness.proxy.inject(_FAULTS[fault], where=is_meant, times=FOR_EVER)
    with pytest.raises(StoreUnavailableError):
        run(fault_harness.store)
    fault_harness.proxy.heal()
    assert run(fault_harness.store) == expected
