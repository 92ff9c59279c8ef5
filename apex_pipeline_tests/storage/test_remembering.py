"""Tests that nothing is asked for twice that may be remembered, and that nothing else is answered from memory."""

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from apex_pipeline.errors import FileChangedError, StoreCorruptionError
from apex_pipeline.progress import Progress
from apex_pipeline.storage import remembering
from apex_pipeline.storage.base import ObjectInfo, ObjectStore
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.forwarding import ForwardingStore
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.storage.remembering import RememberingStore

_KEY, _OTHER = "catalog/a.json", "catalog/b.json"


class _Asked(ForwardingStore):
    """A store that counts what it is asked for."""

    def __init__(self, inner: ObjectStore) -> None:
        super().__init__(inner)
        self.asked: Counter[str] = Counter()

    def head(self, key: str) -> ObjectInfo | None:
        self.asked["head"] += 1
        return super().head(key)

    def read_bytes(self, key: str) -> bytes:
        self.asked["read"] += 1
        return super().read_bytes(key)

    def read_with_tag(self, key: str, limit: int | None = None) -> tuple[bytes, str] | None:
        self.asked["read"] += 1
        return super().read_with_tag(key, limit)

    def write_file(
        self, key: str, path: Path, *, sha256: str | None = None, progress: Progress | None = None
    ) -> ObjectInfo:
        self.asked["write"] += 1
        return super().write_file(key, path, sha256=sha256, progress=progress)


def _every_key(_: str) -> bool:
    return True


def _anything(_key: str, _content: bytes) -> bool:
    return True


@pytest.fixture
def inner(tmp_path: Path) -> _Asked:
    store = LocalStore(tmp_path / "lake", DigestCache())
    store.prepare_for_writing()
    return _Asked(store)


@pytest.fixture
def store(inner: _Asked) -> RememberingStore:
    return RememberingStore(inner, lambda key: key == _KEY, _anything)


def test_a_document_is_asked_for_once(store: RememberingStore, inner: _Asked) -> None:
    inner.write_bytes(_KEY, b"one")
    found = store.read_with_tag(_KEY)
    assert found is not None
    assert found[0] == b"one"
    assert store.read_with_tag(_KEY) == found
    assert store.read_bytes(_KEY) == b"one"
    assert inner.asked == {"read": 1}


def test_what_was_written_is_not_asked_for(store: RememberingStore, inner: _Asked) -> None:
    written = store.write_bytes(_KEY, b"one")
    assert store.read_with_tag(_KEY) == (b"one", written.tag)
    assert store.head(_KEY) == written
    assert inner.asked == {}


def test_another_document_is_asked_for_every_time(store: RememberingStore, inner: _Asked) -> None:
    store.write_bytes(_OTHER, b"one")
    inner.write_bytes(_OTHER, b"two")
    assert store.read_bytes(_OTHER) == b"two"
    inner.write_bytes(_OTHER, b"three")
    assert (store.read_with_tag(_OTHER) or [b""])[0] == b"three"
    assert store.head(_OTHER) == inner.head(_OTHER)


def test_a_missing_document_is_looked_for_again(store: RememberingStore, inner: _Asked) -> None:
    assert store.read_with_tag(_KEY) is None
    inner.write_bytes(_KEY, b"one")
    assert (store.read_with_tag(_KEY) or [b""])[0] == b"one"


def test_the_limit_holds_for_what_is_remembered_too(store: RememberingStore) -> None:
    store.write_bytes(_KEY, b"seven b")
    with pytest.raises(StoreCorruptionError):
        store.read_with_tag(_KEY, 6)


def _delete(store: ObjectStore) -> None:
    store.delete(_KEY)


def _delete_if(store: ObjectStore) -> None:
    found = store.head(_KEY)
    assert found is not None
    assert store.delete_if(_KEY, found.tag)


def _copy_over(store: ObjectStore) -> None:
    store.write_bytes(_OTHER, b"two")
    store.copy(_OTHER, _KEY)


def _write(store: ObjectStore) -> None:
    store.write_bytes(_KEY, b"two")


def _write_if(store: ObjectStore) -> None:
    found = store.head(_KEY)
    assert found is not None
    assert store.write_if(_KEY, b"two", found.tag)


@pytest.mark.parametrize("change", [_delete, _delete_if, _copy_over, _write, _write_if])
def test_every_change_replaces_what_is_remembered(
    store: RememberingStore, inner: _Asked, change: Callable[[ObjectStore], None]
) -> None:
    store.write_bytes(_KEY, b"one")
    change(store)
    assert store.read_with_tag(_KEY) == inner.read_with_tag(_KEY)
    assert store.head(_KEY) == inner.head(_KEY)


