"""Compressed raw files are read exactly like their uncompressed content."""

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.errors import MalformedFileError
from apex_pipeline.ops.lineage import RawFiles
from apex_pipeline.sources.compression import compression_of, decompress
from apex_pipeline.sources.csv_reader import read_rows
from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.layout import raw_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables import FILES
from apex_pipeline_tests.examples import at_least


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
    raw = RawFiles(lake, FILES.from_rows([_listed(path)]))
    assert [raw.row(path, line).text for line in (1, 2, 2)] == ["lap,vehicle_id", "3,GR86-002-2", "3,GR86-002-2"]


@pytest.mark.parametrize("ending", sorted(_COMPRESSORS))
@pytest.mark.parametrize("damage", ["cut", "not compressed"])
def test_a_damaged_compressed_file_raises_malformed_file_error(ending: str, damage: str) -> None:
    compressed = _COMPRESSORS[ending](_CONTENT * 100)
    content = compressed[:-10] if damage == "cut" else _CONTENT
    with pytest.raises(MalformedFileError, match=rf"x\.csv\.{ending} cannot be decompressed"):
        decompress(content, f"x.csv.{ending}")


@pytest.fixture
def lake(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path, DigestCache())


def _listed(path: str) -> dict[str, object]:
    return {
        "path": path,
        "bytes": 1,
        "sha256": None,
        "kind": "lap_end",
        "rule": "test",
        "evidence": [],
        "confidence": 1.0,
        "status": "ready",
    }
