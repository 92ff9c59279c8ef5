"""Tests of the lock of a local lake, and of the tags that versions of an object get under it."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from apex_pipeline.errors import StoreConfigError, StoreLockedError
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.keys import INCOMING
from apex_pipeline.storage.lake_lock import LOCK_NAME, LakeLock, advance_mtime
from apex_pipeline.storage.local import LocalStore

_KEY = "catalog/current.json"
_LONG_AGO_NS = 1_000_000_000_000_000_000
_HOLD = """
import sys, time
from pathlib import Path
from apex_pipeline.storage.lake_lock import LakeLock
with LakeLock(Path(sys.argv[1])).hold():
    print("held", flush=True)
    time.sleep(600)
"""
_ADD = """
import sys
from pathlib import Path
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.local import LocalStore
store = LocalStore(Path(sys.argv[1]), DigestCache())
for _ in range(100):
    while True:
        content, tag = store.read_with_tag("counter") or (b"0", None)
        if store.write_if("counter", str(int(content) + 1).encode(), tag) is not None:
            break
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "lake"


@pytest.fixture
def store(root: Path) -> LocalStore:
    store = LocalStore(root, DigestCache())
    store.prepare_for_writing()
    return store


@pytest.fixture
def lock_file(root: Path, store: LocalStore) -> Path:
    return root / INCOMING / LOCK_NAME


@contextmanager
def _other_process_holds(lock_file: Path) -> Generator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", _HOLD, str(lock_file)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


# -- tags -----------------------------------------------------------------------------------------------------------


def _write_if(store: LocalStore) -> str:
    found = store.read_with_tag(_KEY)
    written = store.write_if(_KEY, b"same size", None if found is None else found[1])
    assert written is not None
    return written.tag


def _write_bytes(store: LocalStore) -> str:
    return store.write_bytes(_KEY, b"same size").tag


def _remove_and_write(store: LocalStore) -> str:
    store.delete(_KEY)
    written = store.write_if(_KEY, b"same size", None)
    assert written is not None
    return written.tag


