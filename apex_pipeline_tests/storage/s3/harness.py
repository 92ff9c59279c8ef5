"""Helpers for the tests of the S3 store: connections, stores and source files."""

from pathlib import Path

from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.s3.client import S3Connection
from apex_pipeline.storage.s3.store import S3Store
from apex_pipeline_tests.servers.s3_server import S3Bucket

CONTENT = b"lap,time\n1,97.428\n"


def connect(
    bucket: S3Bucket,
    *,
    name: str | None = None,
    key: str | None = None,
    secret: str | None = None,
    is_direct: bool = True,
) -> S3Connection:
    """Return a connection to this bucket or the named one, with full access unless other keys are given."""
    server = bucket.server
    return S3Connection(
        name or bucket.name,
        "us-east-1",
        server.endpoint,
        key or server.access_key_id,
        secret or server.secret_access_key,
        is_direct=is_direct,
    )


def store_of(connection: S3Connection, *, may_create_bucket: bool = False) -> S3Store:
    """Return a store that does not wait between attempts."""
    return S3Store(connection, "", DigestCache(), may_create_bucket=may_create_bucket, sleep=lambda _: None)


def write_source(folder: Path, content: bytes) -> Path:
    """Write a file with this content and return its path."""
    path = folder / "source.csv"
    path.write_bytes(content)
    return path
