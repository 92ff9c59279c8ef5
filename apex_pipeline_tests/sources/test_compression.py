"""Compressed raw files are read exactly like their uncompressed content."""

import errno
import gzip
import io
import tracemalloc
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.errors import (
    ApexError,
    LimitExceededError,
    MalformedFileError,
    StoreError,
    StorePermissionError,
    StoreUnavailableError,
)
from apex_pipeline.ops.lineage import RawFiles
from apex_pipeline.sources.compression import compression_of, decompress, open_decompressed
from apex_pipeline.sources.csv_reader import read_rows
from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.sources.limits import Limits
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.layout import raw_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.examples import at_least
from apex_pipeline_tests.lake.tables import put_raw_file
from apex_pipeline_tests.sources.bombs import gzip_bomb, one_gzip_member, zstd_bomb, zstd_frame_with_window


def _zstd(content: bytes) -> bytes:
    return pa.compress(content, codec="zstd", asbytes=True)


_COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "zst": _zstd}
_CONTENT = b"lap,vehicle_id\n3,GR86-002-2\n4\n"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/b.csv.gz", "gzip"),
        ("B.CSV.GZ", "gzip"),
        ("b.csv.zst", "zstd"),
        ("b.csv.ZST", "zstd"),
        ("b.csv", None),
        ("run.gz/b.csv", None),
        ("b", None),
    ],
)
def test_compression_is_detected_from_the_file_extension(path: str, expected: str | None) -> None:
    assert compression_of(path) == expected


@pytest.mark.req("A-134")
@given(content=st.binary(max_size=5_000), ending=st.sampled_from(sorted(_COMPRESSORS)))
@at_least(100)
def test_decompress_restores_compressed_content(content: bytes, ending: str) -> None:
    assert decompress(_COMPRESSORS[ending](content), f"x.csv.{ending}") == content
    assert decompress(content, "x.csv") == content


@pytest.mark.req("A-134")
@pytest.mark.parametrize("ending", sorted(_COMPRESSORS))
def test_a_compressed_file_gives_the_same_rows_and_rejects(ending: str) -> None:
    def read(content: bytes, path: str) -> object:
        rows, rejects = read_rows(io.BytesIO(content), path, FileKind.LAP_END, ["lap"])
        return rows, [(reject.line, reject.reason, reject.detail) for reject in rejects]

    assert read(_COMPRESSORS[ending](_CONTENT), f"x.csv.{ending}") == read(_CONTENT, "x.csv")


@pytest.mark.req("A-134")
@pytest.mark.parametrize("ending", sorted(_COMPRESSORS))
def test_lineage_shows_rows_of_a_compressed_file_as_text(ending: str, lake: LocalStore) -> None:
    path = f"spa/x.csv.{ending}"
    lake.write_bytes(raw_key(path), _COMPRESSORS[ending](_CONTENT))
    raw = RawFiles(lake, [replace(put_raw_file(lake, SessionKey("spa", "R1")), path=path, sha256=None, kind="lap_end")])
    assert [raw.row(path, line).text for line in (1, 2, 2)] == ["lap,vehicle_id", "3,GR86-002-2", "3,GR86-002-2"]


@pytest.mark.parametrize("ending", sorted(_COMPRESSORS))
@pytest.mark.parametrize("damage", ["cut", "not compressed"])
def test_a_damaged_compressed_file_raises_malformed_file_error(ending: str, damage: str) -> None:
    compressed = _COMPRESSORS[ending](_CONTENT * 100)
    content = compressed[:-10] if damage == "cut" else _CONTENT
    with pytest.raises(MalformedFileError, match=rf"x\.csv\.{ending} cannot be decompressed"):
        decompress(content, f"x.csv.{ending}")


@given(
    members=st.lists(st.binary(max_size=300), max_size=5),
    ending=st.sampled_from(sorted(_COMPRESSORS)),
    read_bytes=st.integers(1, 400),
)
def test_concatenated_parts_are_read_one_after_the_other(members: list[bytes], ending: str, read_bytes: int) -> None:
    compressed = b"".join(map(_COMPRESSORS[ending], members))
    with open_decompressed(io.BytesIO(compressed), f"x.csv.{ending}") as stream:
        assert b"".join(iter(lambda: stream.read(read_bytes), b"")) == b"".join(members)


@given(content=st.binary(min_size=1, max_size=300), cut=st.integers(1, 200), repeats=st.integers(1, 2_000))
def test_a_truncated_gzip_file_never_looks_complete(content: bytes, cut: int, repeats: int) -> None:
    compressed = gzip.compress(content * repeats)
    cut = min(cut, len(compressed) - 1)
    with pytest.raises(MalformedFileError, match="its end is missing"):
        decompress(compressed[:-cut], "x.csv.gz")


