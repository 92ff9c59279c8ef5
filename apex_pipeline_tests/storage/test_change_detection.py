"""Tests that a file is copied again if and only if its content changed, whatever its modification time.

Tools that compare size and time miss edits that keep the size and leave an older or unchanged time, and they resend
files that were only touched. The tests combine every kind of content change, way of writing it and resulting
modification time, for a folder and for a bucket.
"""

import hashlib
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.copy import CopyItem, copy_files
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.storage.s3.client import S3Connection
from apex_pipeline.storage.s3.store import S3Store
from apex_pipeline_tests.servers.s3_server import S3Server, new_bucket
from apex_pipeline_tests.storage.s3.harness import connect

_BEFORE = b"lap,time\n1,97.428\n"
_KEY = "data/COTA/Race 1/x.csv"
# Name of the change, and the content after it.
_CONTENTS = {
    "longer": _BEFORE + b"2,98.001\n",
    "shorter": _BEFORE[:-3],
    "of the same size": _BEFORE.replace(b"97", b"79"),
    "the same": _BEFORE,
    "empty": b"",
}
# Each function maps the modification time before the change to the one after it, in ns since 1970.
_S = 1_000_000_000
_CLOCKS = {
    "later than the copy": lambda _: time.time_ns() + _S,
    "earlier than the copy": lambda before: before - 3600 * _S,
    "unchanged": lambda before: before,
    "far in the future": lambda _: 2**32 * _S,
    "at the epoch": lambda _: 0,
}
_WAYS = ["in place", "by a new file"]


@pytest.fixture(scope="module")
def connection(s3_server: S3Server) -> Iterator[S3Connection]:
    with new_bucket(s3_server) as bucket:
        yield connect(bucket)


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "local":
        return LocalStore(tmp_path / "lake", DigestCache())
    # One bucket for all tests, with a separate lake for each test.
    return S3Store(request.getfixturevalue("connection"), uuid.uuid4().hex, DigestCache(), state=tmp_path / "state")


@pytest.fixture
def digests(tmp_path: Path) -> DigestCache:
    """A cache that stores digests immediately, as if no file had been edited recently."""
    return DigestCache(tmp_path / "fingerprints.sqlite", now_ns=lambda: time.time_ns() + 10 * _S)


@pytest.fixture
def item(tmp_path: Path, store: ObjectStore, digests: DigestCache) -> CopyItem:
    """A file that was already copied."""
    source = tmp_path / "source" / "x.csv"
    source.parent.mkdir()
    source.write_bytes(_BEFORE)
    item = CopyItem(source, _KEY)
    assert len(copy_files(store, [item], digests).copied) == 1
    return item


def _write(path: Path, content: bytes, way: str) -> None:
    if way == "in place":
        with path.open("r+b") as file:
            file.write(content)
            file.truncate()
    else:
        new_file = path.with_name("new.csv")
        new_file.write_bytes(content)
        new_file.replace(path)


@pytest.mark.req("A-049")
@pytest.mark.parametrize("way", _WAYS)
@pytest.mark.parametrize("clock", _CLOCKS)
@pytest.mark.parametrize("content", _CONTENTS)
def test_a_file_is_copied_again_if_and_only_if_its_content_changed(
    store: ObjectStore, digests: DigestCache, item: CopyItem, content: str, clock: str, way: str
) -> None:
    before = item.path.stat().st_mtime_ns
    _write(item.path, _CONTENTS[content], way)
    os.utime(item.path, ns=(before, _CLOCKS[clock](before)))
    report = copy_files(store, [item], digests)
    assert report
    assert len(report.copied) == (_CONTENTS[content] != _BEFORE)
    assert store.read_bytes(_KEY) == _CONTENTS[content]
    stored = store.head(_KEY)
    assert stored is not None
    assert stored.sha256 == hashlib.sha256(_CONTENTS[content]).hexdigest()


@pytest.mark.req("A-049")
@pytest.mark.parametrize("clock", _CLOCKS)
def test_a_file_that_was_only_touched_is_not_copied_again(
    store: ObjectStore, digests: DigestCache, item: CopyItem, clock: str
) -> None:
    before = item.path.stat().st_mtime_ns
    os.utime(item.path, ns=(before, _CLOCKS[clock](before)))
    report = copy_files(store, [item], digests)
    assert [file.item for file in report.unchanged] == [item]
    assert not report.copied


@pytest.mark.req("A-049")
def test_an_object_replaced_by_another_program_is_overwritten(
    store: ObjectStore, digests: DigestCache, item: CopyItem
) -> None:
    store.write_bytes(_KEY, _CONTENTS["of the same size"])
    assert len(copy_files(store, [item], digests).copied) == 1
    assert store.read_bytes(_KEY) == _BEFORE


@pytest.mark.req("A-049")
def test_an_object_deleted_from_the_store_is_copied_again(
    store: ObjectStore, digests: DigestCache, item: CopyItem
) -> None:
    store.delete(_KEY)
    assert len(copy_files(store, [item], digests).copied) == 1
    assert store.read_bytes(_KEY) == _BEFORE
