"""Tests of reading a file while hashing it."""

import hashlib
import os
from pathlib import Path

import pytest

from apex_pipeline.errors import FileChangedError, SourceError
from apex_pipeline.storage.file_hashing import HashingReader

_CONTENT = b"0123456789" * 100
_DIGEST = hashlib.sha256(_CONTENT).hexdigest()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "x.csv"
    path.write_bytes(_CONTENT)
    return path


@pytest.mark.parametrize("size", [-1, None, 1, 7, 1000, 4096])
def test_the_digest_is_that_of_the_bytes_read(file: Path, size: int | None) -> None:
    with HashingReader(file, _DIGEST) as reader:
        content = b""
        while block := reader.read(size):
            content += block
    assert content == _CONTENT
    assert reader.sha256 == _DIGEST
    assert reader.state.size == len(_CONTENT)


@pytest.mark.parametrize("size", [-1, 300])
def test_content_with_an_unexpected_digest_is_refused_at_the_end(file: Path, size: int) -> None:
    def read_to_the_end(reader: HashingReader) -> None:
        while reader.read(size):
            pass

    with (
        HashingReader(file, "0" * 64) as reader,
        pytest.raises(FileChangedError, match="its SHA-256 was 000000000000"),
    ):
        read_to_the_end(reader)


def test_reading_zero_bytes_does_not_count_as_the_end(file: Path) -> None:
    with HashingReader(file, "0" * 64) as reader:
        assert reader.read(0) == b""


@pytest.mark.parametrize("edit", ["append", "truncate", "overwrite"])
def test_a_file_edited_while_it_is_read_is_refused(file: Path, edit: str) -> None:
    with HashingReader(file) as reader:
        reader.read(10)
        if edit == "truncate":
            os.truncate(file, 500)
        else:
            with file.open("ab" if edit == "append" else "r+b") as writer:
                writer.write(b"new")
            os.utime(file, ns=(1, 1))
        with pytest.raises(FileChangedError, match="changed while it was read"):
            reader.read()


def test_a_file_replaced_while_it_is_read_returns_the_opened_content(file: Path) -> None:
    with HashingReader(file, _DIGEST) as reader:
        reader.read(10)
        other = file.with_name("other")
        other.write_bytes(b"new")
        other.replace(file)
        assert reader.read() == _CONTENT[10:]


@pytest.mark.parametrize("below_a_file", [False, True])
def test_a_missing_file_raises(file: Path, *, below_a_file: bool) -> None:
    missing = file / "y" if below_a_file else file.with_name("none.csv")
    with pytest.raises(FileChangedError, match=f"{missing} is gone"):
        HashingReader(missing)


def test_a_pipe_is_refused_without_blocking(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    with pytest.raises(SourceError, match="not a regular file"):
        HashingReader(pipe)


def test_an_unreadable_file_is_a_source_error(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(SourceError, match=r"x\.csv cannot be read: Permission denied"):
        HashingReader(file)


def test_a_disk_error_while_reading_is_a_source_error(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class BadSector:
        def read(self, _: int) -> bytes:
            raise OSError(5, "Input/output error")

    with HashingReader(file) as reader, monkeypatch.context() as patch:
        patch.setattr(reader, "_file", BadSector())
        with pytest.raises(SourceError, match="Input/output error"):
            reader.read(10)
