"""Fixtures for the tests of ``apex_pipeline.storage``."""

from typing import Any

import pytest

from apex_pipeline.storage.s3.client import S3Connection
from apex_pipeline.storage.s3.store import S3Store
from apex_pipeline_tests.servers.fault_proxy import FaultProxy
from apex_pipeline_tests.servers.s3_server import S3Bucket
from apex_pipeline_tests.storage.s3.fault_harness import FaultHarness
from apex_pipeline_tests.storage.s3.harness import connect, store_of


@pytest.fixture
def connection(s3_bucket: S3Bucket) -> S3Connection:
    return connect(s3_bucket)


@pytest.fixture
def store(connection: S3Connection) -> S3Store:
    return store_of(connection)


@pytest.fixture
def requests(connection: S3Connection) -> list[tuple[str, dict[str, Any]]]:
    """Requests sent from now on, as pairs of operation and headers."""
    sent: list[tuple[str, dict[str, Any]]] = []

    def record(model: Any, params: dict[str, Any], **_: object) -> None:
        sent.append((model.name, params["headers"]))

    connection.client.meta.events.register("before-call.s3", record)
    return sent


@pytest.fixture(params=["direct", "botocore"])
def fault_harness(
    request: pytest.FixtureRequest, fault_proxy: FaultProxy, s3_bucket: S3Bucket, no_pauses: list[float]
) -> FaultHarness:
    return FaultHarness(fault_proxy, s3_bucket, is_direct=request.param == "direct")
