"""A shipper that is killed with SIGKILL in the middle of a large file: the next one sends the rest, and no more."""

import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from apex_pipeline.events.journal import EntryState
from apex_pipeline_tests.events.harness import Harness
from apex_pipeline_tests.servers.fault_proxy import FOREVER, Exchange, FaultProxy

_NAME = "20250729_161500.bin"
_KEY = f"xml-events/{_NAME}"
_MIB = 1024 * 1024
_LIMIT_S = 60.0
_PART = "partNumber="


def _write_large(path: Path, size: int) -> str:
    """Write a file in which no two parts are equal, and return its digest."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for number in range(size // _MIB):
            block = number.to_bytes(4) * (_MIB // 4)
            digest.update(block)
            file.write(block)
    os.utime(path, (0, 0))
    return digest.hexdigest()


def _kill_at_part(harness: Harness, proxy: FaultProxy, part: int) -> None:
    """Start ``apex events ship``, and kill it while the store is slow to take a part that is not among the first."""
    is_hanging = threading.Event()

    def hang(exchange: Exchange) -> None:
        is_hanging.set()
        exchange.wait(_LIMIT_S)

    proxy.inject(hang, method="PUT", contains=_PART, first=part, times=FOREVER)
    command = [sys.executable, "-m", "apex_pipeline", "events", "ship", str(harness.folder)]
    environment = harness.environment(EVENTS_SETTLE_S="0")
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as shipper:
        try:
            assert is_hanging.wait(_LIMIT_S)
        finally:
            shipper.kill()
    proxy.heal()


def _check(harness: Harness, sha256: str, size: int) -> None:
    client, bucket = harness.bucket.client, harness.bucket.name
    assert harness.bucket.object_keys() == [_KEY]
    digest = hashlib.sha256()
    with client.get_object(Bucket=bucket, Key=_KEY)["Body"] as body:
        while block := body.read(_MIB):
            digest.update(block)
    assert digest.hexdigest() == sha256
    assert not client.list_multipart_uploads(Bucket=bucket).get("Uploads")
    (moved,) = (harness.folder / "done").rglob("*.bin")
    assert moved.stat().st_size == size
    assert harness.left() == []
    (entry,) = harness.entries()
    assert (entry.state, entry.sha256) == (EntryState.DONE, sha256)


@pytest.mark.slow
@pytest.mark.req("B-019")
def test_a_kill_in_the_middle_of_a_large_file_costs_the_parts_under_way(
    proxied: Harness, fault_proxy: FaultProxy
) -> None:
    size = 64 * _MIB
    sha256 = _write_large(proxied.folder / _NAME, size)
    _kill_at_part(proxied, fault_proxy, part=5)
    assert proxied.bucket.object_keys() == []
    sent = fault_proxy.count("PUT", _PART)
    assert proxied.ship().exit_code == 0
    # Eight parts of 8 MiB, four of them acknowledged before the kill.
    assert fault_proxy.count("PUT", _PART) - sent <= 4
    _check(proxied, sha256, size)


@pytest.mark.soak
@pytest.mark.req("B-019")
def test_a_gigabyte_arrives_although_the_shipper_is_killed_three_times(
    proxied: Harness, fault_proxy: FaultProxy
) -> None:
    parts, first = 125, 40
    sha256 = _write_large(proxied.folder / _NAME, parts * 8 * _MIB)
    for _ in range(3):
        _kill_at_part(proxied, fault_proxy, part=first)
    sent = fault_proxy.count("PUT", _PART)
    assert proxied.ship().exit_code == 0
    # Of each killed process, all parts before the first that the store was slow to take were acknowledged.
    assert fault_proxy.count("PUT", _PART) - sent <= parts - 3 * (first - 1)
    _check(proxied, sha256, parts * 8 * _MIB)
