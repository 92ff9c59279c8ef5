"""Tests of temporary folders: private, removed with the process, and cleaned up after killed processes."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from apex_pipeline.errors import ApexError, StorageFullError, StoreError, StorePermissionError
from apex_pipeline.storage.temp_dirs import process_temp_dir

_PROGRAM = """
import sys, time
from pathlib import Path
from apex_pipeline.storage.temp_dirs import process_temp_dir
folder = process_temp_dir(Path(sys.argv[1]))
(folder / "left.bin").write_bytes(b"x")
print(folder, flush=True)
time.sleep(float(sys.argv[2]))
"""


def start_process(base: Path, seconds: float) -> tuple[subprocess.Popen[str], Path]:
    """Start a process with its own folder; return the process and the folder."""
    process = subprocess.Popen([sys.executable, "-c", _PROGRAM, base, str(seconds)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    return process, Path(process.stdout.readline().strip())


def test_a_process_has_one_folder_below_each_base(tmp_path: Path) -> None:
    first = process_temp_dir(tmp_path / "a")

    assert first.is_dir()
    assert process_temp_dir(tmp_path / "a") == first
    assert process_temp_dir(tmp_path / "b").parent == tmp_path / "b"


def test_a_removed_folder_is_created_again(tmp_path: Path) -> None:
    first = process_temp_dir(tmp_path)
    for entry in first.iterdir():
        entry.unlink()
    first.rmdir()

    assert process_temp_dir(tmp_path).is_dir()


def test_the_folder_is_removed_when_the_process_ends(tmp_path: Path) -> None:
    process, folder = start_process(tmp_path, 0)
    process.communicate()

    assert process.returncode == 0
    assert not folder.exists()


def test_folders_of_killed_processes_are_removed_and_those_in_use_are_kept(tmp_path: Path) -> None:
    running, kept = start_process(tmp_path, 60)
    killed, left = start_process(tmp_path, 60)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert (left / "left.bin").exists()
    try:
        own = process_temp_dir(tmp_path)

        assert not left.exists()
        assert (kept / "left.bin").exists()
        assert own not in {kept, left}
    finally:
        running.kill()
        running.communicate()


def test_a_folder_without_a_lock_file_is_kept(tmp_path: Path) -> None:
    (tmp_path / "process-new").mkdir()

    process_temp_dir(tmp_path)

    assert (tmp_path / "process-new").is_dir()


def test_a_base_that_is_a_file_raises(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(StoreError, match="temporary files"):
        process_temp_dir(tmp_path / "file")


@pytest.mark.parametrize(
    ("number", "error"),
    [(errno.ENOSPC, StorageFullError), (errno.EROFS, StorePermissionError)],
    ids=["full", "read-only"],
)
@pytest.mark.parametrize("operation", ["pathlib.Path.mkdir", "tempfile.mkdtemp", "filelock.FileLock.acquire"])
def test_a_folder_that_is_full_or_read_only_is_reported_with_its_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[ApexError], operation: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(operation, refuse)
    with pytest.raises(error, match="folder for temporary files") as raised:
        process_temp_dir(tmp_path / "downloads")
    assert "APEX_STATE_DIR" in raised.value.hint
