"""Tests that requests to a bucket are counted with their errors and latency."""

import pytest

from apex_pipeline.storage.request_stats import RequestStats
from apex_pipeline.storage.s3.store import S3Store
from apex_pipeline_tests.servers.s3_server import S3Bucket
from apex_pipeline_tests.storage.s3.harness import connect, store_of


@pytest.mark.req("A-086", "A-087", "A-088")
def test_requests_errors_and_latency_are_counted(store: S3Store) -> None:
    assert store.request_stats == RequestStats()
    store.write_bytes("data/x.csv", b"lap")
    assert store.head("data/x.csv")
    assert store.head("data/none.csv") is None
    list(store.list())
    stats = store.request_stats
    # One PUT, two HEADs (one fails), the bucket check after the failure, and the listing.
    assert (stats.requests, stats.errors) == (5, 1)
    assert stats.error_rate == pytest.approx(0.2)
    assert 0 < stats.average_ms < 60_000
    assert stats.waited_s == pytest.approx(stats.average_ms * 5 / 1000)


def test_each_connection_counts_its_own_requests(s3_bucket: S3Bucket) -> None:
    one, other = store_of(connect(s3_bucket)), store_of(connect(s3_bucket))
    one.check_access()
    assert (one.request_stats.requests, other.request_stats.requests) == (1, 0)


def test_rates_are_zero_without_requests() -> None:
    assert RequestStats().error_rate == RequestStats().average_ms == 0
