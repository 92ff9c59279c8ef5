"""The contract of object stores: copies within the store, on a local folder, a real S3 server and an old S3 server."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from apex_pipeline.errors import FileChangedError, ObjectMissingError, StoreCorruptionError
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.local import LocalStore
from apex_pipeline_tests.contract.harnesses import CONTENT, LARGE, StoreHarness, write_source

_SOURCE = "objects/x.parquet"
_TARGET = "tables/x.parquet"


@pytest.mark.parametrize("content", [CONTENT, b"", LARGE], ids=["small", "empty", "large"])
@pytest.mark.parametrize("is_described", [True, False])
def test_a_copy_is_described_as_a_lookup_would(
    store: ObjectStore, tmp_path: Path, content: bytes, *, is_described: bool
) -> None:
    source = store.write_file(_SOURCE, write_source(tmp_path, content))
    store.write_bytes(_TARGET, b"old")
    copied = store.copy(_SOURCE, _TARGET, source_info=source if is_described else None)
    found = store.head(_TARGET)
    assert found is not None
    assert (copied.key, copied.size, copied.tag, copied.sha256) == (found.key, found.size, found.tag, found.sha256)
    assert copied.sha256 == hashlib.sha256(content).hexdigest()
    assert abs(copied.modified_utc - found.modified_utc).total_seconds() < 5
    assert store.read_bytes(_TARGET) == store.read_bytes(_SOURCE) == content


def test_a_described_object_is_copied_in_one_request(store: ObjectStore) -> None:
    source = store.write_bytes(_SOURCE, CONTENT)
    for source_info, most in ((source, 1), (None, 2)):
        before = store.request_stats.requests
        store.copy(_SOURCE, _TARGET, source_info=source_info)
        assert store.request_stats.requests - before <= most


def test_a_copy_of_another_version_than_described_is_refused(store: ObjectStore) -> None:
    first = store.write_bytes(_SOURCE, b"first")
    store.write_bytes(_SOURCE, CONTENT)
    store.write_bytes(_TARGET, b"old")
    with pytest.raises(FileChangedError):
        store.copy(_SOURCE, _TARGET, source_info=first)
    assert store.read_bytes(_TARGET) == b"old"


def test_a_described_object_that_is_gone_is_named(store: ObjectStore) -> None:
    first = store.write_bytes(_SOURCE, b"first")
    store.delete(_SOURCE)
    with pytest.raises(ObjectMissingError, match=r"objects/x\.parquet"):
        store.copy(_SOURCE, _TARGET, source_info=first)
    assert store.head(_TARGET) is None


def test_a_copy_never_hides_damage(harness: StoreHarness) -> None:
    store = harness.store
    described = store.write_bytes(_SOURCE, CONTENT)
    store.write_bytes(_TARGET, b"old")
    harness.damage(_SOURCE)
    found = store.head(_SOURCE)
    assert found is not None
    info = replace(described, tag=found.tag)
    if isinstance(store, LocalStore):
        for source_info in (info, None):
            with pytest.raises(StoreCorruptionError, match=r"objects/x\.parquet is damaged"):
                store.copy(_SOURCE, _TARGET, source_info=source_info)
            assert store.read_bytes(_TARGET) == b"old"
    else:  # copied on the server, with the digest of what was written
        store.copy(_SOURCE, _TARGET, source_info=info)
        with pytest.raises(StoreCorruptionError, match=r"tables/x\.parquet is damaged"):
            store.read_bytes(_TARGET)


def test_an_object_is_copied_onto_itself(store: ObjectStore) -> None:
    if not isinstance(store, LocalStore):
        pytest.skip("S3 refuses to copy an object onto itself without a change")
    source = store.write_bytes(_SOURCE, CONTENT)
    assert store.copy(_SOURCE, _SOURCE).sha256 == source.sha256
    assert store.read_bytes(_SOURCE) == CONTENT