def test_zeros_after_the_end_of_a_gzip_file_are_padding() -> None:
    assert decompress(gzip.compress(_CONTENT) + bytes(70_000) + gzip.compress(_CONTENT) + b"\0", "x.csv.gz") == (
        _CONTENT * 2
    )


@pytest.mark.parametrize("garbage", [b"x", b"\x1f", b"PK\x03\x04 another archive", _CONTENT])
@pytest.mark.parametrize("ending", sorted(_COMPRESSORS))
def test_bytes_after_the_end_are_reported(ending: str, garbage: bytes) -> None:
    with pytest.raises(MalformedFileError, match=rf"x\.csv\.{ending} cannot be decompressed"):
        decompress(_COMPRESSORS[ending](_CONTENT) + garbage, f"x.csv.{ending}")


def test_a_flipped_bit_in_a_gzip_file_is_found_by_its_checksum() -> None:
    compressed = bytearray(gzip.compress(_CONTENT))
    compressed[-6] ^= 1
    with pytest.raises(MalformedFileError, match="incorrect data check"):
        decompress(bytes(compressed), "x.csv.gz")


def test_a_zstd_window_larger_than_the_decompressor_allows_is_reported_with_the_next_step() -> None:
    assert decompress(zstd_frame_with_window(20, _CONTENT), "x.csv.zst") == _CONTENT
    with pytest.raises(MalformedFileError, match="without --long"):
        decompress(zstd_frame_with_window(31, _CONTENT), "x.csv.zst")


@pytest.mark.parametrize("ending", ["gz", "one.gz", "zst"])
def test_the_bombs_of_the_tests_are_valid_files(ending: str) -> None:
    bomb = b"".join(_BOMBS[ending](_CONTENT, 300, b"start\n"))
    assert decompress(bomb, f"x.csv.{ending}") == b"start\n" + _CONTENT * -(-300 // len(_CONTENT))


_ROW = b"3,GR86-002-2,2025-09-06T18:40:41.775Z\n"
_BOMBS = {"gz": gzip_bomb, "one.gz": one_gzip_member, "zst": zstd_bomb}


@pytest.mark.req("A-123")
@pytest.mark.parametrize("ending", sorted(_BOMBS))
@pytest.mark.parametrize(
    ("limits", "setting"),
    [
        (Limits(unpacked_bytes=60_000_000), "APEX_MAX_UNPACKED_SIZE"),
        (Limits(ratio_from_bytes=20_000_000, compression_ratio=100), "APEX_MAX_COMPRESSION_RATIO"),
    ],
)
def test_a_bomb_is_refused_while_it_is_read_in_bounded_memory(ending: str, limits: Limits, setting: str) -> None:
    bomb = b"".join(_BOMBS[ending](_ROW * 20_000, 100_000_000))
    path = f"x.csv.{ending}"
    tracemalloc.start()
    with open_decompressed(io.BytesIO(bomb), path, limits) as stream, pytest.raises(LimitExceededError) as caught:
        deque(iter(lambda: stream.read(1_000_000), b""), maxlen=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert setting in caught.value.problem
    assert peak < 10_000_000


def test_a_plain_file_has_a_size_limit_too() -> None:
    with pytest.raises(LimitExceededError, match=r"x\.csv is more than 10 bytes"):
        decompress(_CONTENT, "x.csv", Limits(unpacked_bytes=10))
    assert decompress(_CONTENT, "x.csv", Limits(unpacked_bytes=len(_CONTENT))) == _CONTENT


class FailingStream(io.RawIOBase):
    """Returns some bytes and then fails."""

    def __init__(self, content: bytes, error: Exception) -> None:
        super().__init__()
        self._content = io.BytesIO(content)
        self._error = error

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]  # the stub's Buffer is 3.12's
        length = self._content.readinto(buffer)
        if not length:
            raise self._error
        return length


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "csv.zst"])
@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.EIO, "Input/output error"), StoreError),
        (OSError(errno.ESTALE, "Stale file handle"), StoreUnavailableError),
        (StorePermissionError("Reading a failed.", "Grant it."), StorePermissionError),
        (StoreUnavailableError("The store is busy.", "Run it again."), StoreUnavailableError),
    ],
)
def test_an_error_of_the_store_is_not_mistaken_for_a_damaged_file(
    ending: str, error: Exception, expected: type[ApexError]
) -> None:
    content = _COMPRESSORS.get(ending.removeprefix("csv."), bytes)(_CONTENT)
    stream = FailingStream(content, error)
    with open_decompressed(stream, f"spa/x.{ending}") as text, pytest.raises(ApexError) as caught:  # type: ignore[arg-type]
        text.read()
    assert type(caught.value) is expected
    if isinstance(error, OSError):
        assert caught.value.problem == f"Reading spa/x.{ending} failed: {error.strerror}."


@pytest.fixture
def lake(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path, DigestCache())
