"""The contract of object stores: reading and writing, tested on a local folder, a real S3 server and an old S3 server.

The contract holds for every store; known limitations of a server are fields of its harness. See the fault tests in
``apex_pipeline_tests/storage/s3`` for the behaviour of a store during network failures.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from apex_pipeline.errors import (
    ApexError,
    FileChangedError,
    ObjectMissingError,
    SourceError,
    StoreConfigError,
    StoreCorruptionError,
)
from apex_pipeline.storage.base import ObjectInfo, ObjectStore
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.keys import UnsafeKeyError
from apex_pipeline.storage.local import LocalStore
from apex_pipeline_tests.contract.harnesses import CONTENT, LARGE, StoreHarness, write_source

_DIGEST = hashlib.sha256(CONTENT).hexdigest()
_UNSAFE_KEYS = [
    "",
    "/etc/passwd",
    "../out",
    "data/../../out",
    "data/./x",
    "data//x",
    "data/",
    "a\\b",
    "nul\0byte",
    "line\nbreak",
    "x" * 1025,
    ".incoming/x",
    "lone\ud800surrogate",
]
_OPERATIONS: dict[str, Callable[[ObjectStore, str], object]] = {
    "head": lambda store, key: store.head(key),
    "read_bytes": lambda store, key: store.read_bytes(key),
    "read_head": lambda store, key: store.read_head(key, 1),
    "open_as_file": lambda store, key: store.open_as_file(key).__enter__(),
    "open_stream": lambda store, key: store.open_stream(key).__enter__(),
    "open_seekable": lambda store, key: store.open_seekable(key).__enter__(),
    "write_bytes": lambda store, key: store.write_bytes(key, b""),
    "read_with_tag": lambda store, key: store.read_with_tag(key),
    "write_if": lambda store, key: store.write_if(key, b"", None),
    "delete_if": lambda store, key: store.delete_if(key, "tag"),
    "write_file": lambda store, key: store.write_file(key, Path("source.csv")),
    "copy from": lambda store, key: store.copy(key, "data/x.csv"),
    "copy to": lambda store, key: store.copy("data/x.csv", key),
    "delete": lambda store, key: store.delete(key),
    "presigned_url": lambda store, key: store.presigned_url(key, 60),
    "uri_of": lambda store, key: store.uri_of(key),
}
_UNUSUAL_KEYS = [
    "data/COTA/Race 1/a b.csv",
    "data/ü/🏁 день.csv",
    "data/100%#1?&=+.csv",
    "data/%20literal.csv",
    "data/.hidden",
    "data/...",
    "data/a..b/c",
    "data/trailing ",
    "data/quote'\"<>|*:",
]


def test_a_written_object_is_read_back(store: ObjectStore) -> None:
    before = datetime.now(UTC) - timedelta(seconds=2)
    written = store.write_bytes("data/x.csv", CONTENT)
    assert store.read_bytes("data/x.csv") == CONTENT
    assert (written.key, written.size, written.sha256) == ("data/x.csv", len(CONTENT), _DIGEST)
    assert before <= written.modified_utc <= datetime.now(UTC) + timedelta(seconds=2)
    found = store.head("data/x.csv")
    assert found is not None
    # The reply to the writing may carry a later second than the object.
    assert abs(found.modified_utc - written.modified_utc) <= timedelta(seconds=2)
    assert replace(found, modified_utc=written.modified_utc) == written


def test_empty_objects_can_be_written_and_read(store: ObjectStore, tmp_path: Path) -> None:
    store.write_bytes("data/empty.csv", b"")
    written = store.write_file("data/empty_file.csv", write_source(tmp_path, b""))
    assert written.sha256 == hashlib.sha256(b"").hexdigest()
    assert store.read_bytes("data/empty_file.csv") == store.read_head("data/empty.csv", 100) == b""
    with store.open_seekable("data/empty.csv") as file:
        assert file.read() == b""
    with store.open_stream("data/empty.csv") as stream:
        assert stream.read() == b""


def test_a_file_is_written_with_its_digest(store: ObjectStore, tmp_path: Path) -> None:
    moved: list[int] = []
    written = store.write_file("data/large.bin", write_source(tmp_path, LARGE), progress=moved.append)
    assert written.sha256 == hashlib.sha256(LARGE).hexdigest()
    assert written.size == sum(moved) == len(LARGE)
    with store.open_as_file("data/large.bin") as path:
        assert path.read_bytes() == LARGE
        assert path.name == "large.bin"


def test_a_large_object_is_read_as_a_stream(store: ObjectStore, tmp_path: Path) -> None:
    store.write_file("data/large.bin", write_source(tmp_path, LARGE))
    buffer = bytearray(5_000_000)
    read = bytearray()
    with store.open_stream("data/large.bin") as stream:
        while count := stream.readinto(buffer):  # type: ignore[attr-defined]  # every binary stream has it
            read += memoryview(buffer)[:count]
    assert bytes(read) == LARGE


def test_a_stream_shows_the_version_that_is_read_before_its_first_byte(store: ObjectStore) -> None:
    written = store.write_bytes("data/x.csv", CONTENT)
    seen: list[ObjectInfo] = []
    with store.open_stream("data/x.csv", seen.append) as stream:
        assert [(info.key, info.size, info.tag) for info in seen] == [("data/x.csv", len(CONTENT), written.tag)]
        assert stream.read() == CONTENT

    def refuse(_: ObjectInfo) -> None:
        raise ValueError("another version")

    with pytest.raises(ValueError, match="another version"), store.open_stream("data/x.csv", refuse):
        pytest.fail("the stream was opened")


def test_a_downloaded_file_is_removed_after_use(store: ObjectStore, tmp_path: Path) -> None:
    store.write_bytes("data/x.csv", CONTENT)
    with store.open_as_file("data/x.csv") as path:
        assert path.read_bytes() == CONTENT
    assert isinstance(store, LocalStore) or not path.exists()


def test_a_write_replaces_the_object_and_its_tag(store: ObjectStore) -> None:
    first = store.write_bytes("data/x.csv", b"old")
    second = store.write_bytes("data/x.csv", CONTENT)
    assert store.read_bytes("data/x.csv") == CONTENT
    assert first.tag != second.tag


@pytest.mark.parametrize("size", [100, len(LARGE)])
def test_a_file_with_the_wrong_digest_does_not_replace_the_object(
    harness: StoreHarness, tmp_path: Path, size: int
) -> None:
    harness.store.write_bytes("data/x.csv", b"old")
    with pytest.raises(FileChangedError):
        harness.store.write_file("data/x.csv", write_source(tmp_path, LARGE[:size]), sha256=_DIGEST)
    assert harness.store.read_bytes("data/x.csv") == b"old"
    assert harness.visible() == ["data/x.csv"]


def test_writing_a_missing_file_raises(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(FileChangedError, match=r"nowhere\.csv is gone"):
        store.write_file("data/x.csv", tmp_path / "nowhere.csv")
    assert store.head("data/x.csv") is None


def test_writing_a_folder_raises(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="not a regular file"):
        store.write_file("data/x.csv", tmp_path)


def test_every_read_of_a_missing_object_raises(store: ObjectStore) -> None:
    assert store.head("data/none.csv") is None
    with pytest.raises(ObjectMissingError, match=r"data/none\.csv"):
        store.read_bytes("data/none.csv")
    with pytest.raises(ObjectMissingError, match=r"data/none\.csv"):
        store.read_head("data/none.csv", 10)
    with pytest.raises(ObjectMissingError, match=r"data/none\.csv"), store.open_as_file("data/none.csv"):
        pass
    with pytest.raises(ObjectMissingError, match=r"data/none\.csv"), store.open_seekable("data/none.csv"):
        pass
    with pytest.raises(ObjectMissingError, match=r"data/none\.csv"), store.open_stream("data/none.csv"):
        pass
    with pytest.raises(ObjectMissingError, match=r"data/none\.csv"):
        store.copy("data/none.csv", "data/copy.csv")


def test_a_folder_is_not_an_object(store: ObjectStore) -> None:
    store.write_bytes("data/sebring/x.csv", CONTENT)
    assert store.head("data/sebring") is None
    assert store.head("data/sebring/x.csv/below") is None
    with pytest.raises(ObjectMissingError):
        store.read_bytes("data/sebring")
    store.delete("data/sebring")
    assert store.read_bytes("data/sebring/x.csv") == CONTENT


def test_writing_below_an_existing_key_works_or_fails_without_damage(
    harness: StoreHarness, no_pauses: list[float]
) -> None:
    harness.store.write_bytes("data/d", b"first")
    if harness.names_are_files:
        with pytest.raises(ApexError, match=r"data/d/e"):
            harness.store.write_bytes("data/d/e", CONTENT)
    else:
        harness.store.write_bytes("data/d/e", CONTENT)
        assert harness.store.read_bytes("data/d/e") == CONTENT
    assert harness.store.read_bytes("data/d") == b"first"


def test_damage_is_detected(harness: StoreHarness) -> None:
    harness.store.write_bytes("data/x.csv", CONTENT)
    harness.damage("data/x.csv")
    with pytest.raises(StoreCorruptionError, match=r"data/x\.csv is damaged"):
        harness.store.read_bytes("data/x.csv")


@pytest.mark.parametrize("operation", _OPERATIONS)
def test_an_unsafe_key_is_refused_by_every_operation(unreachable: ObjectStore, operation: str) -> None:
    assert [key for key in _UNSAFE_KEYS if not _is_refused(_OPERATIONS[operation], unreachable, key)] == []


def _is_refused(operation: Callable[[ObjectStore, str], object], store: ObjectStore, key: str) -> bool:
    try:
        operation(store, key)
    except UnsafeKeyError as error:
        return "not allowed" in str(error)
    return False


@pytest.mark.parametrize("prefix", ["/", "../", "data//x", "data/.."])
def test_an_unsafe_prefix_is_not_listed(unreachable: ObjectStore, prefix: str) -> None:
    with pytest.raises(UnsafeKeyError):
        list(unreachable.list(prefix))


@pytest.mark.parametrize("key", _UNUSUAL_KEYS)
def test_an_unusual_but_legal_key_is_kept_unchanged(harness: StoreHarness, key: str) -> None:
    harness.store.write_bytes(key, CONTENT)
    harness.store.copy(key, f"copy/{key}")
    assert [stored.key for stored in harness.store.list()] == sorted([f"copy/{key}", key])
    assert harness.store.read_bytes(f"copy/{key}") == CONTENT


def test_a_listing_is_complete_and_sorted_by_key(store: ObjectStore) -> None:
    keys = ["a/b", "a-b", "a.b", "a/c", "b", "a/ä", "a/z", "A"]
    for key in keys:
        store.write_bytes(key, key.encode())
    listed = list(store.list())
    assert [stored.key for stored in listed] == ["A", "a-b", "a.b", "a/b", "a/c", "a/z", "a/ä", "b"]
    assert [stored.key for stored in store.list("a/")] == ["a/b", "a/c", "a/z", "a/ä"]
    assert [stored.key for stored in store.list("a/z")] == ["a/z"]
    assert [stored.key for stored in store.list("a")] == ["a-b", "a.b", "a/b", "a/c", "a/z", "a/ä"]
    assert not list(store.list("none/"))
    for stored in listed:
        described = store.head(stored.key)
        assert described is not None
        assert (stored.size, stored.tag) == (described.size, described.tag)


def test_a_copy_keeps_content_and_digest(store: ObjectStore) -> None:
    store.write_bytes("tables/x.parquet", CONTENT)
    copied = store.copy("tables/x.parquet", "history/x.parquet")
    assert copied.sha256 == _DIGEST
    assert store.read_bytes("history/x.parquet") == store.read_bytes("tables/x.parquet") == CONTENT


def test_deleting_an_object_twice_is_not_an_error(store: ObjectStore) -> None:
    store.write_bytes("data/x.csv", CONTENT)
    store.delete("data/x.csv")
    store.delete("data/x.csv")
    assert store.head("data/x.csv") is None
    assert not list(store.list())


def test_read_head_returns_the_first_bytes(store: ObjectStore) -> None:
    store.write_bytes("data/x.csv", CONTENT)
    assert store.read_head("data/x.csv", 3) == CONTENT[:3]
    assert store.read_head("data/x.csv", 1000) == CONTENT


def test_a_parquet_reader_can_read_a_single_row_group(store: ObjectStore, tmp_path: Path) -> None:
    table = pa.table({"speed": np.random.default_rng(3).random(300_000)})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=100_000, compression="none", use_dictionary=False)
    store.write_file("tables/x.parquet", tmp_path / "x.parquet")
    with store.open_seekable("tables/x.parquet") as file:
        reader = pq.ParquetFile(file)
        assert reader.num_row_groups == 3
        assert reader.read_row_group(1).equals(table.slice(100_000, 100_000))


def test_check_access_changes_nothing_in_an_existing_lake(harness: StoreHarness) -> None:
    harness.store.write_bytes("data/x.csv", CONTENT)
    before = harness.visible()
    harness.store.check_access()
    assert harness.visible() == before == ["data/x.csv"]


def test_a_missing_lake_is_reported_and_not_created(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "none", DigestCache())
    with pytest.raises(StoreConfigError, match=r"There is no lake at .*none"):
        store.check_access()
    assert not list(store.list())
    assert store.head("data/x.csv") is None
    assert not (tmp_path / "none").exists()


def test_uri_of_appends_the_key_to_the_store_uri(store: ObjectStore) -> None:
    assert store.uri_of("data/x.csv") == f"{store.uri}/data/x.csv"
