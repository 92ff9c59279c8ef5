"""What the tests of faults share: a store behind the fault proxy, and names for the requests it makes.

Not here: the faults themselves (``servers/faults.py``) and what is expected of the store (``test_faults_*.py``).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.s3.client import S3Connection
from apex_pipeline.storage.s3.store import S3Store
from apex_pipeline_tests.servers.fault_proxy import FaultProxy, Request
from apex_pipeline_tests.servers.s3_server import S3Bucket

KEY = "data/COTA/Race 1/x.csv"
CONTENT = np.random.default_rng(11).bytes(3_000_003)
# Two parts of an upload in parts, the last one not full.
IN_PARTS = np.random.default_rng(12).bytes(9_000_003)
# Three parts of an upload, and more than one block of a stream.
LARGE_KEY = "data/COTA/Race 1/large.csv"
LARGE = np.random.default_rng(13).bytes(20_000_000)
# How long a store behind an impatient harness waits, and a fault that lasts longer. Loopback answers in milliseconds.
PATIENCE_S = 0.5
TOO_LONG_S = 0.9
# After so many tries of one request a store gives up: more would keep people waiting for what does not come.
MOST_TRIES = 8

Selection = Callable[[Request], bool]


def is_put(request: Request) -> bool:
    """Tell whether an object is written in one request."""
    return request.method == "PUT" and "uploadId=" not in request.query and "x-amz-copy-source" not in request.headers


def is_create(request: Request) -> bool:
    """Tell whether an upload in parts is begun."""
    return request.method == "POST" and request.query.startswith("uploads")


def is_part(request: Request) -> bool:
    """Tell whether a part is written."""
    return request.method == "PUT" and "partNumber=" in request.query


def is_second_part(request: Request) -> bool:
    """Tell whether the second part is written."""
    return is_part(request) and "partNumber=2" in request.query


def is_complete(request: Request) -> bool:
    """Tell whether an upload in parts is completed."""
    return request.method == "POST" and "uploadId=" in request.query


def is_copy(request: Request) -> bool:
    """Tell whether an object is copied inside the store."""
    return request.method == "PUT" and "x-amz-copy-source" in request.headers


def is_get(request: Request) -> bool:
    """Tell whether an object, or a range of one, is read."""
    return request.method == "GET" and request.path.endswith(".csv")


def carries_checksum(request: Request) -> bool:
    """Tell whether stores of the old kind refuse a request."""
    prefixes = ("x-amz-checksum-", "x-amz-sdk-checksum-", "x-amz-trailer")
    return any(name.startswith(prefixes) for name in request.headers)


@dataclass(frozen=True)
class FaultHarness:
    """A store that reaches its bucket through a proxy, and the bucket itself beside it."""

    proxy: FaultProxy
    bucket: S3Bucket

    @cached_property
    def store(self) -> S3Store:
        """The store, which does not wait between two tries."""
        return self._store(read_timeout_s=60)

    @cached_property
    def impatient_store(self) -> S3Store:
        """A store that takes a silence of :data:`PATIENCE_S` for a fault."""
        return self._store(read_timeout_s=PATIENCE_S)

    def store_with_patience(self, seconds: float) -> S3Store:
        """Return a store that takes a silence of so many seconds for a fault."""
        return self._store(read_timeout_s=seconds)

    def _store(self, read_timeout_s: float) -> S3Store:
        server = self.bucket.server
        connection = S3Connection(
            self.bucket.name,
            "us-east-1",
            self.proxy.endpoint,
            server.access_key_id,
            server.secret_access_key,
            read_timeout_s=read_timeout_s,
        )
        return S3Store(connection, "", DigestCache(), sleep=lambda _: None)

    def content(self, key: str = KEY) -> bytes:
        """Return what the bucket holds, read without the proxy."""
        with self.bucket.client.get_object(Bucket=self.bucket.name, Key=key)["Body"] as body:
            return body.read()
