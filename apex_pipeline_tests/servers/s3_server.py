"""Helpers shared by the tests' S3 servers: address and keys, a bucket per test, binary, ports, start and stop.

See seaweed.py and juicefs.py for how a particular server is started, and fault_proxy.py for the proxy in front of it.
"""

import os
import random
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

_START_SECONDS = 300
# SeaweedFS uses each port and the one 10,000 above. Both stay below 32,768, where the ephemeral ports of Linux start.
_PORTS = range(11_000, 22_000)
_SECOND_PORT = 10_000


@dataclass(frozen=True)
class S3Server:
    """A running S3 server.

    Attributes:
        endpoint: Its address.
        access_key_id: Access key with full access.
        secret_access_key: Secret of that key.
        reader_key_id: Access key that may only read and list; ``None`` if there is none.
        reader_secret: Secret of the reader's key.
        deletes_in_batches: Whether the server accepts boto3's requests to delete many objects.
    """

    endpoint: str
    access_key_id: str
    secret_access_key: str
    reader_key_id: str | None = None
    reader_secret: str | None = None
    deletes_in_batches: bool = True

    def client(self, *, access_key_id: str | None = None, secret_access_key: str | None = None) -> "S3Client":
        """Return a plain boto3 client, with full access unless other keys are given."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=access_key_id or self.access_key_id,
            aws_secret_access_key=secret_access_key or self.secret_access_key,
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )


@dataclass(frozen=True)
class S3Bucket:
    """An empty bucket of one test."""

    name: str
    server: S3Server
    client: "S3Client"

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that make this bucket the lake."""
        return {
            "USE_S3_DATA": "true",
            "S3_BUCKET_NAME": self.name,
            "S3_ENDPOINT_URL": self.server.endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": self.server.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.server.secret_access_key,
        }

    def object_keys(self) -> list[str]:
        """Return the keys in the bucket, sorted."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return sorted(entry.get("Key", "") for page in pages for entry in page.get("Contents", []))

    def uploads(self) -> list[tuple[str, str]]:
        """Return key and upload ID of every incomplete multipart upload, sorted."""
        found = self.client.list_multipart_uploads(Bucket=self.name).get("Uploads", [])
        return sorted((upload.get("Key", ""), upload.get("UploadId", "")) for upload in found)

    def clear(self) -> None:
        """Delete every object and abort every incomplete upload."""
        keys = self.object_keys()
        if self.server.deletes_in_batches:
            for start in range(0, len(keys), 1000):
                batch: list[Any] = [{"Key": key} for key in keys[start : start + 1000]]
                self.client.delete_objects(Bucket=self.name, Delete={"Objects": batch})
        else:
            for key in keys:
                self.client.delete_object(Bucket=self.name, Key=key)
        for key, upload_id in self.uploads():
            self.client.abort_multipart_upload(Bucket=self.name, Key=key, UploadId=upload_id)


@contextmanager
def new_bucket(server: S3Server) -> Generator[S3Bucket]:
    """Create an empty bucket, and delete it with its content afterwards."""
    with closing(server.client()) as client:
        bucket = S3Bucket(f"test-{uuid.uuid4().hex[:20]}", server, client)
        client.create_bucket(Bucket=bucket.name)
        yield bucket
        bucket.clear()
        client.delete_bucket(Bucket=bucket.name)


def find_binary(name: str) -> Path | None:
    """Return a server's binary, from the folder of this Python or from ``PATH``; ``None`` if it is missing."""
    installed = Path(sys.executable).with_name(name)
    if installed.is_file():
        return installed
    found = shutil.which(name)
    return None if found is None else Path(found)


def do_without(message: str, *, must_run_in_ci: bool = True) -> NoReturn:
    """Skip the test because its server is missing; fail it in CI if the server can be installed there."""
    if os.environ.get("CI") and must_run_in_ci:
        pytest.fail(message + " (CI must not skip)")
    pytest.skip(message)


def is_up(process: subprocess.Popen[bytes], server: S3Server) -> bool:
    """Wait for a reply to a signed request, and return whether it came before the process ended or the timeout."""
    deadline = time.monotonic() + _START_SECONDS
    with closing(server.client()) as client:
        while process.poll() is None and time.monotonic() < deadline:
            try:
                client.list_buckets()
            except (BotoCoreError, ClientError):
                time.sleep(0.1)
            else:
                return True
    return False


def stop(process: subprocess.Popen[bytes]) -> None:
    """Kill a server: its data is discarded, and a graceful shutdown takes seconds."""
    process.kill()
    process.wait()


def free_ports(count: int) -> list[int]:
    """Return free ports whose port plus 10,000 is free too."""
    candidates = list(_PORTS)
    random.shuffle(candidates)
    free: list[int] = []
    while len(free) < count:
        port = candidates.pop()
        if _is_free(port) and _is_free(port + _SECOND_PORT):
            free.append(port)
    return free


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
