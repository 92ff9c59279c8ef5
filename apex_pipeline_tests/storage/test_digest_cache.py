"""Tests of remembered digests."""

import hashlib
import logging
import os
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from apex_pipeline.errors import FileChangedError
from apex_pipeline.storage import digest_cache as module
from apex_pipeline.storage.block_checksums import sums_of
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.file_hashing import FileState, file_state_of

_CONTENT = b"lap\n" * 1000
_DIGEST = hashlib.sha256(_CONTENT).hexdigest()
_LATER = 10_000_000_000  # ns; any file is settled by then


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "x.csv"
    path.write_bytes(_CONTENT)
    return path


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "state" / "fingerprints.sqlite"


def _open(database: Path | None) -> DigestCache:
    return DigestCache(database, now_ns=lambda: time.time_ns() + _LATER)


def _bytes_hashed(fingerprints: DigestCache, path: Path) -> int:
    moved: list[int] = []
    fingerprints.sha256_of(path, progress=moved.append)
    return sum(moved)


@pytest.mark.parametrize("is_kept", [True, False])
def test_an_unchanged_file_is_read_once(file: Path, database: Path, *, is_kept: bool) -> None:
    fingerprints = _open(database if is_kept else None)
    assert fingerprints.sha256_of(file) == _DIGEST
    assert _bytes_hashed(fingerprints, file) == 0
    assert _bytes_hashed(_open(database), file) == (0 if is_kept else len(_CONTENT))


@pytest.mark.parametrize("change", ["size", "mtime", "replaced"])
def test_a_changed_file_is_read_again(file: Path, change: str) -> None:
    fingerprints = _open(None)
    fingerprints.sha256_of(file)
    before = file.stat()
    new = b"new\n" * (1000 if change != "size" else 999)
    if change == "replaced":
        file.rename(file.with_name("keeps_the_inode_taken"))
    file.write_bytes(new)
    if change != "mtime":
        os.utime(file, ns=(before.st_mtime_ns, before.st_mtime_ns))
    assert fingerprints.digest_of(file) == (hashlib.sha256(new).hexdigest(), len(new), sums_of(new))


@pytest.mark.parametrize("is_kept", [True, False])
def test_block_sums_are_remembered_with_the_digest(file: Path, database: Path, *, is_kept: bool) -> None:
    fingerprints = _open(database if is_kept else None)
    first = fingerprints.digest_of(file)
    moved: list[int] = []
    again = (_open(database) if is_kept else fingerprints).digest_of(file, progress=moved.append)
    assert first == again == (_DIGEST, len(_CONTENT), sums_of(_CONTENT))
    assert not moved


def test_block_sums_of_a_file_known_by_its_digest_alone_are_made_when_they_are_asked_for(file: Path) -> None:
    fingerprints = _open(None)
    fingerprints.put_trusted(file, file_state_of(file.stat()), "taken on trust")
    assert fingerprints.sha256_of(file) == "taken on trust"
    assert fingerprints.digest_of(file) == (_DIGEST, len(_CONTENT), sums_of(_CONTENT))


@pytest.mark.parametrize(("age_ns", "is_kept"), [(0, False), (1_999_999_999, False), (2_000_000_000, True)])
def test_a_file_edited_within_the_last_two_seconds_is_not_remembered(file: Path, age_ns: int, *, is_kept: bool) -> None:
    modified_ns = file.stat().st_mtime_ns
    fingerprints = DigestCache(now_ns=lambda: modified_ns + age_ns)
    assert fingerprints.sha256_of(file) == _DIGEST
    assert (fingerprints.get(file, file_state_of(file.stat())) == _DIGEST) is is_kept


def test_the_writer_of_a_file_is_believed(file: Path) -> None:
    fingerprints = DigestCache()
    fingerprints.put_trusted(file, file_state_of(file.stat()), _DIGEST)
    assert _bytes_hashed(fingerprints, file) == 0


def test_nothing_is_made_before_the_first_use(database: Path) -> None:
    DigestCache(database)
    assert not database.parent.exists()


def test_a_missing_file_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(FileChangedError):
        DigestCache().sha256_of(tmp_path / "none")


def test_a_relative_and_an_absolute_path_are_the_same_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fingerprints = _open(None)
    fingerprints.sha256_of(file)
    monkeypatch.chdir(file.parent)
    assert _bytes_hashed(fingerprints, Path(file.name)) == 0


