"""Tests of the cache of file digests."""

import hashlib
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from apex_pipeline.errors import FileChangedError
from apex_pipeline.storage import digest_cache as module
from apex_pipeline.storage.block_checksums import sums_of
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.file_hashing import FileState, file_state_of

_CONTENT = b"lap\n" * 1000
_DIGEST = hashlib.sha256(_CONTENT).hexdigest()
_LATER_NS = 10_000_000_000  # old enough for any digest to be cached


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "x.csv"
    path.write_bytes(_CONTENT)
    return path


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "state" / "fingerprints.sqlite"


def _open(database: Path | None) -> DigestCache:
    return DigestCache(database, now_ns=lambda: time.time_ns() + _LATER_NS)


def _bytes_hashed(digests: DigestCache, path: Path) -> int:
    hashed: list[int] = []
    digests.sha256_of(path, progress=hashed.append)
    return sum(hashed)


@pytest.mark.parametrize("is_kept", [True, False])
def test_an_unchanged_file_is_read_once(file: Path, database: Path, *, is_kept: bool) -> None:
    digests = _open(database if is_kept else None)
    assert digests.sha256_of(file) == _DIGEST
    assert _bytes_hashed(digests, file) == 0
    assert _bytes_hashed(_open(database), file) == (0 if is_kept else len(_CONTENT))


@pytest.mark.parametrize("change", ["size", "mtime", "replaced"])
def test_a_changed_file_is_read_again(file: Path, change: str) -> None:
    digests = _open(None)
    digests.sha256_of(file)
    before = file.stat()
    new = b"new\n" * (1000 if change != "size" else 999)
    if change == "replaced":
        file.rename(file.with_name("keeps_the_inode_taken"))
    file.write_bytes(new)
    if change != "mtime":
        os.utime(file, ns=(before.st_mtime_ns, before.st_mtime_ns))
    assert digests.digest_of(file) == (hashlib.sha256(new).hexdigest(), len(new), sums_of(new))


@pytest.mark.parametrize("is_kept", [True, False])
def test_block_checksums_are_cached_with_the_digest(file: Path, database: Path, *, is_kept: bool) -> None:
    digests = _open(database if is_kept else None)
    first = digests.digest_of(file)
    hashed: list[int] = []
    again = (_open(database) if is_kept else digests).digest_of(file, progress=hashed.append)
    assert first == again == (_DIGEST, len(_CONTENT), sums_of(_CONTENT))
    assert not hashed


def test_missing_block_checksums_are_computed_on_request(file: Path) -> None:
    digests = _open(None)
    digests.put_trusted(file, file_state_of(file.stat()), "trusted")
    assert digests.sha256_of(file) == "trusted"
    assert digests.digest_of(file) == (_DIGEST, len(_CONTENT), sums_of(_CONTENT))


@pytest.mark.parametrize(("age_ns", "is_kept"), [(0, False), (1_999_999_999, False), (2_000_000_000, True)])
def test_a_file_edited_within_the_last_two_seconds_is_not_cached(file: Path, age_ns: int, *, is_kept: bool) -> None:
    modified_ns = file.stat().st_mtime_ns
    digests = DigestCache(now_ns=lambda: modified_ns + age_ns)
    assert digests.sha256_of(file) == _DIGEST
    assert (digests.get(file, file_state_of(file.stat())) == _DIGEST) is is_kept


def test_a_trusted_digest_is_returned_without_reading_the_file(file: Path) -> None:
    digests = DigestCache()
    digests.put_trusted(file, file_state_of(file.stat()), _DIGEST)
    assert _bytes_hashed(digests, file) == 0


def test_nothing_is_created_before_the_first_use(database: Path) -> None:
    DigestCache(database)
    assert not database.parent.exists()


def test_a_missing_file_raises(tmp_path: Path) -> None:
    with pytest.raises(FileChangedError):
        DigestCache().sha256_of(tmp_path / "none")


