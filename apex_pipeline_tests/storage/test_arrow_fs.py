"""Tests of the Arrow file system: lookup, partial reads and listing work, and all writes are refused."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from apex_pipeline.storage.arrow_fs import arrow_filesystem
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.local import LocalStore
from apex_pipeline_tests.lake.tables import parquet_bytes


@pytest.fixture
def filesystem(tmp_path: Path) -> fs.PyFileSystem:
    store = LocalStore(tmp_path / "lake", DigestCache())
    store.prepare_for_writing()
    store.write_bytes("tables/a.parquet", parquet_bytes(pa.table({"lap": [1, 2], "time": [97.4, 98.0]})))
    store.write_bytes("tables/deep/b.parquet", parquet_bytes(pa.table({"lap": [3], "time": [99.0]})))
    return arrow_filesystem(store)


def test_reads_selected_columns_of_a_table_by_its_key(filesystem: fs.PyFileSystem) -> None:
    assert pq.read_table("tables/a.parquet", columns=["lap"], filesystem=filesystem)["lap"].to_pylist() == [1, 2]


def test_reads_a_folder_as_one_dataset(filesystem: fs.PyFileSystem) -> None:
    found = filesystem.get_file_info(fs.FileSelector("tables", recursive=True))
    assert [info.path for info in found] == ["tables/a.parquet", "tables/deep/b.parquet"]
    dataset = ds.dataset([info.path for info in found], format="parquet", filesystem=filesystem)
    assert dataset.to_table()["lap"].to_pylist() == [1, 2, 3]


def test_a_missing_key_has_the_file_type_not_found(filesystem: fs.PyFileSystem) -> None:
    assert filesystem.get_file_info("tables/none.parquet").type == fs.FileType.NotFound


def test_a_stream_supports_read_seek_and_closing_twice(filesystem: fs.PyFileSystem) -> None:
    with filesystem.open_input_file("tables/a.parquet") as stream:
        assert (stream.readable(), stream.seekable(), stream.tell()) == (True, True, 0)
        assert stream.read(4) == b"PAR1"
        stream.seek(-4, 2)
        assert stream.read() == b"PAR1"
    stream.close()
    assert filesystem.open_input_stream("tables/a.parquet").read(4) == b"PAR1"
    assert filesystem.type_name == "py::lake"


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f.create_dir("x"),
        lambda f: f.delete_dir("tables"),
        lambda f: f.delete_dir_contents("tables"),
        lambda f: f.delete_dir_contents("", accept_root_dir=True),
        lambda f: f.delete_file("tables/a.parquet"),
        lambda f: f.move("tables/a.parquet", "b"),
        lambda f: f.copy_file("tables/a.parquet", "b"),
        lambda f: f.open_output_stream("b"),
        lambda f: f.open_append_stream("b"),
    ],
)
def test_every_write_operation_is_refused(
    filesystem: fs.PyFileSystem, change: Callable[[fs.PyFileSystem], object]
) -> None:
    with pytest.raises(PermissionError, match="read-only"):
        change(filesystem)
