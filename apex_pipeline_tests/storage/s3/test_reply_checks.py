"""An endpoint that is not an S3 store: web pages, empty replies, redirects in a circle, garbage. Tested over HTTP."""

from collections.abc import Callable
from pathlib import Path

import pytest

from apex_pipeline.errors import (
    ApexError,
    ObjectArchivedError,
    StoreConfigError,
    StoreError,
    StoreUnavailableError,
)
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.s3.client import S3Connection
from apex_pipeline.storage.s3.store import S3Store
from apex_pipeline_tests.servers.canned import answering, refusal
from apex_pipeline_tests.storage.s3.fault_harness import IN_PARTS
from apex_pipeline_tests.storage.s3.harness import write_source

_KEY = "data/x.csv"
_PAGE = "<!DOCTYPE html><html><head><title>Welcome to nginx!</title></head><body>It works</body></html>"
_HTML = {"Content-Type": "text/html", "ETag": "", "Last-Modified": ""}
_BARE = {"Content-Type": "", "ETag": "", "Last-Modified": ""}
_XML = "<?xml version='1.0' encoding='UTF-8'?>"
_BAD_TYPES = (
    "<ListBucketResult><IsTruncated>maybe</IsTruncated>"
    "<Contents><Key>a</Key><Size>1</Size><LastModified>yesterday</LastModified></Contents></ListBucketResult>"
)
_ENDLESS = (
    "<ListBucketResult><IsTruncated>true</IsTruncated>"
    "<NextContinuationToken>a</NextContinuationToken></ListBucketResult>"
)
_Reply = tuple[int, str, dict[str, str]]
_REPLIES: dict[str, _Reply] = {
    "a web page": (200, _PAGE, _HTML),
    "a web page as error": (404, _PAGE, _HTML),
    "a login page": (403, _PAGE, _HTML),
    "a web page that is no XML": (200, f"{_PAGE[:-14]}<br><img src=x></html>", _HTML),
    "an empty reply": (200, "", _BARE),
    "no content": (204, "", _BARE),
    "garbage": (200, "\x00\x01 <<<&&", _BARE),
    "JSON": (200, '{"ok": true}', {**_BARE, "Content-Type": "application/json"}),
    "other XML": (200, f"{_XML}<rss><channel/></rss>", _BARE),
    "an empty error": (400, "", _BARE),
    "a broken error": (400, "<Error><Code>", _BARE),
    "not allowed": (405, _PAGE, _HTML),
    "302": (302, "", _BARE),
    "301": (301, "", _BARE),
    "307": (307, refusal("TemporaryRedirect"), _BARE),
    "permanent redirect": (301, refusal("PermanentRedirect"), _BARE),
    "an error page": (500, _PAGE, _HTML),
}
_OPERATIONS: dict[str, Callable[[S3Store, Path], object]] = {
    "check_access": lambda store, _: store.check_access(),
    "list": lambda store, _: list(store.list()),
    "head": lambda store, _: store.head(_KEY),
    "read_bytes": lambda store, _: store.read_bytes(_KEY),
    "read_with_tag": lambda store, _: store.read_with_tag(_KEY),
    "read_head": lambda store, _: store.read_head(_KEY, 3),
    "open_stream": lambda store, _: store.open_stream(_KEY).__enter__(),
    "open_seekable": lambda store, _: store.open_seekable(_KEY).__enter__(),
    "write_bytes": lambda store, _: store.write_bytes(_KEY, b"1"),
    "write_if": lambda store, _: store.write_if(_KEY, b"1", None),
    "write_file": lambda store, folder: store.write_file(_KEY, write_source(folder, IN_PARTS)),
    "copy": lambda store, _: store.copy(_KEY, "data/y.csv"),
    "incomplete_uploads": lambda store, _: store.incomplete_uploads(),
}


def _store(endpoint: str) -> S3Store:
    connection = S3Connection("bucket", "us-east-1", endpoint, "key", "secret", read_timeout_s=5)
    return S3Store(connection, "", DigestCache(), sleep=lambda _: None)


# Following redirects in a circle takes 0.3 s of processor time per operation; the other two kinds show the same.
_SLOW = {"302", "307"}


