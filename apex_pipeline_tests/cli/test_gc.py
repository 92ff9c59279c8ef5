"""`apex gc`: shows what is nobody's, removes it only when told to, and leaves the lake as sound as it was."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from apex_pipeline_tests.cli.conftest import Apex
from apex_pipeline_tests.servers.seaweed import S3Bucket

_NOBODYS = [f"history/{number:064}.parquet" for number in range(3)]
_OLD_S = 60 * 24 * 3600


def _make_old(path: Path) -> None:
    moment = time.time() - _OLD_S
    os.utime(path, (moment, moment))


@pytest.fixture
def untidy(here: Path, tmp_path: Path) -> Path:
    """A copy of the lake with three table files of nobody and an unfinished write, all two months old."""
    folder = tmp_path / "untidy"
    shutil.copytree(here / "lake", folder)
    for name in [*_NOBODYS, ".incoming/other-host.1.0"]:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"12345")
        _make_old(path)
    return folder


def _there(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_without_apply_it_only_shows_what_it_would_remove(untidy: Path, apex: Apex) -> None:
    before = _there(untidy)
    said = apex("gc", "--lake", str(untidy))
    assert said.code == 0
    assert all(f"would remove  {key}, 5 bytes" in said.out for key in _NOBODYS)
    assert "unfinished write of other-host.1.0, started 1,440 h ago, 5 bytes" in said.out
    assert "Would remove 1 unfinished writes and 3 objects, 20 bytes; 1 snapshots stay readable." in said.out
    assert "Nothing was removed. Run it again with --apply." in said.out
    assert "lifecycle" not in said.out
    assert _there(untidy) == before


def test_with_apply_that_and_nothing_else_goes(untidy: Path, apex: Apex) -> None:
    before = _there(untidy)
    said = apex("gc", "--apply", "--lake", str(untidy))
    assert "Removed 1 unfinished writes and 3 objects, 20 bytes" in said.out
    assert "Nothing was removed" not in said.out
    assert before - _there(untidy) == {*_NOBODYS, ".incoming/other-host.1.0"}
    assert apex("verify", "--deep", "--lake", str(untidy)).code == 0
    again = json.loads(apex("gc", "--apply", "--lake", str(untidy), "--json").out)
    assert (again["objects"], again["incomplete_uploads"], again["bytes"]) == ([], [], 0)


@pytest.mark.parametrize(("words", "left"), [(("--keep-days", "61"), 3), (("--older-than-hours", "1441"), 1)])
def test_how_long_things_are_kept_can_be_chosen(untidy: Path, apex: Apex, words: tuple[str, str], left: int) -> None:
    found = json.loads(apex("gc", *words, "--lake", str(untidy), "--json").out)
    assert len(found["objects"]) + len(found["incomplete_uploads"]) == 4 - left
    assert (found["is_removed"], found["lifecycle_rule"]) == (False, None)


def test_an_hour_is_the_least_for_unfinished_writes(untidy: Path, apex: Apex) -> None:
    assert apex("gc", "--older-than-hours", "0", "--lake", str(untidy)).code == 2


def test_of_very_many_only_the_first_are_shown(untidy: Path, apex: Apex) -> None:
    for number in range(3, 33):
        path = untidy / f"history/{number:064}.parquet"
        path.write_bytes(b"12345")
        _make_old(path)
    assert "and 14 more; --json prints them all" in apex("gc", "--lake", str(untidy)).out


@pytest.mark.parametrize("prefix", ["", "season/2025"])
def test_for_a_bucket_it_gives_the_rule_that_does_the_first_part(
    apex: Apex, s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    for name, value in {**s3_bucket.environment, "APEX_LAKE_PREFIX": prefix}.items():
        monkeypatch.setenv(name, value)
    key = f"{prefix}/data/large.csv".lstrip("/")
    s3_bucket.client.create_multipart_upload(Bucket=s3_bucket.name, Key=key)
    said = apex("gc")
    assert said.code == 0
    assert "Would remove 0 unfinished writes" in said.out  # it may still be going on
    rule = json.loads(said.out.splitlines()[-1])
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    assert rule["Filter"] == {"Prefix": f"{prefix}/" if prefix else ""}
    s3_bucket.client.put_bucket_lifecycle_configuration(Bucket=s3_bucket.name, LifecycleConfiguration={"Rules": [rule]})
    assert json.loads(apex("gc", "--json").out)["lifecycle_rule"] == rule