def test_a_conditional_write_that_lost_shows_what_won(store: RememberingStore, inner: _Asked) -> None:
    own = store.write_bytes(_KEY, b"own")
    inner.write_bytes(_KEY, b"theirs")
    assert store.write_if(_KEY, b"own again", own.tag) is None
    assert store.read_bytes(_KEY) == b"theirs"


def test_a_written_file_is_remembered(store: RememberingStore, inner: _Asked, tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_bytes(b"rows")
    written = store.write_file(_KEY, path)
    assert store.read_bytes(_KEY) == b"rows"
    assert store.head(_KEY) == written
    assert inner.asked == {"write": 1}


def test_a_file_that_changes_while_it_is_written_is_not_remembered(
    inner: _Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "table"
    path.write_bytes(b"rows")

    def write_and_change(key: str, path: Path, **_: object) -> ObjectInfo:
        written = inner.write_bytes(key, path.read_bytes())
        path.write_bytes(b"other")
        return written

    store = RememberingStore(inner, _every_key, _anything)
    monkeypatch.setattr(inner, "write_file", write_and_change)
    store.write_file(_KEY, path)
    assert store.read_bytes(_KEY) == b"rows"


@pytest.mark.parametrize("key", [_KEY, _OTHER])
def test_a_file_that_is_gone_once_it_is_written_is_no_failure(
    store: RememberingStore, inner: _Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    path = tmp_path / "table"
    path.write_bytes(b"rows")

    def write_and_remove(key: str, path: Path, **_: object) -> ObjectInfo:
        written = inner.write_bytes(key, path.read_bytes())
        path.unlink()
        return written

    monkeypatch.setattr(inner, "write_file", write_and_remove)
    assert store.write_file(key, path).size == len(b"rows")
    assert store.read_bytes(key) == b"rows"


def test_an_object_that_another_process_wrote_again_is_copied(store: RememberingStore, inner: _Asked) -> None:
    store.write_bytes(_KEY, b"rows")
    inner.delete(_KEY)
    inner.write_bytes(_KEY, b"rows")
    store.copy(_KEY, _OTHER)
    assert inner.read_bytes(_OTHER) == b"rows"


def test_a_version_that_the_caller_requires_is_not_exchanged(store: RememberingStore, inner: _Asked) -> None:
    first = store.write_bytes(_KEY, b"rows")
    inner.delete(_KEY)
    inner.write_bytes(_KEY, b"more")
    with pytest.raises(FileChangedError):
        store.copy(_KEY, _OTHER, source_info=first)


def test_what_is_damaged_is_not_remembered(inner: _Asked) -> None:
    store = RememberingStore(inner, _every_key, lambda _, content: content == b"whole")
    inner.write_bytes(_KEY, b"part")
    store.read_with_tag(_KEY)
    inner.write_bytes(_KEY, b"whole")
    assert store.read_bytes(_KEY) == b"whole"


def _kept(inner: _Asked, content: bytes) -> RememberingStore:
    info = inner.write_bytes(_KEY, content)
    kept = {_KEY: replace(info, sha256=hashlib.sha256(content).hexdigest())}
    return RememberingStore(inner, _every_key, _anything, kept)


def test_a_kept_object_is_not_written_again_and_then_read_from_memory(inner: _Asked, tmp_path: Path) -> None:
    store, path = _kept(inner, b"rows"), tmp_path / "table"
    path.write_bytes(b"rows")
    written = store.write_file(_KEY, path, sha256=hashlib.sha256(b"rows").hexdigest())
    assert written == store.head(_KEY)
    assert store.read_bytes(_KEY) == b"rows"
    assert store.copy(_KEY, _OTHER).size == len(b"rows")
    assert inner.asked == {}


def test_a_kept_object_does_not_hide_another_content(inner: _Asked, tmp_path: Path) -> None:
    store, path = _kept(inner, b"rows"), tmp_path / "table"
    path.write_bytes(b"other")
    store.write_file(_KEY, path, sha256=hashlib.sha256(b"other").hexdigest())
    assert inner.asked == {"write": 1}
    assert inner.read_bytes(_KEY) == store.read_bytes(_KEY) == b"other"


def test_large_objects_are_not_remembered(inner: _Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembering, "_MOST_BYTES_EACH", 3)
    store, path = RememberingStore(inner, _every_key, _anything), tmp_path / "table"
    path.write_bytes(b"rows")
    store.write_file(_KEY, path)
    store.write_bytes(_OTHER, b"rows")
    assert store.read_bytes(_KEY) == store.read_bytes(_OTHER) == b"rows"
    assert inner.asked == {"write": 1, "read": 2}


def test_memory_is_bounded(inner: _Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembering, "_MOST_BYTES", 10)
    store = RememberingStore(inner, _every_key, _anything)
    keys = [f"catalog/{number}.json" for number in range(5)]
    for key in keys:
        store.write_bytes(key, key.encode()[:4])
    assert [store.read_bytes(key) for key in keys] == [b"cata"] * 5
    assert inner.asked["read"] >= 3
