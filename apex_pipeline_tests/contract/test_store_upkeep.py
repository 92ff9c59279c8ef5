"""The contract of object stores: incomplete uploads, presigned URLs and request statistics.

Reading and writing are tested in ``test_store_contract.py``.
"""

import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from apex_pipeline.errors import ConfigurationError, FileChangedError
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.local import LocalStore
from apex_pipeline_tests.contract.harnesses import CONTENT, LARGE, StoreHarness, local_harness, write_source
from apex_pipeline_tests.servers.presigning import signed_ago

# -- incomplete uploads -----------------------------------------------------------------------------------------------


def test_completed_and_failed_writes_leave_no_incomplete_upload(store: ObjectStore, tmp_path: Path) -> None:
    store.write_bytes("data/x.csv", CONTENT)
    store.write_file("data/large.bin", write_source(tmp_path, LARGE))
    with pytest.raises(FileChangedError):
        store.write_file("data/y.csv", write_source(tmp_path, LARGE), sha256="0" * 64)
    assert store.incomplete_uploads() == []


def test_a_killed_write_is_listed_as_incomplete_and_hidden_from_readers(harness: StoreHarness) -> None:
    before = datetime.now(UTC) - timedelta(seconds=2)
    harness.abandon("data/x.csv")
    (upload,) = harness.store.incomplete_uploads()
    assert upload.key in {None, "data/x.csv"}
    assert before <= upload.started_utc <= datetime.now(UTC) + timedelta(seconds=2)
    assert upload.size in {None, len(CONTENT)}
    assert harness.store.head("data/x.csv") is None
    assert list(harness.store.list()) == []


def test_aborting_an_upload_twice_is_harmless_and_keeps_other_objects(harness: StoreHarness) -> None:
    harness.store.write_bytes("data/x.csv", CONTENT)
    harness.abandon("data/x.csv")
    (upload,) = harness.store.incomplete_uploads()
    harness.store.abort(upload)
    harness.store.abort(upload)
    assert harness.store.incomplete_uploads() == []
    assert harness.visible() == ["data/x.csv"]
    assert harness.store.read_bytes("data/x.csv") == CONTENT


def test_an_object_can_be_written_during_an_incomplete_upload_of_its_key(harness: StoreHarness) -> None:
    harness.abandon("data/x.csv")
    harness.store.write_bytes("data/x.csv", CONTENT)
    assert harness.store.read_bytes("data/x.csv") == CONTENT
    assert len(harness.store.incomplete_uploads()) == 1


def test_a_missing_lake_has_no_incomplete_uploads(tmp_path: Path) -> None:
    assert LocalStore(tmp_path / "none", DigestCache()).incomplete_uploads() == []


# -- presigned URLs and request stats ---------------------------------------------------------------------------------


def _fetch(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=60) as reply:  # noqa: S310  -- the URL of a test server
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, b""


@pytest.mark.req("A-099")
def test_a_presigned_url_grants_access_and_is_created_without_a_request(s3_store: ObjectStore) -> None:
    key = "data/COTA/Race 1/ä.csv"
    s3_store.write_bytes(key, CONTENT)
    before = s3_store.request_stats
    url = s3_store.presigned_url(key, 60)
    assert s3_store.request_stats == before
    assert _fetch(url) == (200, CONTENT)
    assert _fetch(url.replace("X-Amz-Expires=60", "X-Amz-Expires=61"))[0] == 403
    assert _fetch(url.partition("?")[0])[0] == 403


@pytest.mark.req("A-099")
def test_a_presigned_url_expires(s3_store: ObjectStore) -> None:
    s3_store.write_bytes("data/x.csv", CONTENT)
    with signed_ago(timedelta(seconds=58)):
        assert _fetch(s3_store.presigned_url("data/x.csv", 3600)) == (200, CONTENT)
    with signed_ago(timedelta(seconds=62)):  # servers compare whole seconds
        assert _fetch(s3_store.presigned_url("data/x.csv", 60))[0] == 403


@pytest.mark.req("A-099")
def test_a_local_store_has_no_presigned_urls(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no URL to share"):
        local_harness(tmp_path).store.presigned_url("data/x.csv", 60)


@pytest.mark.req("A-099")
@pytest.mark.parametrize("expires_s", [0, -1, 604_801])
def test_presigned_urls_must_expire_within_one_second_to_one_week(unreachable: ObjectStore, expires_s: int) -> None:
    with pytest.raises(ConfigurationError):
        unreachable.presigned_url("data/x.csv", expires_s)


@pytest.mark.req("A-086", "A-087", "A-088")
def test_request_stats_count_requests_and_errors(s3_store: ObjectStore) -> None:
    assert (s3_store.request_stats.requests, s3_store.request_stats.errors) == (0, 0)
    s3_store.write_bytes("data/x.csv", CONTENT)
    written = s3_store.request_stats
    assert written.requests > 0
    assert written.waited_s > 0
    s3_store.head("data/none.csv")
    assert s3_store.request_stats.requests > written.requests
    assert s3_store.request_stats.errors == written.errors + 1


def test_a_local_store_has_no_request_stats(tmp_path: Path) -> None:
    store = local_harness(tmp_path).store
    store.write_bytes("data/x.csv", CONTENT)
    assert store.request_stats.requests == 0
