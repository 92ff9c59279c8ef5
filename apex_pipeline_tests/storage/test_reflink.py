"""Tests of copies that share blocks with their source. Most test machines have no such file system: it is imitated."""

import errno
import fcntl
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from apex_pipeline.errors import FileChangedError, StorageFullError, StoreCorruptionError
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.local import LocalStore

_CONTENT = b"lap,time\n1,97.428\n" * 100_000
_DIGEST = hashlib.sha256(_CONTENT).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "lake", DigestCache())


@pytest.fixture
def clones(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Imitate a file system that can share blocks; the sizes of the clones."""
    made: list[int] = []

    def clone(target: int, request: int, source: int) -> int:
        assert request == 0x40049409  # FICLONE of Linux
        content = os.pread(source, 100_000_000, 0)
        os.pwrite(target, content, 0)
        made.append(len(content))
        return 0

    monkeypatch.setattr(fcntl, "ioctl", clone)
    return made


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of what is hashed from now on."""
    sizes: list[int] = []
    real = hashlib.sha256

    class Counting:
        def __init__(self, content: bytes = b"") -> None:
            self._digest = real(content)
            sizes.append(len(content))

        def update(self, content: bytes) -> None:
            self._digest.update(content)
            sizes.append(len(content))

        def hexdigest(self) -> str:
            return self._digest.hexdigest()

    monkeypatch.setattr(hashlib, "sha256", Counting)
    return sizes


def _refusing(number: int) -> Callable[..., int]:
    def ioctl(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    return ioctl


def test_shared_blocks_are_neither_read_nor_hashed(
    store: LocalStore, clones: list[int], request: pytest.FixtureRequest
) -> None:
    store.write_bytes("objects/x", _CONTENT)
    hashed: list[int] = request.getfixturevalue("hashed")
    copied = store.copy("objects/x", "tables/x")
    assert clones == [len(_CONTENT)]
    assert sum(hashed) < 1000
    assert copied.sha256 == _DIGEST
    assert copied == store.head("tables/x")
    assert store.read_bytes("tables/x") == _CONTENT


def test_a_digest_that_is_not_known_is_computed_from_shared_blocks(
    store: LocalStore, clones: list[int], tmp_path: Path
) -> None:
    store.write_bytes("objects/x", _CONTENT)
    other = LocalStore(tmp_path / "lake", DigestCache())
    assert other.copy("objects/x", "tables/x").sha256 == _DIGEST
    assert len(clones) == 1


def test_a_digest_of_an_earlier_state_of_the_file_is_not_trusted(
    store: LocalStore, clones: list[int], tmp_path: Path
) -> None:
    store.write_bytes("objects/x", b"old")
    (tmp_path / "lake/objects/x").write_bytes(_CONTENT)
    assert store.copy("objects/x", "tables/x").sha256 == _DIGEST


def test_a_copy_is_independent_of_its_source(store: LocalStore, clones: list[int]) -> None:
    store.write_bytes("objects/x", _CONTENT)
    store.copy("objects/x", "tables/x")
    store.write_bytes("objects/x", b"new")
    assert store.read_bytes("tables/x") == _CONTENT


def test_a_source_edited_while_it_is_copied_is_detected(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write_bytes("objects/x", _CONTENT)

    def edit(*_: object) -> int:
        (tmp_path / "lake/objects/x").write_bytes(b"edited")
        return 0

    monkeypatch.setattr(fcntl, "ioctl", edit)
    with pytest.raises(FileChangedError, match=r"objects/x was changed or replaced meanwhile"):
        store.copy("objects/x", "tables/x")
    assert store.head("tables/x") is None


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS])
def test_bytes_are_copied_and_verified_where_blocks_cannot_be_shared(
    store: LocalStore, number: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fcntl, "ioctl", _refusing(number))
    written = store.write_bytes("objects/x", _CONTENT)
    assert store.copy("objects/x", "tables/x").sha256 == _DIGEST
    assert store.read_bytes("tables/x") == _CONTENT
    path = tmp_path / "lake/objects/x"
    path.write_bytes(b"?" + _CONTENT[1:])
    os.utime(path, ns=(0, int(written.tag.split("-")[1])))
    with pytest.raises(StoreCorruptionError, match=r"objects/x is damaged"):
        store.copy("objects/x", "tables/y")
    assert store.head("tables/y") is None


def test_a_disk_that_is_full_is_reported(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write_bytes("objects/x", _CONTENT)
    monkeypatch.setattr(fcntl, "ioctl", _refusing(errno.ENOSPC))
    with pytest.raises(StorageFullError, match="Writing tables/x"):
        store.copy("objects/x", "tables/x")
    assert store.incomplete_uploads() == []