def test_a_name_that_is_no_unicode_is_remembered_too(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.csv"))
    path.write_bytes(_CONTENT)
    fingerprints = _open(None)
    fingerprints.sha256_of(path)
    assert _bytes_hashed(fingerprints, path) == 0


def test_an_inode_of_64_bits_is_remembered(file: Path) -> None:
    mark = FileState(1, 2, 2**64 - 1)
    fingerprints = DigestCache()
    fingerprints.put_trusted(file, mark, _DIGEST)
    assert fingerprints.get(file, mark) == _DIGEST
    assert fingerprints.get(file, FileState(1, 2, 2**63)) is None


def test_a_damaged_cache_is_made_new(file: Path, database: Path, caplog: pytest.LogCaptureFixture) -> None:
    database.parent.mkdir()
    database.write_bytes(b"this is no database " * 100)
    assert _open(database).sha256_of(file) == _DIGEST
    assert "are damaged" in caplog.text
    assert _bytes_hashed(_open(database), file) == 0


def test_a_cache_damaged_in_use_is_made_new(
    file: Path, database: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    fingerprints = _open(database)
    fingerprints.sha256_of(file)

    class Damaged:
        def execute(self, *_: object) -> None:
            raise sqlite3.DatabaseError("database disk image is malformed")

        def close(self) -> None:
            pass

    vars(fingerprints)["_connection"].close()
    monkeypatch.setattr(fingerprints, "_connection", Damaged())
    database.write_bytes(b"this is no database " * 100)
    assert fingerprints.sha256_of(file) == _DIGEST
    assert "are damaged" in caplog.text
    assert fingerprints.sha256_of(file) == _DIGEST
    assert _bytes_hashed(_open(database), file) == 0


def test_a_cache_that_cannot_be_written_costs_time_only(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    fingerprints = _open(file / "below a file" / "x.sqlite")
    assert fingerprints.sha256_of(file) == _DIGEST
    assert "cannot be kept" in caplog.text
    assert _bytes_hashed(fingerprints, file) == 0


def test_a_damaged_cache_that_cannot_be_removed_costs_time_only(
    file: Path, database: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.parent.mkdir()
    database.write_bytes(b"this is no database " * 100)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    assert _open(database).sha256_of(file) == _DIGEST
    assert "cannot be kept" in caplog.text


def test_a_cache_another_process_holds_is_gone_without(
    file: Path, database: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BUSY_S", 0.0)
    fingerprints = _open(database)
    assert fingerprints.get(file, file_state_of(file.stat())) is None
    holder = sqlite3.connect(database, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with caplog.at_level(logging.DEBUG):
        assert fingerprints.sha256_of(file) == _DIGEST
    assert "not available now" in caplog.text
    holder.execute("ROLLBACK")
    holder.close()
    fingerprints.sha256_of(file)
    assert _bytes_hashed(fingerprints, file) == 0


def test_threads_share_one_cache(tmp_path: Path, database: Path) -> None:
    paths = [tmp_path / f"{number}.csv" for number in range(40)]
    for path in paths:
        path.write_bytes(path.name.encode())
    fingerprints = _open(database)
    with ThreadPoolExecutor(8) as pool:
        digests = list(pool.map(fingerprints.sha256_of, paths))
    assert digests == [hashlib.sha256(path.name.encode()).hexdigest() for path in paths]
    assert sum(_bytes_hashed(_open(database), path) for path in paths) == 0


def test_processes_share_one_cache(tmp_path: Path, database: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from apex_pipeline.storage.digest_cache import DigestCache\n"
        "cache = DigestCache(Path(sys.argv[1]), now_ns=lambda: time.time_ns() + 10**10)\n"
        "[cache.sha256_of(Path(name)) for name in sys.argv[2:]]\n"
    )
    paths = [tmp_path / f"{number}.csv" for number in range(30)]
    for path in paths:
        path.write_bytes(path.name.encode())
    command = [sys.executable, "-c", program, str(database)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    running = [subprocess.Popen([*command, *map(str, chosen)], env=environment) for chosen in (paths[:20], paths[10:])]
    assert [process.wait() for process in running] == [0, 0]
    assert sum(_bytes_hashed(_open(database), path) for path in paths) == 0