def test_relative_and_absolute_paths_share_one_entry(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = _open(None)
    digests.sha256_of(file)
    monkeypatch.chdir(file.parent)
    assert _bytes_hashed(digests, Path(file.name)) == 0


def test_a_file_name_that_is_not_valid_unicode_is_cached(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.csv"))
    path.write_bytes(_CONTENT)
    digests = _open(None)
    digests.sha256_of(path)
    assert _bytes_hashed(digests, path) == 0


def test_a_64_bit_inode_is_cached(file: Path) -> None:
    state = FileState(1, 2, 2**64 - 1)
    digests = DigestCache()
    digests.put_trusted(file, state, _DIGEST)
    assert digests.get(file, state) == _DIGEST
    assert digests.get(file, FileState(1, 2, 2**63)) is None


def test_a_damaged_cache_is_recreated(file: Path, database: Path, caplog: pytest.LogCaptureFixture) -> None:
    database.parent.mkdir()
    database.write_bytes(b"this is not a database " * 100)
    assert _open(database).sha256_of(file) == _DIGEST
    assert "is damaged" in caplog.text
    assert _bytes_hashed(_open(database), file) == 0


def test_a_cache_damaged_while_in_use_is_recreated(
    file: Path, database: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = _open(database)
    digests.sha256_of(file)

    class Damaged:
        def execute(self, *_: object) -> None:
            raise sqlite3.DatabaseError("database disk image is malformed")

        def close(self) -> None:
            pass

    vars(digests)["_connection"].close()
    monkeypatch.setattr(digests, "_connection", Damaged())
    database.write_bytes(b"this is not a database " * 100)
    assert digests.sha256_of(file) == _DIGEST
    assert "is damaged" in caplog.text
    assert digests.sha256_of(file) == _DIGEST
    assert _bytes_hashed(_open(database), file) == 0


def test_an_unwritable_cache_only_costs_time(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    digests = _open(file / "below a file" / "x.sqlite")
    assert digests.sha256_of(file) == _DIGEST
    assert "cannot be used" in caplog.text
    assert _bytes_hashed(digests, file) == 0


def test_a_damaged_cache_that_cannot_be_removed_only_costs_time(
    file: Path, database: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.parent.mkdir()
    database.write_bytes(b"this is not a database " * 100)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    assert _open(database).sha256_of(file) == _DIGEST
    assert "cannot be used" in caplog.text


def test_a_cache_locked_by_another_process_is_bypassed(
    file: Path, database: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BUSY_S", 0.0)
    monkeypatch.setattr(module, "_BYPASS_S", 0.5)
    digests = _open(database)
    assert digests.get(file, file_state_of(file.stat())) is None
    holder = sqlite3.connect(database, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    for _ in range(20):
        assert digests.sha256_of(file) == _DIGEST
    assert caplog.text.count("cannot be used for 0 s (database is locked)") == 1
    holder.execute("ROLLBACK")
    holder.close()
    time.sleep(0.6)
    digests.sha256_of(file)
    assert _bytes_hashed(digests, file) == 0


def test_a_process_stopped_while_it_writes_blocks_no_reads(
    file: Path, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BUSY_S", 0.0)
    digests = _open(database)
    digests.sha256_of(file)
    holder = sqlite3.connect(database, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    digests.put_trusted(file.with_name("other"), FileState(1, 2, 3), _DIGEST)
    assert _bytes_hashed(digests, file) == 0
    holder.execute("ROLLBACK")
    holder.close()


def _truncate(database: Path, size: int) -> None:
    with database.open("r+b") as file:
        file.truncate(size)


_HARM: dict[str, Callable[[Path], object]] = {
    "empty": lambda database: database.write_bytes(b""),
    "zeros": lambda database: database.write_bytes(bytes(8192)),
    "garbage": lambda database: database.write_bytes(b"\xff\x00" * 4096),
    "cut at 16": lambda database: _truncate(database, 16),
    "cut at 100": lambda database: _truncate(database, 100),
    "cut at 4096": lambda database: _truncate(database, 4096),
    "cut at 6000": lambda database: _truncate(database, 6000),
    "a folder": lambda database: (database.unlink(), database.mkdir()),
    "a folder as log": lambda database: Path(f"{database}-wal").mkdir(),
    "another table": lambda database: _execute(
        database, "DROP TABLE fingerprints_3", "CREATE TABLE fingerprints_3 (a)"
    ),
    "a view": lambda database: _execute(
        database, "DROP TABLE fingerprints_3", "CREATE VIEW fingerprints_3 AS SELECT 1 AS path"
    ),
    "no digest": lambda database: _execute(database, "UPDATE fingerprints_3 SET sha256 = NULL"),
    "bytes as digest": lambda database: _execute(database, "UPDATE fingerprints_3 SET sha256 = x'00ff', sums = 1.5"),
    "another digest": lambda database: _execute(database, "UPDATE fingerprints_3 SET sha256 = hex(zeroblob(32))"),
}


def _execute(database: Path, *statements: str) -> None:
    connection = sqlite3.connect(database, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize("harm", _HARM)
def test_a_damaged_cache_never_gives_a_wrong_digest_or_an_error(file: Path, database: Path, harm: str) -> None:
    _open(database).sha256_of(file)
    _HARM[harm](database)
    digests = _open(database)
    assert digests.sha256_of(file) == digests.digest_of(file).sha256 == _DIGEST
    assert _bytes_hashed(digests, file) == 0
    digests.put_trusted(file, file_state_of(file.stat()), _DIGEST)


def test_flipped_bits_never_give_a_wrong_digest_or_an_error(file: Path, database: Path) -> None:
    _open(database).sha256_of(file)
    intact = database.read_bytes()
    random = np.random.default_rng(5)
    for count in [1, 1, 1, 5, 50] * 20:
        damaged = bytearray(intact)
        for position in random.integers(0, len(damaged), count):
            damaged[position] ^= 1 << int(random.integers(8))
        for suffix in ("-wal", "-shm"):
            Path(f"{database}{suffix}").unlink(missing_ok=True)
        database.write_bytes(damaged)
        digests = _open(database)
        assert digests.sha256_of(file) == digests.digest_of(file).sha256 == _DIGEST


def test_the_entries_of_the_previous_version_are_taken_over(file: Path, database: Path) -> None:
    _open(database).sha256_of(file)
    _execute(
        database,
        "CREATE TABLE fingerprints_2 (path BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER, inode INTEGER,"
        " ctime_ns INTEGER, sha256 TEXT, sums TEXT) WITHOUT ROWID",
        "INSERT INTO fingerprints_2 SELECT path, size, mtime_ns, inode, ctime_ns, sha256, sums FROM fingerprints_3",
        "DROP TABLE fingerprints_3",
    )
    assert _bytes_hashed(_open(database), file) == 0


@pytest.mark.parametrize(
    "code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR | 3 << 8, sqlite3.SQLITE_CANTOPEN]
)
def test_a_disk_that_is_full_or_read_only_is_logged_with_the_setting_and_only_costs_time(
    file: Path, database: Path, code: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = _open(database)
    digests.sha256_of(file)
    error = sqlite3.OperationalError("no more")
    error.sqlite_errorcode = code

    class Refusing:
        def execute(self, *_: object) -> None:
            raise error

        def close(self) -> None:
            raise AssertionError("the cache is intact")

    vars(digests)["_connection"].close()
    monkeypatch.setattr(digests, "_connection", Refusing())
    for _ in range(3):
        assert digests.sha256_of(file) == _DIGEST
    assert caplog.text.count("cannot be used for 60 s (no more)") == 2  # once for reads and once for writes
    assert "APEX_STATE_DIR" in caplog.text


def test_threads_share_one_cache(tmp_path: Path, database: Path) -> None:
    paths = [tmp_path / f"{number}.csv" for number in range(40)]
    for path in paths:
        path.write_bytes(path.name.encode())
    digests = _open(database)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(digests.sha256_of, paths))
    assert found == [hashlib.sha256(path.name.encode()).hexdigest() for path in paths]
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
