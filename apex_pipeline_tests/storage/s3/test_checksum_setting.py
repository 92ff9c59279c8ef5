"""``S3_CHECKSUMS``, and the memory of stores that refuse CRC32: each is asked once, not by every command."""

from pathlib import Path
from typing import Literal

import pytest

from apex_pipeline.errors import StoreConfigError
from apex_pipeline.settings import load_settings
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.factory import open_store
from apex_pipeline_tests.servers import faults
from apex_pipeline_tests.servers.fault_proxy import FOREVER, FaultProxy
from apex_pipeline_tests.servers.s3_server import S3Bucket
from apex_pipeline_tests.storage.s3.fault_harness import carries_checksum, is_put

_Mode = Literal["auto", "required", "off"]


def _store(bucket: S3Bucket, proxy: FaultProxy, state: Path, mode: _Mode = "auto") -> ObjectStore:
    return open_store(
        load_settings(
            use_s3_data=True,
            bucket=bucket.name,
            s3_endpoint_url=proxy.endpoint,
            aws_access_key_id=bucket.server.access_key_id,
            aws_secret_access_key=bucket.server.secret_access_key,
            state_dir=state,
            s3_checksums=mode,
        ),
        for_writing=True,
    )


def test_a_store_that_refused_crc32_is_not_asked_again_by_the_next_command(
    s3_bucket: S3Bucket, fault_proxy: FaultProxy, tmp_path: Path
) -> None:
    rule = fault_proxy.inject(faults.UNSUPPORTED_HEADER, where=carries_checksum, times=FOREVER)
    for number in range(3):
        _store(s3_bucket, fault_proxy, tmp_path / "state").write_bytes("data/a.csv", f"{number}".encode())
    assert rule.hits == 1
    _store(s3_bucket, fault_proxy, tmp_path / "another machine").write_bytes("data/a.csv", b"")
    assert rule.hits == 2


@pytest.mark.parametrize("content", ["", "[]", '{"http://127.0.0.1": 3}', "not json"])
def test_a_damaged_memory_is_none(s3_bucket: S3Bucket, fault_proxy: FaultProxy, tmp_path: Path, content: str) -> None:
    (tmp_path / "stores.json").write_text(content, encoding="utf-8")
    _store(s3_bucket, fault_proxy, tmp_path).write_bytes("data/a.csv", b"content")
    assert any(carries_checksum(request) for request in fault_proxy.requests)


def test_required_names_the_store_that_refuses_crc32(
    s3_bucket: S3Bucket, fault_proxy: FaultProxy, tmp_path: Path
) -> None:
    fault_proxy.inject(faults.UNSUPPORTED_HEADER, where=carries_checksum, times=FOREVER)
    with pytest.raises(StoreConfigError, match=r"CRC32 checksums, and S3_CHECKSUMS is required.*S3_CHECKSUMS=auto"):
        _store(s3_bucket, fault_proxy, tmp_path, "required").write_bytes("data/a.csv", b"content")


def test_off_sends_no_crc32(s3_bucket: S3Bucket, fault_proxy: FaultProxy, tmp_path: Path) -> None:
    _store(s3_bucket, fault_proxy, tmp_path, "off").write_bytes("data/a.csv", b"content")
    sent = [request for request in fault_proxy.requests if is_put(request)]
    assert sent
    assert all("content-md5" in request.headers and not carries_checksum(request) for request in sent)
