"""Runs the contract suite of object stores on a bucket that is read through a cache."""

from pathlib import Path

import pytest

from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.caching import CachedStore
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.disk_cache import DiskCache
from apex_pipeline.storage.s3.client import S3Connection
from apex_pipeline.storage.s3.store import S3Store
from apex_pipeline_tests.contract import test_conditional_writes, test_store_contract, test_store_copy
from apex_pipeline_tests.contract.harnesses import StoreHarness
from apex_pipeline_tests.servers.seaweed import S3Bucket
from apex_pipeline_tests.storage.s3.harness import connect, store_of

# Run the tests of these suites unchanged, with the fixtures below.
for _suite in (test_store_contract, test_conditional_writes, test_store_copy):
    globals().update({name: test for name, test in vars(_suite).items() if name.startswith("test_")})


@pytest.fixture
def harness(s3_bucket: S3Bucket, tmp_path: Path) -> StoreHarness:
    store = CachedStore(store_of(connect(s3_bucket)), DiskCache(tmp_path / "cache", 1_000_000_000))

    def damage(key: str) -> None:
        metadata = s3_bucket.client.head_object(Bucket=s3_bucket.name, Key=key)["Metadata"]
        s3_bucket.client.put_object(Bucket=s3_bucket.name, Key=key, Body=b"damaged", Metadata=metadata)

    return StoreHarness(store, damage, s3_bucket.object_keys, lambda _: None, names_are_files=False)


@pytest.fixture
def store(harness: StoreHarness) -> ObjectStore:
    return harness.store


@pytest.fixture
def unreachable(tmp_path: Path) -> ObjectStore:
    (tmp_path / "source.csv").write_bytes(b"lap")
    store = S3Store(S3Connection("bucket", "us-east-1", "http://127.0.0.1:1", "k", "s"), "", DigestCache())
    return CachedStore(store, DiskCache(tmp_path / "cache", 1_000_000_000))
