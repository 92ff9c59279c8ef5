"""Rows of raw files as they stand there, from exactly the content the catalog knows.

Here belongs getting a row by file and line, for people who want to see what a table row was made from. Only small files
are read (lap triggers, official timing); they are kept in memory while the object lives.
"""

import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from apex_pipeline.errors import StoreCorruptionError
from apex_pipeline.sources.base import FileIdentity
from apex_pipeline.sources.gr_cup.packed import unpack
from apex_pipeline.sources.gr_cup.triggers import Trigger, read_triggers
from apex_pipeline.storage.contract import ObjectStore
from apex_pipeline.storage.layout import raw_key


@dataclass(frozen=True)
class RawRow:
    """One row of a raw file.

    Attributes:
        file: Path relative to ``data/`` in the lake.
        sha256: Digest of the file's content; ``None`` where the catalog knows none.
        line: Line of the file, the header being line 1; ``None`` where the file as a whole is the source.
        text: The row as it stands in the file, without its line end; ``None`` likewise.
    """

    file: str
    sha256: str | None
    line: int | None
    text: str | None


class RawFiles:
    """The raw files of a lake as a table ``files`` lists them."""

    def __init__(self, store: ObjectStore, files: pa.Table) -> None:
        self._store = store
        listed = files.select(["path", "sha256", "kind"]).to_pylist()
        self._sha256 = {row["path"]: row["sha256"] for row in listed}
        self._kind = {row["path"]: row["kind"] for row in listed}
        self._contents: dict[str, bytes] = {}

    def kind_of(self, path: str) -> str | None:
        """Return what a file holds; ``None`` for one that is not listed."""
        return self._kind.get(path)

    def whole(self, path: str) -> RawRow:
        """Return a file as a source without a line."""
        return RawRow(path, self._sha256.get(path), None, None)

    def row(self, path: str, line: int) -> RawRow:
        """Return a row of a file.

        Raises:
            ObjectMissingError: The file is not in the lake.
            StoreCorruptionError: It is not the content the catalog lists.
            MalformedFileError: It cannot be unpacked.
        """
        # Of bytes, splitlines() knows the same three line ends as the reader of these files and no others.
        lines = unpack(self._content(path), path).splitlines()
        return RawRow(path, self._sha256.get(path), line, _text(lines[line - 1]))

    def rows_of(self, triggers: Iterable[Trigger]) -> tuple[RawRow, ...]:
        """Return the rows that these triggers were read from."""
        return tuple(self.row(item.file, item.line) for item in triggers)

    def triggers(self, files: Sequence[FileIdentity]) -> list[Trigger]:
        """Return the triggers of these lap files.

        Raises:
            ObjectMissingError: A file is not in the lake.
            StoreCorruptionError: One is not the content the catalog lists.
            MalformedFileError: One lacks a column it cannot do without.
        """
        return [item for file in files for item in read_triggers(io.BytesIO(self._content(file.path)), file)[0]]

    def _content(self, path: str) -> bytes:
        if path not in self._contents:
            content = self._store.read_bytes(raw_key(path))
            expected = self._sha256.get(path)
            if expected and hashlib.sha256(content).hexdigest() != expected:
                raise StoreCorruptionError(
                    f"{self._store.uri_of(raw_key(path))} is not the file the published tables were made from.",
                    "Run a sync: it makes the tables again from the file that is there now.",
                )
            self._contents[path] = content
        return self._contents[path]


def _text(line: bytes) -> str:
    try:
        return line.decode("utf-8-sig")
    except UnicodeDecodeError:
        return line.decode("latin-1")


__all__ = ["RawFiles", "RawRow"]
