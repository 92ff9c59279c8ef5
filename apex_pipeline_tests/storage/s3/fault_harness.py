"""A store behind the fault proxy, and predicates for the requests it sends.

See servers/faults.py for the faults and ``test_faults_*.py`` for the expected behaviour of the store.
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
# Two parts of a multipart upload, the last one incomplete.
IN_PARTS = np.random.default_rng(12).bytes(9_000_003)
# Three parts of a multipart upload, and more than one block of a stream.
LARGE_KEY = "data/COTA/Race 1/large.csv"
LARGE = np.random.default_rng(13).bytes(20_000_000)
# The timeout of the impatient store, and a delay that exceeds it. Loopback replies within milliseconds.
TIMEOUT_S = 0.5
TOO_LONG_S = 0.9
# Maximum attempts per request before a store gives up.
MAX_ATTEMPTS = 8

Selection = Callable[[Request], bool]


def is_put(request: Request) -> bool:
    """Return whether the request is a PUT of an entire object."""
    return request.method == "PUT" and "uploadId=" not in request.query and "x-amz-copy-source" not in request.headers


def is_create(request: Request) -> bool:
    """Return whether the request starts a multipart upload."""
    return request.method == "POST" and request.query.startswith("uploads")


def is_part(request: Request) -> bool:
    """Return whether the request uploads a part."""
    return request.method == "PUT" and "partNumber=" in request.query


def is_second_part(request: Request) -> bool:
    """Return whether the request uploads the second part."""
    return is_part(request) and "partNumber=2" in request.query


def is_complete(request: Request) -> bool:
    """Return whether the request completes a multipart upload."""
    return request.method == "POST" and "uploadId=" in request.query


def is_copy(request: Request) -> bool:
    """Return whether the request copies an object on the server."""
    return request.method == "PUT" and "x-amz-copy-source" in request.headers


def is_get(request: Request) -> bool:
    """Return whether the request reads an object or a range of one."""
    return request.method == "GET" and request.path.endswith(".csv")


def carries_checksum(request: Request) -> bool:
    """Return whether the request has a checksum that old stores refuse."""
    prefixes = ("x-amz-checksum-", "x-amz-sdk-checksum-", "x-amz-trailer")
    return any(name.startswith(prefixes) for name in request.headers)


@dataclass(frozen=True)
class FaultHarness:
    """A bucket and a store that reaches it through the fault proxy.

    Attributes:
        proxy: The proxy.
        bucket: The bucket behind it.
        is_direct: Whether the store sends requests for objects without botocore.
    """

    proxy: FaultProxy
    bucket: S3Bucket
    is_direct: bool = True

    @cached_property
    def store(self) -> S3Store:
        """The store, which does not wait between attempts."""
        return self._store(read_timeout_s=60)

    @cached_property
    def impatient_store(self) -> S3Store:
        """A store with a read timeout of :data:`TIMEOUT_S`."""
        return self._store(read_timeout_s=TIMEOUT_S)

    def store_with_timeout(self, seconds: float) -> S3Store:
        """Return a store with this read timeout."""
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
            is_direct=self.is_direct,
        )
        return S3Store(connection, "", DigestCache(), sleep=lambda _: None)

    def content(self, key: str = KEY) -> bytes:
        """Return the content of an object, read without the proxy."""
        with self.bucket.client.get_object(Bucket=self.bucket.name, Key=key)["Body"] as body:
            return body.read()
