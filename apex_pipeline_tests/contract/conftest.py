"""Fixtures of the contract suite: every test runs on each of these stores."""

from pathlib import Path

import pytest

from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.storage.s3.client import S3Connection
from apex_pipeline.storage.s3.store import S3Store
from apex_pipeline_tests.contract.harnesses import StoreHarness, local_harness, s3_harness, write_source
from apex_pipeline_tests.servers.s3_server import S3Bucket

# Both servers, with requests for objects sent directly and through botocore.
_BUCKETS = {
    "s3": "new_s3_harness",
    "s3-botocore": "new_s3_botocore_harness",
    "old-s3": "old_s3_harness",
    "old-s3-botocore": "old_s3_botocore_harness",
}


@pytest.fixture(params=["local", *_BUCKETS])
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> StoreHarness:
    if request.param == "local":
        return local_harness(tmp_path)
    return request.getfixturevalue(_BUCKETS[request.param])


@pytest.fixture
def store(harness: StoreHarness) -> ObjectStore:
    return harness.store


@pytest.fixture(params=_BUCKETS)
def s3_store(request: pytest.FixtureRequest) -> ObjectStore:
    return request.getfixturevalue(_BUCKETS[request.param]).store


@pytest.fixture
def new_s3_harness(s3_bucket: S3Bucket, tmp_path: Path) -> StoreHarness:
    return s3_harness(s3_bucket, tmp_path, names_are_files=False)


@pytest.fixture
def new_s3_botocore_harness(s3_bucket: S3Bucket, tmp_path: Path) -> StoreHarness:
    return s3_harness(s3_bucket, tmp_path, names_are_files=False, is_direct=False)


@pytest.fixture
def old_s3_harness(old_bucket: S3Bucket, tmp_path: Path) -> StoreHarness:
    return s3_harness(old_bucket, tmp_path, names_are_files=True)


@pytest.fixture
def old_s3_botocore_harness(old_bucket: S3Bucket, tmp_path: Path) -> StoreHarness:
    return s3_harness(old_bucket, tmp_path, names_are_files=True, is_direct=False)


@pytest.fixture(params=["local", "s3"])
def unreachable(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """A store whose folder or server does not exist, for errors that must be raised before any request."""
    write_source(tmp_path)
    if request.param == "local":
        return LocalStore(tmp_path / "none", DigestCache())
    return S3Store(S3Connection("bucket", "us-east-1", "http://127.0.0.1:1", "k", "s"), "", DigestCache())
