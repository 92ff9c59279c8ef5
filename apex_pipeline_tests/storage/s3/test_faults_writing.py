"""Writes to a bucket while requests are refused, cut off, delayed or damaged in transit, or their replies lost.

A temporary fault is survived. A permanent one raises an error of the right type and leaves either the old object or the
new one, and the next write succeeds. All uploads left behind are reported by ``incomplete_uploads``.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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
from apex_pipeline_tests.servers.fault_proxy import FOREVER, Fault, Request
from apex_pipeline_tests.storage.s3.fault_harness import (
    CONTENT,
    IN_PARTS,
    KEY,
    LARGE,
    MAX_ATTEMPTS,
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

_OLD = b"the old content"


def _write_small(store: S3Store, folder: Path) -> bytes:
    del folder
    store.write_bytes(KEY, CONTENT)
    return CONTENT


def _write_in_parts(store: S3Store, folder: Path) -> bytes:
    store.write_file(KEY, write_source(folder, IN_PARTS))
    return IN_PARTS


# The write, and which of its requests gets the fault.
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


def _abort_unknown_uploads(harness: FaultHarness, step: str, fault: str) -> None:
    """Abort uploads whose ID was lost with the reply; any other incomplete upload fails the test."""
    if (step, fault) == ("create", "lost reply"):
        for upload in harness.store.incomplete_uploads():
            harness.store.abort(upload)
    assert harness.bucket.uploads() == []


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize(("step", "fault"), _CASES)
def test_a_temporary_fault_is_survived(
    fault_harness: FaultHarness, tmp_path: Path, step: str, fault: str, times: int
) -> None:
    write, matches = _STEPS[step]
    rule = fault_harness.proxy.inject(_FAULTS[fault], where=matches, times=times)
    expected = write(fault_harness.store, tmp_path)
    assert rule.hits == times
    assert fault_harness.content() == expected
    _abort_unknown_uploads(fault_harness, step, fault)


@pytest.mark.parametrize(("step", "fault"), _CASES)
def test_a_permanent_fault_raises_an_error_and_the_next_write_succeeds(
    fault_harness: FaultHarness, tmp_path: Path, step: str, fault: str
) -> None:
    write, matches = _STEPS[step]
    fault_harness.store.write_bytes(KEY, _OLD)
    rule = fault_harness.proxy.inject(_FAULTS[fault], where=matches, times=FOREVER)
    with pytest.raises(StoreUnavailableError):
        write(fault_harness.store, tmp_path)
    assert rule.hits <= MAX_ATTEMPTS
    fault_harness.proxy.heal()
    assert fault_harness.content() in ([_OLD] if fault != "lost reply" else [_OLD, CONTENT, IN_PARTS])
    listed = sorted((str(upload.key), upload.mark) for upload in fault_harness.store.incomplete_uploads())
    assert listed == fault_harness.bucket.uploads()
    expected = write(fault_harness.store, tmp_path)
    assert fault_harness.content() == expected
    _abort_unknown_uploads(fault_harness, step, fault)


@pytest.mark.parametrize("matches", [is_create, is_second_part, is_complete])
def test_only_the_failed_request_is_repeated(fault_harness: FaultHarness, tmp_path: Path, matches: Selection) -> None:
    fault_harness.proxy.inject(faults.SLOW_DOWN, where=matches, times=2)
    fault_harness.store.write_file(KEY, write_source(tmp_path, LARGE))
    sent = [fault_harness.proxy.count(where=selection) for selection in (is_put, is_create, is_part, is_complete)]
    assert sum(sent) == sum([0, 1, 3, 1]) + 2
    assert fault_harness.proxy.count(where=matches) == 3
    assert fault_harness.content() == LARGE


@pytest.mark.parametrize("step", ["put", "part 2"])
def test_a_damaged_request_is_repeated_once(fault_harness: FaultHarness, tmp_path: Path, step: str) -> None:
    write, matches = _STEPS[step]
    fault_harness.proxy.inject(faults.corrupt_request, where=matches)
    write(fault_harness.store, tmp_path)
    assert fault_harness.proxy.count(where=matches) == 2


@pytest.mark.parametrize("times", [1, 3])
def test_a_damaged_complete_request_never_creates_a_wrong_object(
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
def test_a_write_is_repeated_after_a_timeout(fault_harness: FaultHarness, tmp_path: Path, step: str) -> None:
    write, matches = _STEPS[step]
    rule = fault_harness.proxy.inject(faults.delay_reply(TOO_LONG_S), where=matches)
    expected = write(fault_harness.impatient_store, tmp_path)
    assert rule.hits == 1
    assert fault_harness.content() == expected
    _abort_unknown_uploads(fault_harness, step, "lost reply")


def test_repeated_timeouts_raise_an_error(fault_harness: FaultHarness) -> None:
    rule = fault_harness.proxy.inject(faults.delay_reply(TOO_LONG_S), where=is_put, times=FOREVER)
    with pytest.raises(StoreUnavailableError):
        fault_harness.impatient_store.write_bytes(KEY, CONTENT)
    assert rule.hits <= MAX_ATTEMPTS


def test_a_failed_upload_is_resumed_where_it_stopped(fault_harness: FaultHarness, tmp_path: Path) -> None:
    source = write_source(tmp_path, LARGE)
    fault_harness.proxy.inject(faults.SLOW_DOWN, where=is_second_part, times=FOREVER)
    with pytest.raises(StoreUnavailableError):
        fault_harness.store.write_file(KEY, source)
    assert len(fault_harness.bucket.uploads()) == 1
    fault_harness.proxy.heal()
    sent_before = [fault_harness.proxy.count(where=selection) for selection in (is_create, is_second_part, is_part)]
    fault_harness.store.write_file(KEY, source)
    sent = [fault_harness.proxy.count(where=selection) for selection in (is_create, is_second_part, is_part)]
    # The third part may not have been sent before the upload failed.
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
def test_permanent_errors_are_not_retried_and_leave_nothing_behind(
    fault_harness: FaultHarness, tmp_path: Path, step: str, status: int, code: str, error: type[ApexError]
) -> None:
    write, matches = _STEPS[step]
    fault_harness.store.write_bytes(KEY, _OLD)
    sent_before = fault_harness.proxy.count(where=matches)
    fault_harness.proxy.inject(faults.refuse(status, code), where=matches, times=FOREVER)
    with pytest.raises(error, match=code) as raised:
        write(fault_harness.store, tmp_path)
    assert type(raised.value) is error
    assert fault_harness.proxy.count(where=matches) == sent_before + 1
    assert fault_harness.content() == _OLD
    assert fault_harness.bucket.uploads() == []


@pytest.mark.parametrize("step", ["create", "complete"])
def test_a_forbidden_upload_leaves_nothing_behind(fault_harness: FaultHarness, tmp_path: Path, step: str) -> None:
    write, matches = _STEPS[step]
    rule = fault_harness.proxy.inject(faults.refuse(403, "AccessDenied"), where=matches, times=FOREVER)
    with pytest.raises(StorePermissionError):
        write(fault_harness.store, tmp_path)
    assert rule.hits <= 2  # a refusal of a request with a checksum may be one of the checksum
    assert fault_harness.bucket.uploads() == fault_harness.bucket.object_keys() == []


@pytest.mark.parametrize(
    "refusal",
    [faults.MISSING_LENGTH, faults.NOT_IMPLEMENTED, faults.MISSING_MD5, faults.UNSUPPORTED_HEADER],
    ids=["411", "NotImplemented", "MissingContentMD5", "InvalidArgument"],
)
@pytest.mark.parametrize("first", [_write_small, _write_in_parts], ids=["small first", "in parts first"])
def test_a_store_that_refuses_crc32_once_gets_content_md5_from_then_on(
    fault_harness: FaultHarness, tmp_path: Path, refusal: Fault, first: Callable[[S3Store, Path], bytes]
) -> None:
    rule = fault_harness.proxy.inject(refusal, where=carries_checksum, times=FOREVER)
    for write in (first, _write_small, _write_in_parts):
        expected = write(fault_harness.store, tmp_path)
        assert fault_harness.content() == expected
    assert rule.hits == 1
    sent = [request for request in fault_harness.proxy.requests if is_put(request) or is_part(request)]
    assert all("content-md5" in request.headers for request in sent if not carries_checksum(request))


@pytest.mark.parametrize(
    "code", ["InvalidPart", "InvalidRequest", "InvalidArgument", "MalformedXML", "BadDigest", "NotImplemented"]
)
def test_a_store_that_refuses_to_complete_with_crc32_gets_the_file_again_with_content_md5(
    fault_harness: FaultHarness, tmp_path: Path, code: str
) -> None:
    def is_complete_with_crc32(request: Request) -> bool:
        return is_complete(request) and "x-amz-checksum-type" in request.headers

    fault_harness.proxy.inject(faults.refuse(400, code), where=is_complete_with_crc32, times=FOREVER)
    for write in (_write_in_parts, _write_small, _write_in_parts):
        expected = write(fault_harness.store, tmp_path)
        assert fault_harness.content() == expected
    assert fault_harness.bucket.uploads() == []
    # Only the first file was sent twice.
    assert fault_harness.proxy.count(where=is_create) == 3


def test_an_upload_that_another_process_started_with_crc32_is_completed_too(
    fault_harness: FaultHarness, tmp_path: Path
) -> None:
    fault_harness.proxy.inject(faults.SLOW_DOWN, where=is_complete, times=FOREVER)
    with pytest.raises(StoreUnavailableError):
        _write_in_parts(fault_harness.store, tmp_path)
    fault_harness.proxy.heal()
    fault_harness.proxy.inject(faults.refuse(400, "InvalidPart"), where=is_complete)
    fault_harness.proxy.inject(faults.NOT_IMPLEMENTED, where=carries_checksum, times=FOREVER)
    later = fault_harness.store_with_timeout(60)
    later.write_bytes("data/first.csv", b"finds out that the store refuses CRC32")
    assert _write_in_parts(later, tmp_path) == fault_harness.content()
    assert fault_harness.bucket.uploads() == []


def test_files_sent_at_once_all_arrive_in_a_store_that_refuses_crc32(fault_harness: FaultHarness) -> None:
    fault_harness.proxy.inject(faults.UNSUPPORTED_HEADER, where=carries_checksum, times=FOREVER)
    keys = [f"data/{number}.csv" for number in range(16)]
    with ThreadPoolExecutor(16) as executor:
        list(executor.map(lambda key: fault_harness.store.write_bytes(key, key.encode()), keys))
    assert [fault_harness.content(key) for key in keys] == [key.encode() for key in keys]


def test_a_refusal_for_another_reason_is_not_taken_for_one_of_the_checksum(fault_harness: FaultHarness) -> None:
    rule = fault_harness.proxy.inject(faults.refuse(400, "InvalidArgument"), where=is_put, times=FOREVER)
    with pytest.raises(StoreError, match="InvalidArgument"):
        fault_harness.store.write_bytes(KEY, CONTENT)
    assert rule.hits == 2  # with CRC32, then without
    fault_harness.proxy.heal()
    fault_harness.store.write_bytes(KEY, CONTENT)
    assert carries_checksum([request for request in fault_harness.proxy.requests if is_put(request)][-1])


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "InvalidArgument"),
        (400, "InvalidDigestAlgorithm"),
        (400, "XAmzUnknownHeader"),
        (403, "SignatureDoesNotMatch"),
        (403, "AccessDenied"),
        (405, "MethodNotAllowed"),
        (415, "UnsupportedMediaType"),
        (417, "ExpectationFailed"),
        (422, "UnprocessableEntity"),
        (431, "RequestHeaderSectionTooLarge"),
        (499, ""),
    ],
)
def test_any_refusal_that_goes_away_without_crc32_is_one_of_the_checksum(
    fault_harness: FaultHarness, status: int, code: str
) -> None:
    rule = fault_harness.proxy.inject(faults.refuse(status, code), where=carries_checksum, times=FOREVER)
    for content in (b"first", b"second", b"third"):
        fault_harness.store.write_bytes(KEY, content)
        assert fault_harness.content() == content
    assert rule.hits == 1


def test_after_a_confirmed_crc32_no_refusal_is_one_of_the_checksum(fault_harness: FaultHarness) -> None:
    fault_harness.store.write_bytes(KEY, b"confirmed")
    rule = fault_harness.proxy.inject(faults.refuse(400, "InvalidArgument"), where=is_put, times=FOREVER)
    with pytest.raises(StoreError, match="InvalidArgument"):
        fault_harness.store.write_bytes(KEY, CONTENT)
    assert rule.hits == 1


def test_a_failed_condition_is_never_one_of_the_checksum(fault_harness: FaultHarness) -> None:
    rule = fault_harness.proxy.inject(faults.refuse(412, "PreconditionFailed"), where=is_put, times=FOREVER)
    with pytest.raises(ApexError):
        fault_harness.store.write_bytes(KEY, CONTENT)
    assert rule.hits == 1


@pytest.mark.parametrize("write", [_write_small, _write_in_parts], ids=["small", "in parts"])
def test_a_store_without_crc32_still_detects_a_flipped_bit(
    fault_harness: FaultHarness, tmp_path: Path, write: Callable[[S3Store, Path], bytes]
) -> None:
    fault_harness.proxy.inject(faults.NOT_IMPLEMENTED, where=carries_checksum, times=FOREVER)
    fault_harness.store.write_bytes("data/first.csv", b"")
    rule = fault_harness.proxy.inject(faults.corrupt_request, where=lambda request: request.method == "PUT")
    assert write(fault_harness.store, tmp_path) == fault_harness.content()
    assert rule.hits == 1


def test_a_store_that_refuses_every_checksum_is_reported_at_once(fault_harness: FaultHarness) -> None:
    rule = fault_harness.proxy.inject(faults.NOT_IMPLEMENTED, where=is_put, times=FOREVER)
    with pytest.raises(StoreConfigError, match="does not support"):
        fault_harness.store.write_bytes(KEY, CONTENT)
    assert rule.hits <= 2


# -- other requests -------------------------------------------------------------------------------------------------


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
    "incomplete": (lambda store: store.incomplete_uploads(), lambda request: "uploads" in request.query, []),
}
_OTHER_CASES = [
    *((operation, fault) for operation in _OTHERS for fault in ("503", "reset", "lost reply")),
    ("copy", "200 with error"),
    ("list", "truncated"),
]


@pytest.mark.parametrize(("operation", "fault"), _OTHER_CASES)
def test_other_requests_survive_temporary_faults(fault_harness: FaultHarness, operation: str, fault: str) -> None:
    run, matches, expected = _OTHERS[operation]
    fault_harness.store.write_bytes(KEY, _OLD)
    rule = fault_harness.proxy.inject(_FAULTS[fault], where=matches, times=3)
    assert run(fault_harness.store) == expected
    assert rule.hits == 3


@pytest.mark.parametrize(("operation", "fault"), _OTHER_CASES)
def test_other_requests_raise_an_error_on_permanent_faults(
    fault_harness: FaultHarness, operation: str, fault: str
) -> None:
    run, matches, expected = _OTHERS[operation]
    fault_harness.store.write_bytes(KEY, _OLD)
    fault_harness.proxy.inject(_FAULTS[fault], where=matches, times=FOREVER)
    with pytest.raises(StoreUnavailableError):
        run(fault_harness.store)
    fault_harness.proxy.heal()
    assert run(fault_harness.store) == expected