@pytest.mark.parametrize("write", [_write_if, _write_bytes, _remove_and_write])
def test_2000_rapid_rewrites_have_2000_tags(
    store: LocalStore, write: Callable[[LocalStore], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without waiting for the disk, several writes happen within one tick of the clock, and inodes are reused.
    monkeypatch.setattr("os.fsync", lambda _: None)
    tags = [write(store) for _ in range(2000)]
    assert len(set(tags)) == len(tags)
    found = store.head(_KEY)
    assert found is not None
    assert found.tag == tags[-1]


@pytest.mark.parametrize("write", [_write_if, _write_bytes])
def test_tags_differ_although_the_clock_stands_still_and_the_inode_is_reused(
    store: LocalStore, root: Path, write: Callable[[LocalStore], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The worst case of a file system: every new file has the same time.
    real_stat = Path.stat

    def stat(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if path.parent.name == INCOMING and path.name != LOCK_NAME and path not in seen:
            seen.add(path)
            os.utime(path, ns=(_LONG_AGO_NS, _LONG_AGO_NS))
        return real_stat(path, follow_symlinks=follow_symlinks)

    seen: set[Path] = set()
    monkeypatch.setattr(Path, "stat", stat)
    times = [write(store).split("-")[1] for _ in range(20)]
    assert times == sorted(set(times), key=int)


def test_a_version_is_later_than_one_that_was_removed(store: LocalStore, root: Path) -> None:
    first = _write_if(store)
    in_a_second_ns = time.time_ns() + 1_000_000_000
    os.utime(root / _KEY, ns=(in_a_second_ns, in_a_second_ns))
    second = _write_if(store)
    third = _remove_and_write(store)
    assert in_a_second_ns < int(second.split("-")[1]) < int(third.split("-")[1])
    assert first not in {second, third}


def test_a_clock_that_was_far_ahead_and_set_back_does_no_lasting_harm(store: LocalStore, root: Path) -> None:
    _write_if(store)
    tomorrow_ns = time.time_ns() + 24 * 3600 * 1_000_000_000
    os.utime(root / _KEY, ns=(tomorrow_ns, tomorrow_ns))
    first = store.read_with_tag(_KEY)
    assert first is not None
    for write in (_write_if, _write_bytes, _remove_and_write):
        assert abs(int(write(store).split("-")[1]) - time.time_ns()) < 60 * 1_000_000_000
    assert store.write_if(_KEY, b"same size", first[1]) is None


@pytest.mark.parametrize("granularity_ns", [1, 100, 1_000, 1_000_000, 1_000_000_000, 2_000_000_000])
def test_a_time_is_advanced_on_every_kind_of_file_system(
    tmp_path: Path, granularity_ns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.touch()
    real_utime = os.utime

    def utime(path: Path, *, ns: tuple[int, int]) -> None:
        real_utime(path, ns=(ns[0], ns[1] // granularity_ns * granularity_ns))

    utime(path, ns=(0, _LONG_AGO_NS))
    monkeypatch.setattr("os.utime", utime)
    assert advance_mtime(path, _LONG_AGO_NS).st_mtime_ns > _LONG_AGO_NS
    assert advance_mtime(path, _LONG_AGO_NS).st_mtime_ns == path.stat().st_mtime_ns


# -- the lock -------------------------------------------------------------------------------------------------------


def test_the_lock_is_neither_an_object_nor_an_unfinished_write(store: LocalStore, lock_file: Path) -> None:
    _write_if(store)
    long_ago_s = time.time() - 10 * 24 * 3600
    os.utime(lock_file, (long_ago_s, long_ago_s))
    assert [found.key for found in store.list()] == [_KEY]
    assert store.incomplete_uploads() == []
    store.prepare_for_writing()
    assert lock_file.exists()


def test_a_lock_that_is_held_for_too_long_is_reported_with_its_holder(
    store: LocalStore, lock_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apex_pipeline.storage.local.LakeLock", lambda path: LakeLock(path, timeout_s=0.3))
    store = LocalStore(Path(store.uri), DigestCache())
    with _other_process_holds(lock_file) as holder:
        with pytest.raises(StoreLockedError) as raised:
            store.write_if(_KEY, b"one", None)
        assert f"{lock_file} has been locked for more than 0.3 s by process {holder.pid} on " in raised.value.problem
        assert not raised.value.is_permanent
        with pytest.raises(StoreLockedError):
            store.write_if(_KEY, b"two", "any")
        assert store.head(_KEY) is None
        store.write_bytes(_KEY, b"plain writes and reads need no lock")
        assert list(lock_file.parent.iterdir()) == [lock_file]


def test_the_lock_of_a_killed_process_is_free_at_once(store: LocalStore, lock_file: Path) -> None:
    with _other_process_holds(lock_file) as holder:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        begun_s = time.monotonic()
        assert store.write_if(_KEY, b"one", None) is not None
        assert time.monotonic() - begun_s < 5


def test_the_lock_is_free_although_a_child_of_its_holder_lives_on(store: LocalStore, lock_file: Path) -> None:
    with LakeLock(lock_file).hold():
        child = os.fork()
        if child == 0:  # pragma: no cover
            time.sleep(60)
            os._exit(0)
    try:
        assert store.write_if(_KEY, b"one", None) is not None
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_lock_file_removed_while_it_is_held_still_excludes_the_others(lock_file: Path) -> None:
    with LakeLock(lock_file).hold():
        lock_file.unlink()
        with LakeLock(lock_file).hold() as second:  # a new file: the holder of the old one no longer counts
            assert second is not None
            with pytest.raises(StoreLockedError), LakeLock(lock_file, timeout_s=0.05).hold():
                pass


def test_a_lock_file_replaced_while_waiting_is_opened_again(lock_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_flock = fcntl.flock
    opened: list[int] = []

    def flock(handle: int, operation: int) -> None:
        opened.append(handle)
        if len(opened) == 1:
            lock_file.unlink()
        real_flock(handle, operation)

    monkeypatch.setattr("fcntl.flock", flock)
    with LakeLock(lock_file).hold():
        assert len(opened) == 2
        assert lock_file.exists()


@pytest.mark.parametrize(
    "note", [b"", b"garbage", b"\xff\xfe\x00", b"9" * 400, b"9" * 19, b"-5 x", b"12 \x1b[31mred", b"x" * 100_000]
)
def test_a_damaged_lock_file_does_no_harm(store: LocalStore, lock_file: Path, note: bytes) -> None:
    lock_file.write_bytes(note)
    written = store.write_if(_KEY, b"one", None)
    assert written is not None
    assert abs(int(written.tag.split("-")[1]) - time.time_ns()) < 60 * 1_000_000_000
    assert lock_file.stat().st_size < 400


def test_a_file_system_without_locks_is_reported(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(StoreConfigError, match="this file system has no file locks"):
        store.write_if(_KEY, b"one", None)


def test_processes_that_count_at_the_same_time_lose_nothing(store: LocalStore, root: Path) -> None:
    processes = [subprocess.Popen([sys.executable, "-c", _ADD, str(root)]) for _ in range(4)]
    assert [process.wait(120) for process in processes] == [0] * 4
    assert store.read_bytes("counter") == b"400"


def test_a_file_edited_in_place_while_it_is_read_is_read_again(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_bytes(store)
    edits: list[int] = []
    real_fstat = os.fstat

    def fstat(handle: int) -> os.stat_result:
        status = real_fstat(handle)
        if len(edits) < 2 and Path(f"/proc/self/fd/{handle}").readlink() == root / _KEY:
            edits.append(handle)
            (root / _KEY).write_bytes(b"edited in place %d" % len(edits))
        return status

    monkeypatch.setattr("os.fstat", fstat)
    assert (store.read_with_tag(_KEY) or (b"", ""))[0] == b"edited in place 2"
