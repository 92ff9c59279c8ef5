"""Tests of the local store that go beyond the contract shared by all stores."""

import errno
import hashlib
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from apex_pipeline.errors import (
    FileChangedError,
    NameClashError,
    ObjectMissingError,
    StorageFullError,
    StoreConfigError,
    StoreCorruptionError,
    StoreError,
    StorePermissionError,
    StoreUnavailableError,
)
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.file_hashing import file_state_of
from apex_pipeline.storage.keys import UnsafeKeyError
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.storage.os_errors import from_os_error
from apex_pipeline.storage.processes import process_scope

_UNUSED_PROCESS_ID = 2**22 + 1  # above the highest process id that Linux assigns


def test_what_is_not_a_regular_file_is_missing_and_never_waited_for(root: Path) -> None:
    store = LocalStore(root, DigestCache())
    store.prepare_for_writing()
    os.mkfifo(root / "pipe")
    (root / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "s"))
        for key in ("pipe", "loop", "s"):
            assert store.read_with_tag(key) is None
            assert store.head(key) is None


def test_a_link_that_leads_to_itself_is_replaced(root: Path) -> None:
    store = LocalStore(root, DigestCache())
    store.prepare_for_writing()
    (root / "loop").symlink_to("loop")
    store.write_bytes("loop", b"content")
    assert store.read_bytes("loop") == b"content"


def test_damage_that_changes_no_time_shows_once_the_object_is_distrusted(root: Path) -> None:
    store = LocalStore(root, DigestCache())
    store.prepare_for_writing()
    store.write_bytes("a", b"content")
    status = (root / "a").stat()
    (root / "a").write_bytes(b"confent")
    os.utime(root / "a", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert [item.sha256 for item in store.list()] == [hashlib.sha256(b"content").hexdigest()]
    store.distrust("a")
    assert [item.sha256 for item in store.list()] == [None]
    found = store.head("a")
    assert found is not None
    assert found.sha256 == hashlib.sha256(b"confent").hexdigest()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "lake"


@pytest.fixture
def store(root: Path) -> LocalStore:
    store = LocalStore(root, DigestCache())
    store.prepare_for_writing()
    return store


def _failing(error: OSError) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, StorageFullError),
        (errno.EDQUOT, StorageFullError),
        (errno.EACCES, StorePermissionError),
        (errno.EROFS, StorePermissionError),
        (errno.ENAMETOOLONG, StoreError),
        (errno.ENOTDIR, NameClashError),
        (errno.ESTALE, StoreUnavailableError),
        (errno.EIO, StoreError),
        (None, StoreError),
    ],
)
def test_os_errors_are_translated(number: int | None, expected: type[Exception]) -> None:
    error = OSError("odd") if number is None else OSError(number, os.strerror(number))
    translated = from_os_error(error, "Writing data/x.csv")
    assert type(translated) is expected
    assert translated.problem.startswith("Writing data/x.csv failed: ")
    assert translated.hint


@pytest.mark.parametrize(
    ("error", "expected"),
    [(OSError(errno.ENOSPC, "No space left on device"), StorageFullError),
     (PermissionError(errno.EACCES, "Permission denied"), StorePermissionError)],
)  # fmt: skip
def test_a_failed_write_keeps_the_old_object_and_leaves_no_files(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, expected: type[StoreError]
) -> None:
    store.write_bytes("data/x.csv", b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _failing(error))
        with pytest.raises(expected, match=r"Writing data/x\.csv"):
            store.write_bytes("data/x.csv", b"new")
    assert store.read_bytes("data/x.csv") == b"old"
    assert [path for path in root.rglob("*") if path.is_file()] == [root / "data" / "x.csv"]