@pytest.mark.parametrize(
    "reply", [pytest.param(reply, marks=[pytest.mark.soak] if reply in _SLOW else []) for reply in _REPLIES]
)
def test_a_server_that_is_no_store_is_reported_by_every_operation(
    reply: str, tmp_path: Path, no_pauses: list[float]
) -> None:
    status, body, headers = _REPLIES[reply]
    with answering(status, body, headers) as endpoint:
        store = _store(endpoint)
        for name, run in _OPERATIONS.items():
            with pytest.raises((StoreError, StoreUnavailableError)) as raised:
                run(store, tmp_path)
            assert "S3_ENDPOINT_URL" in raised.value.hint, (name, raised.value)
            assert endpoint in raised.value.problem, name
            assert raised.value.problem.isprintable(), name


@pytest.mark.parametrize(
    "reply", ["a web page", "a web page that is no XML", "an empty reply", "garbage", "other XML", "a login page"]
)
def test_a_listing_that_is_none_is_never_an_empty_lake(reply: str) -> None:
    status, body, headers = _REPLIES[reply]
    no_store = pytest.raises(StoreConfigError, match="does not reply as an S3 store")
    with answering(status, body, headers) as endpoint, no_store:
        list(_store(endpoint).list())


def test_a_deletion_answered_by_a_web_page_did_not_happen() -> None:
    no_store = pytest.raises(StoreConfigError, match="does not reply as an S3 store")
    with answering(200, _PAGE, _HTML) as endpoint, no_store:
        _store(endpoint).delete(_KEY)


@pytest.mark.parametrize(
    "body",
    [
        _BAD_TYPES,
        "<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>",
        "<ListBucketResult><Contents><Key>a</Key><Size>1</Size></Contents></ListBucketResult>",
        _ENDLESS,
    ],
    ids=["wrong types", "no size", "no time", "endless"],
)
def test_a_listing_with_impossible_entries_is_reported(body: str) -> None:
    with answering(200, _XML + body, _BARE) as endpoint, pytest.raises(StoreConfigError, match="S3_ENDPOINT_URL"):
        list(_store(endpoint).list())


@pytest.mark.parametrize(
    "headers",
    [
        {"ETag": ""},
        {"Last-Modified": ""},
        {"Last-Modified": "yesterday"},
        {"Content-Range": "bytes what"},
    ],
    ids=str,
)
def test_a_reply_without_usable_headers_is_reported(headers: dict[str, str]) -> None:
    with answering(200, "content", headers) as endpoint:
        for read in (_OPERATIONS["head"], _OPERATIONS["read_bytes"], _OPERATIONS["read_with_tag"]):
            with pytest.raises(StoreConfigError, match="S3_ENDPOINT_URL"):
                read(_store(endpoint), Path())


@pytest.mark.parametrize("prefix", ["", _XML, f"\ufeff{_XML}\n<!-- a comment -->\n"])
@pytest.mark.parametrize(
    "root", ["ListBucketResult", 'ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"']
)
def test_an_empty_listing_of_a_store_is_accepted(prefix: str, root: str) -> None:
    with answering(200, f"{prefix}<{root}></ListBucketResult>", _BARE) as endpoint:
        assert list(_store(endpoint).list()) == []


def test_an_archived_object_is_reported_with_what_to_do(tmp_path: Path) -> None:
    message = "The operation is not valid for the object's storage class"
    with answering(403, refusal("InvalidObjectState", message), {}) as endpoint:
        for name in ("read_bytes", "read_with_tag", "read_head"):
            with pytest.raises(ObjectArchivedError, match=r"s3://bucket/data/x\.csv.* is archived .*GLACIER") as raised:
                _OPERATIONS[name](_store(endpoint), tmp_path)
            assert raised.value.hint.startswith("Restore it ")
            assert raised.value.is_permanent
            assert "Credentials" not in str(raised.value)


def test_a_real_store_passes_the_checks(store: S3Store, tmp_path: Path) -> None:
    written = store.write_file(_KEY, write_source(tmp_path, IN_PARTS))
    store.copy(_KEY, "data/y.csv", source_info=written)
    refused: dict[str, ApexError] = {}
    for name, run in _OPERATIONS.items():
        try:
            run(store, tmp_path)
        except ApexError as error:  # pragma: no cover
            refused[name] = error
    assert not refused
