"""Folders for temporary files: one's own, gone with the process, and those of the dead swept away."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from apex_pipeline.errors import StoreError
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


def another(base: Path, seconds: float) -> tuple[subprocess.Popen[str], Path]:
    """Start a process with a folder of its own; return it and the folder."""
    process = subprocess.Popen([sys.executable, "-c", _PROGRAM, base, str(seconds)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    return process, Path(process.stdout.readline().strip())


def test_a_process_has_one_folder_below_each_base(tmp_path: Path) -> None:
    first = process_temp_dir(tmp_path / "a")

    assert first.is_dir()
    assert process_temp_dir(tmp_path / "a") == first
    assert process_temp_dir(tmp_path / "b").parent == tmp_path / "b"


def test_a_folder_somebody_removed_is_made_anew(tmp_path: Path) -> None:
    first = process_temp_dir(tmp_path)
    for entry in first.iterdir():
        entry.unlink()
    first.rmdir()

    assert process_temp_dir(tmp_path).is_dir()


def test_it_is_gone_when_the_process_ends(tmp_path: Path) -> None:
    process, folder = another(tmp_path, 0)
    process.communicate()

    assert process.returncode == 0
    assert not folder.exists()


def test_what_a_killed_process_left_is_removed_and_the_living_are_let_be(tmp_path: Path) -> None:
    living, kept = another(tmp_path, 60)
    killed, left = another(tmp_path, 60)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert (left / "left.bin").exists()
    try:
        mine = process_temp_dir(tmp_path)

        assert not left.exists()
        assert (kept / "left.bin").exists()
        assert mine not in {kept, left}
    finally:
        living.kill()
        living.communicate()


def test_a_folder_that_is_just_being_made_is_let_be(tmp_path: Path) -> None:
    (tmp_path / "process-new").mkdir()

    process_temp_dir(tmp_path)

    assert (tmp_path / "process-new").is_dir()


def test_a_place_that_is_no_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(StoreError, match="temporary files"):
        process_temp_dir(tmp_path / "file")