def test_an_object_is_synced_to_disk_before_it_is_visible(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    was_visible: list[bool] = []
    fsync = os.fsync

    def record_visibility(handle: int) -> None:
        was_visible.append((root / "data" / "x.csv").exists())
        fsync(handle)

    store.write_bytes("data/y.csv", b"")
    monkeypatch.setattr(os, "fsync", record_visibility)
    store.write_bytes("data/x.csv", b"new")
    # The content is synced before the rename, and the folder after it.
    assert was_visible == [False, True]


def test_a_killed_write_keeps_the_old_object_and_is_cleaned_up_by_the_next_writer(
    store: LocalStore, root: Path, tmp_path: Path
) -> None:
    store.write_bytes("data/x.csv", b"old")
    source = tmp_path / "source.csv"
    source.write_bytes(b"new" * 1_000_000)
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from apex_pipeline.storage.digest_cache import DigestCache\n"
        "from apex_pipeline.storage.local import LocalStore\n"
        "die = lambda moved: os.kill(os.getpid(), signal.SIGKILL)\n"
        "LocalStore(Path(sys.argv[1]), DigestCache()).write_file('data/x.csv', Path(sys.argv[2]), progress=die)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    killed = subprocess.run([sys.executable, "-c", program, root, source], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert store.read_bytes("data/x.csv") == b"old"
    assert [stored.key for stored in store.list()] == ["data/x.csv"]
    assert len(list((root / ".incoming").iterdir())) == 1
    LocalStore(root, DigestCache()).list()
    assert len(list((root / ".incoming").iterdir())) == 1
    LocalStore(root, DigestCache()).prepare_for_writing()
    assert not list((root / ".incoming").iterdir())


@pytest.mark.parametrize(
    ("name", "age_s", "is_kept"),
    [
        ("HERE.SELF.ab", 60, True),
        ("HERE.1.ab", 60, True),
        ("HERE.ENDED.ab", 0, False),
        ("HOST.another-container.ENDED.ab", 60, True),
        ("HOST.another-container.ENDED.ab", 25 * 3600, False),
        ("HOST.ENDED.ab", 60, True),
        ("another.machine.ENDED.ab", 60, True),
        ("another.machine.ENDED.ab", 25 * 3600, False),
        ("something else", 60, True),
    ],
)
def test_only_abandoned_files_are_cleaned_up(
    store: LocalStore, root: Path, name: str, age_s: int, *, is_kept: bool
) -> None:
    for word, value in {
        "HERE": process_scope(),
        "HOST": socket.gethostname(),
        "SELF": os.getpid(),
        "ENDED": _UNUSED_PROCESS_ID,
    }.items():
        name = name.replace(word, str(value))  # not in the parameter: pytest-xdist workers must agree on it
    leftover = root / ".incoming" / name
    leftover.write_bytes(b"half")
    modified = time.time() - age_s
    os.utime(leftover, (modified, modified))
    store.prepare_for_writing()
    assert leftover.exists() is is_kept


def test_a_running_process_of_another_user_counts_as_alive(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leftover = root / ".incoming" / f"{process_scope()}.{_UNUSED_PROCESS_ID}.ab"
    leftover.touch()
    monkeypatch.setattr(os, "kill", _failing(PermissionError()))
    store.prepare_for_writing()
    assert leftover.exists()


def test_a_leftover_removed_by_another_process_is_not_an_error(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leftover = root / ".incoming" / "gone"
    listed: list[Path] = []

    def list_missing_file(folder: Path) -> Iterator[Path]:
        listed.append(folder)
        return iter([leftover])

    monkeypatch.setattr(Path, "iterdir", list_missing_file)
    store.prepare_for_writing()
    assert listed == [root / ".incoming"]
    assert not leftover.exists()


def test_a_lake_path_that_is_a_file_raises(root: Path) -> None:
    root.write_bytes(b"")
    with pytest.raises(StoreConfigError, match="is a file, not a folder"):
        LocalStore(root, DigestCache()).prepare_for_writing()


def test_changing_the_working_directory_does_not_change_the_lake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(Path("lake"), DigestCache())
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    store.write_bytes("data/x.csv", b"")
    assert (tmp_path / "lake" / "data" / "x.csv").exists()
    assert store.uri == str(tmp_path / "lake")


def test_keys_that_clash_with_a_folder_or_a_file_are_refused(store: LocalStore) -> None:
    store.write_bytes("d/e", b"")
    with pytest.raises(StoreError, match=r"Writing d to .* failed: there is a folder"):
        store.write_bytes("d", b"")
    with pytest.raises(StoreError, match="A folder and a file cannot have the same name"):
        store.write_bytes("d/e/f", b"")


def test_the_error_for_a_long_file_name_states_the_limit(store: LocalStore) -> None:
    with pytest.raises(StoreError, match="255 bytes per name"):
        store.write_bytes(f"data/{'x' * 300}", b"")
    with pytest.raises(StoreError, match="255 bytes per name"):
        store.head(f"data/{'x' * 300}")


@pytest.mark.parametrize("key", ["data/link/x.csv", "data/link"])
def test_a_symbolic_link_out_of_the_lake_is_not_followed(
    store: LocalStore, root: Path, tmp_path: Path, key: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.csv").write_bytes(b"secret")
    (root / "data").mkdir()
    (root / "data" / "link").symlink_to(outside)
    (root / "data" / "link to file").symlink_to(outside / "x.csv")
    with pytest.raises(UnsafeKeyError, match="leads outside the lake"):
        store.read_bytes(key)
    with pytest.raises(UnsafeKeyError, match="leads outside the lake"):
        store.write_bytes(key, b"")
    assert not list(store.list())


def test_listing_skips_names_that_are_not_valid_keys_with_a_warning(
    store: LocalStore, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.write_bytes("data/x.csv", b"")
    (root / "data" / "a\\b.csv").touch()
    with caplog.at_level(logging.WARNING):
        assert [stored.key for stored in store.list()] == ["data/x.csv"]
    assert "a\\\\b.csv" in caplog.text


def test_an_incomplete_listing_is_an_error(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write_bytes("data/x.csv", b"")
    monkeypatch.setattr(os, "scandir", _failing(PermissionError(errno.EACCES, "Permission denied")))
    with pytest.raises(StorePermissionError, match="Listing"):
        list(store.list())


def test_a_file_removed_while_listing_is_skipped(store: LocalStore) -> None:
    store.write_bytes("data/a.csv", b"")
    store.write_bytes("data/b.csv", b"")
    listing = store.list()
    assert next(listing).key == "data/a.csv"
    store.delete("data/b.csv")
    assert not list(listing)


def test_a_listing_includes_cached_digests(store: LocalStore, root: Path) -> None:
    written = store.write_bytes("data/a.csv", b"a")
    (root / "data" / "b.csv").write_bytes(b"b")
    assert [(stored.key, stored.sha256) for stored in store.list()] == [
        ("data/a.csv", written.sha256),
        ("data/b.csv", None),
    ]
    found = store.head("data/b.csv")
    assert found is not None
    assert found.sha256 == hashlib.sha256(b"b").hexdigest()


def test_head_describes_the_new_object_if_it_is_replaced_during_the_call(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write_bytes("data/x.csv", b"old")
    sha256_of = DigestCache.sha256_of
    replacing = iter([b"new, and longer"])

    def replace_once(digests: DigestCache, path: Path) -> str:
        digest = sha256_of(digests, path)
        for content in replacing:
            store.write_bytes("data/x.csv", content)
        return digest

    monkeypatch.setattr(DigestCache, "sha256_of", replace_once)
    found = store.head("data/x.csv")
    assert found is not None
    assert (found.size, found.sha256) == (15, hashlib.sha256(b"new, and longer").hexdigest())


@pytest.mark.parametrize("is_deleted", [True, False])
def test_head_of_a_changing_object_returns_none_if_deleted_and_otherwise_raises(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, *, is_deleted: bool
) -> None:
    store.write_bytes("data/x.csv", b"old")

    def change(*_: object) -> str:
        if is_deleted:
            store.delete("data/x.csv")
        raise FileChangedError("data/x.csv changed.", "Again.")

    monkeypatch.setattr(DigestCache, "sha256_of", change)
    if is_deleted:
        assert store.head("data/x.csv") is None
    else:
        with pytest.raises(FileChangedError):
            store.head("data/x.csv")


def test_an_unreadable_object_is_a_permission_error(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write_bytes("data/x.csv", b"old")
    refuse = _failing(PermissionError(errno.EACCES, "Permission denied"))
    monkeypatch.setattr("apex_pipeline.storage.local.open_regular", refuse)
    with pytest.raises(StorePermissionError, match=r"Reading data/x\.csv"):
        store.read_bytes("data/x.csv")


def test_a_source_edited_while_it_is_copied_keeps_the_old_object(store: LocalStore, tmp_path: Path) -> None:
    store.write_bytes("data/x.csv", b"old")
    source = tmp_path / "source.csv"
    source.write_bytes(b"0" * 2_000_000)

    def edit(_: int) -> None:
        with source.open("ab") as file:
            file.write(b"1")

    with pytest.raises(FileChangedError, match="changed while it was read"):
        store.write_file("data/x.csv", source, progress=edit)
    assert store.read_bytes("data/x.csv") == b"old"


def test_concurrent_writers_of_a_key_keep_content_and_digest_consistent(root: Path, tmp_path: Path) -> None:
    digests = DigestCache()
    first, second = LocalStore(root, digests), LocalStore(root, digests)
    source = tmp_path / "source.csv"
    source.write_bytes(b"first")
    # The second writer finishes while the first is still copying; the first then replaces its object.
    first.write_file("data/x.csv", source, progress=lambda _: second.write_bytes("data/x.csv", b"second") and None)
    path = root / "data" / "x.csv"
    assert path.read_bytes() == b"first"
    assert digests.get(path, file_state_of(path.stat())) == hashlib.sha256(b"first").hexdigest()


def test_the_error_for_a_missing_object_names_the_lake(store: LocalStore, root: Path) -> None:
    with pytest.raises(ObjectMissingError, match=f"not in the lake {root}"):
        store.read_bytes("data/none.csv")


def test_damage_is_detected_in_an_object_that_was_copied_before(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write_bytes("data/x.csv", b"lap 1")
    later = time.time_ns() + 10**10
    monkeypatch.setattr(time, "time_ns", lambda: later)  # long enough after the write for the digest to be cached
    store.copy("data/x.csv", "history/x.csv")
    path = root / "data" / "x.csv"
    before = path.stat()
    path.write_bytes(b"lap 2")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(StoreCorruptionError, match="is damaged"):
        store.read_bytes("data/x.csv")
