"""Fixtures for the tests of the shipper: a folder with a real bucket, directly or behind the fault proxy."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from apex_pipeline_tests.events.harness import Harness
from apex_pipeline_tests.servers.fault_proxy import FaultProxy
from apex_pipeline_tests.servers.s3_server import S3Bucket


def _harness(tmp_path: Path, bucket: S3Bucket, endpoint: str) -> Harness:
    folder = tmp_path / "rotated"
    folder.mkdir()
    return Harness(folder, bucket, endpoint, tmp_path / "state")


@pytest.fixture
def harness(tmp_path: Path, s3_bucket: S3Bucket) -> Harness:
    return _harness(tmp_path, s3_bucket, s3_bucket.server.endpoint)


@pytest.fixture
def old_harness(tmp_path: Path, old_bucket: S3Bucket) -> Harness:
    return _harness(tmp_path, old_bucket, old_bucket.server.endpoint)


@pytest.fixture
def proxied(tmp_path: Path, s3_bucket: S3Bucket, fault_proxy: FaultProxy) -> Harness:
    """A harness whose shipper reaches the store through the fault proxy."""
    return _harness(tmp_path, s3_bucket, fault_proxy.endpoint)


@pytest.fixture
def done_elsewhere(harness: Harness, tmp_path: Path) -> Iterator[Path]:
    """Where ``done/`` of the harness lies: on another file system."""
    elsewhere = Path("/dev/shm")  # noqa: S108  -- the one other file system that every Linux has
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system")
    target = elsewhere / f"{tmp_path.parent.name}-{tmp_path.name}"
    target.mkdir()
    (harness.folder / "done").symlink_to(target)
    yield target
    shutil.rmtree(target)
