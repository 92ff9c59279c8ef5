"""Exposes the lake as an Arrow file system, so that pyarrow reads only the row groups and columns it needs.

Read-only on purpose: all writes go through the atomic writes of the store.

Why not ``pyarrow.fs.FSSpecHandler``: it needs an fsspec file system, for S3 s3fs, which pins a botocore release.
"""

from typing import Any

import pyarrow as pa
from pyarrow import fs

from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.streams import ObjectStream


def arrow_filesystem(store: ObjectStore) -> fs.PyFileSystem:
    """Return a read-only Arrow file system whose paths are the keys of the store."""
    return fs.PyFileSystem(_Handler(store))


class _Handler(fs.FileSystemHandler):
    """Implements Arrow's read operations on the store; every change is refused."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def get_type_name(self) -> str:
        return "lake"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: list[str]) -> list[fs.FileInfo]:
        return [self._info(path) for path in paths]

    def get_file_info_selector(self, selector: fs.FileSelector) -> list[fs.FileInfo]:
        prefix = f"{selector.base_dir.strip('/')}/"
        found = self._store.list(prefix)
        return [fs.FileInfo(item.key, fs.FileType.File, size=item.size) for item in found]

    def open_input_file(self, path: str) -> pa.PythonFile:
        return self.open_input_stream(path)

    def open_input_stream(self, path: str) -> pa.PythonFile:
        return pa.PythonFile(ObjectStream(self._store.open_seekable(path)), mode="r")

    def _info(self, path: str) -> fs.FileInfo:
        stored = self._store.head(path)
        if stored is None:
            return fs.FileInfo(path, fs.FileType.NotFound)
        return fs.FileInfo(path, fs.FileType.File, size=stored.size)

    def create_dir(self, path: str, recursive: bool) -> None:  # noqa: FBT001  -- Arrow's signature
        self._refuse(path, recursive)

    def delete_dir(self, path: str) -> None:
        self._refuse(path)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:  # noqa: FBT001, FBT002  -- as above
        self._refuse(path, missing_dir_ok)

    def delete_root_dir_contents(self) -> None:
        self._refuse("")

    def delete_file(self, path: str) -> None:
        self._refuse(path)

    def move(self, src: str, dest: str) -> None:
        self._refuse(src, dest)

    def copy_file(self, src: str, dest: str) -> None:
        self._refuse(src, dest)

    def open_output_stream(self, path: str, metadata: Any) -> None:  # noqa: ANN401  -- Arrow's signature
        self._refuse(path, metadata)

    def open_append_stream(self, path: str, metadata: Any) -> None:  # noqa: ANN401  -- Arrow's signature
        self._refuse(path, metadata)

    def _refuse(self, path: str, *_: object) -> None:
        raise PermissionError(f"the lake is read-only for Arrow ({path}); write through ObjectStore")
