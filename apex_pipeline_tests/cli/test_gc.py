"""`apex gc`: lists expired objects, removes them only with --apply, and leaves the lake intact."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from apex_pipeline_tests.cli.conftest import Apex
from apex_pipeline_tests.servers.seaweed import S3Bucket

_UNREFERENCED = [f"history/{number:064}.parquet" for number in range(3)]
_OLD_S = 60 * 24 * 3600


def _make_old(path: Path) -> None:
    moment = time.time() - _OLD_S
    os.utime(path, (moment, moment))


@pytest.fixture
def expired_lake(demo_dir: Path, tmp_path: Path) -> Path:
    """A copy of the lake with three unreferenced table files and an incomplete upload, all two months old."""
    folder = tmp_path / "expired"
    shutil.copytree(demo_dir / "lake", folder)
    for name in [*_UNREFERENCED, ".incoming/other-host.1.0"]:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"12345")
        _make_old(path)
    return folder


def _files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_gc_without_apply_only_lists_what_it_would_remove(expired_lake: Path, apex: Apex) -> None:
    before = _files_in(expired_lake)
    result = apex("gc", "--lake", str(expired_lake))
    assert result.code == 0
    assert all(f"would remove  {key}, 5 bytes" in result.out for key in _UNREFERENCED)
    assert "incomplete upload of other-host.1.0, started 1,440 h ago, 5 bytes" in result.out
    assert "Would remove 1 incomplete uploads and 3 objects, 20 bytes; 4 snapshots stay readable." in result.out
    assert "Nothing was removed. Run it again with --apply." in result.out
    assert "lifecycle" not in result.out
    assert _files_in(expired_lake) == before


def test_gc_with_apply_removes_only_what_it_listed(expired_lake: Path, apex: Apex) -> None:
    before = _files_in(expired_lake)
    result = apex("gc", "--apply", "--lake", str(expired_lake))
    assert "Removed 1 incomplete uploads and 3 objects, 20 bytes" in result.out
    assert "Nothing was removed" not in result.out
    assert before - _files_in(expired_lake) == {*_UNREFERENCED, ".incoming/other-host.1.0"}
    assert apex("verify", "--deep", "--lake", str(expired_lake)).code == 0
    again = json.loads(apex("gc", "--apply", "--lake", str(expired_lake), "--json").out)
    assert (again["objects"], again["unfinished_writes"], again["bytes"]) == ([], [], 0)


@pytest.mark.parametrize(("words", "left"), [(("--keep-days", "61"), 3), (("--older-than-hours", "1441"), 1)])
def test_retention_periods_can_be_set(expired_lake: Path, apex: Apex, words: tuple[str, str], left: int) -> None:
    found = json.loads(apex("gc", *words, "--lake", str(expired_lake), "--json").out)
    assert len(found["objects"]) + len(found["unfinished_writes"]) == 4 - left
    assert (found["is_removed"], found["lifecycle_rule"]) == (False, None)


def test_incomplete_uploads_are_kept_for_at_least_an_hour(expired_lake: Path, apex: Apex) -> None:
    assert apex("gc", "--older-than-hours", "0", "--lake", str(expired_lake)).code == 2


def test_a_long_list_of_objects_is_truncated(expired_lake: Path, apex: Apex) -> None:
    for number in range(3, 33):
        path = expired_lake / f"history/{number:064}.parquet"
        path.write_bytes(b"12345")
        _make_old(path)
    assert "and 14 more; --json prints them all" in apex("gc", "--lake", str(expired_lake)).out


@pytest.mark.parametrize("prefix", ["", "season/2025"])
def test_for_a_bucket_gc_prints_a_lifecycle_rule(
    apex: Apex, s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    for name, value in {**s3_bucket.environment, "APEX_LAKE_PREFIX": prefix}.items():
        monkeypatch.setenv(name, value)
    key = f"{prefix}/data/large.csv".lstrip("/")
    s3_bucket.client.create_multipart_upload(Bucket=s3_bucket.name, Key=key)
    result = apex("gc")
    assert result.code == 0
    assert "Would remove 0 incomplete uploads" in result.out  # it is too young and may still be running
    rule = json.loads(result.out.splitlines()[-1])
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    assert rule["Filter"] == {"Prefix": f"{prefix}/" if prefix else ""}
    s3_bucket.client.put_bucket_lifecycle_configuration(Bucket=s3_bucket.name, LifecycleConfiguration={"Rules": [rule]})
    assert json.loads(apex("gc", "--json").out)["lifecycle_rule"] == rule
