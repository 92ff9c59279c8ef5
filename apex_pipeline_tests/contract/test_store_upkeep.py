"""What every object store tells about itself: writes begun and not finished, addresses to share, traffic.

Here belong the promises beside reading and writing, which are in ``test_store_contract.py``.
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

# -- unfinished writes ------------------------------------------------------------------------------------------------


def test_what_was_finished_is_not_unfinished(store: ObjectStore, tmp_path: Path) -> None:
    store.write_bytes("data/x.csv", CONTENT)
    store.write_file("data/large.bin", write_source(tmp_path, LARGE))
    with pytest.raises(FileChangedError):
        store.write_file("data/y.csv", write_source(tmp_path, LARGE), sha256="0" * 64)
    assert store.incomplete_uploads() == []


def test_a_write_that_was_killed_is_told_and_seen_by_no_reader(harness: StoreHarness) -> None:
    before = datetime.now(UTC) - timedelta(seconds=2)
    harness.abandon("data/x.csv")
    (unfinished,) = harness.store.incomplete_uploads()
    assert unfinished.key in {None, "data/x.csv"}
    assert before <= unfinished.started_utc <= datetime.now(UTC) + timedelta(seconds=2)
    assert unfinished.size in {None, len(CONTENT)}
    assert harness.store.head("data/x.csv") is None
    assert list(harness.store.list()) == []


def test_an_unfinished_write_is_taken_back_alone_and_again_is_no_error(harness: StoreHarness) -> None:
    harness.store.write_bytes("data/x.csv", CONTENT)
    harness.abandon("data/x.csv")
    (unfinished,) = harness.store.incomplete_uploads()
    harness.store.abort(unfinished)
    harness.store.abort(unfinished)
    assert harness.store.incomplete_uploads() == []
    assert harness.visible() == ["data/x.csv"]
    assert harness.store.read_bytes("data/x.csv") == CONTENT


def test_an_object_can_be_written_while_another_write_of_it_is_unfinished(harness: StoreHarness) -> None:
    harness.abandon("data/x.csv")
    harness.store.write_bytes("data/x.csv", CONTENT)
    assert harness.store.read_bytes("data/x.csv") == CONTENT
    assert len(harness.store.incomplete_uploads()) == 1


def test_no_unfinished_write_means_none_where_there_is_no_lake(tmp_path: Path) -> None:
    assert LocalStore(tmp_path / "none", DigestCache()).incomplete_uploads() == []


# -- shared addresses and traffic -------------------------------------------------------------------------------------


def _fetch(address: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(address, timeout=60) as reply:  # noqa: S310  -- the address is the test server's
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, b""


@pytest.mark.req("A-099")
def test_a_shared_address_gives_the_object_to_anybody_and_making_it_sends_nothing(store_in_bucket: ObjectStore) -> None:
    key = "data/COTA/Race 1/ä.csv"
    store_in_bucket.write_bytes(key, CONTENT)
    before = store_in_bucket.traffic
    address = store_in_bucket.presigned_url(key, 60)
    assert store_in_bucket.traffic == before
    assert _fetch(address) == (200, CONTENT)
    assert _fetch(address.replace("X-Amz-Expires=60", "X-Amz-Expires=61"))[0] == 403
    assert _fetch(address.partition("?")[0])[0] == 403


@pytest.mark.req("A-099")
def test_a_shared_address_expires(store_in_bucket: ObjectStore) -> None:
    store_in_bucket.write_bytes("data/x.csv", CONTENT)
    with signed_ago(timedelta(seconds=58)):
        assert _fetch(store_in_bucket.presigned_url("data/x.csv", 3600)) == (200, CONTENT)
    with signed_ago(timedelta(seconds=62)):  # servers count in whole seconds
        assert _fetch(store_in_bucket.presigned_url("data/x.csv", 60))[0] == 403


@pytest.mark.req("A-099")
def test_a_file_has_no_address_to_share(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no address to share"):
        local_harness(tmp_path).store.presigned_url("data/x.csv", 60)


@pytest.mark.req("A-099")
@pytest.mark.parametrize("expires_s", [0, -1, 604_801])
def test_an_address_is_shared_for_a_second_to_a_week(untouched: ObjectStore, expires_s: int) -> None:
    with pytest.raises(ConfigurationError):
        untouched.presigned_url("data/x.csv", expires_s)


@pytest.mark.req("A-086", "A-087", "A-088")
def test_traffic_counts_what_is_asked_of_a_bucket(store_in_bucket: ObjectStore) -> None:
    assert (store_in_bucket.traffic.requests, store_in_bucket.traffic.errors) == (0, 0)
    store_in_bucket.write_bytes("data/x.csv", CONTENT)
    written = store_in_bucket.traffic
    assert written.requests > 0
    assert written.waited_s > 0
    store_in_bucket.head("data/none.csv")
    assert store_in_bucket.traffic.requests > written.requests
    assert store_in_bucket.traffic.errors == written.errors + 1


def test_a_folder_has_no_traffic(tmp_path: Path) -> None:
    store = local_harness(tmp_path).store
    store.write_bytes("data/x.csv", CONTENT)
    assert store.traffic.requests == 0
