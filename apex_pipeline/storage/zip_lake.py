"""Contains a store that reads a bundle without unpacking it: a lake in a zip file, as ``apex bundle`` writes it.

The list of the files is read once. Tables are stored in a bundle without compression, so a part of one is read without
the rest; what was compressed by another program is read as a whole, up to a limit.
"""

import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from apex_pipeline.errors import ObjectMissingError, StoreConfigError, StoreCorruptionError
from apex_pipeline.storage.base import ObjectInfo
from apex_pipeline.storage.keys import check_key, check_prefix, is_legal_key
from apex_pipeline.storage.layout import CURRENT_SNAPSHOT_KEY, digest_in_key
from apex_pipeline.storage.os_errors import translating_os_errors
from apex_pipeline.storage.read_only import ReadOnlyStore

# Compressed files are unpacked in memory: documents have a few megabytes at most, and a bundle compresses only these.
_UNPACKED_BYTES = 64 * 1024**2
# The header in front of each file: a mark, fields that the list of the files has too, and the lengths of two texts.
_HEADER = struct.Struct("<4s22xHH")
_HEADER_MARK = b"PK\x03\x04"
_ENCRYPTED = 0x1


class ZipStore(ReadOnlyStore):
    """A lake in a zip file.

    Args:
        path: The zip file.
        state: Local folder for objects that are opened as files.

    Raises:
        ObjectMissingError: There is no such file, or it contains no lake.
        StoreCorruptionError: It is not a zip file, or is cut off.
    """

    def __init__(self, path: Path, state: Path) -> None:
        super().__init__(state)
        self._path = path
        self._state, listed = _read_list(path)
        prefix = _prefix_of(listed, path)
        self._entries = {
            name.removeprefix(prefix): entry
            for name, entry in listed.items()
            if name.startswith(prefix) and is_legal_key(name.removeprefix(prefix))
        }

    @property
    def uri(self) -> str:
        """Path of the zip file."""
        return str(self._path)

    def uri_of(self, key: str) -> str:
        """Return the path of the zip file and, after a ``!``, the name in it."""
        return f"{self._path}!{key}"

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield the files in the order of their names."""
        check_prefix(prefix)
        yield from (self._info(key) for key in sorted(self._entries) if key.startswith(prefix))

    def head(self, key: str) -> ObjectInfo | None:
        """Return what the list of the files says, with the digest in the name."""
        return self._info(key) if check_key(key) in self._entries else None

    def _info(self, key: str) -> ObjectInfo:
        entry = self._entries[key]
        modified_utc = datetime.fromtimestamp(self._state[1] / 1e9, UTC)
        return ObjectInfo(key, entry.file_size, modified_utc, f"{entry.CRC:08x}", digest_in_key(key))

    def fetch(self, found: ObjectInfo, start: int, length: int) -> bytes:
        """Return bytes of a file of the zip."""
        entry = self._entries[found.key]
        with translating_os_errors(f"Reading {self._path}"), self._path.open("rb") as file:
            if _state_of(file) != self._state:
                raise self.changed(found.key)
            self._go_to_content(file, entry, start)
            if entry.compress_type == zipfile.ZIP_STORED:
                content = file.read(length)
            else:
                content = self._unpacked(file.read(min(entry.compress_size, _UNPACKED_BYTES + 1)), entry)[
                    start : start + length
                ]
        if len(content) != length:
            raise self._damaged(found.key)
        return content

    def _go_to_content(self, file: BinaryIO, entry: zipfile.ZipInfo, start: int) -> None:
        file.seek(entry.header_offset)
        header = file.read(_HEADER.size)
        if len(header) < _HEADER.size or not header.startswith(_HEADER_MARK) or entry.flag_bits & _ENCRYPTED:
            raise self._damaged(entry.filename)
        _, name_bytes, extra_bytes = _HEADER.unpack(header)
        skipped = start if entry.compress_type == zipfile.ZIP_STORED else 0
        file.seek(entry.header_offset + _HEADER.size + name_bytes + extra_bytes + skipped)

    def _unpacked(self, packed: bytes, entry: zipfile.ZipInfo) -> bytes:
        if entry.compress_type != zipfile.ZIP_DEFLATED or max(entry.file_size, len(packed)) > _UNPACKED_BYTES:
            raise StoreConfigError(
                f"{self.uri_of(entry.filename)} is compressed in a way that cannot be read in parts.",
                "Unpack the zip file and open its folder.",
            )
        try:
            content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, entry.file_size + 1)
        except zlib.error as error:
            raise self._damaged(entry.filename) from error
        if zlib.crc32(content) != entry.CRC:
            raise self._damaged(entry.filename)
        return content

    def _damaged(self, name: str) -> StoreCorruptionError:
        return StoreCorruptionError(
            f"{self.uri_of(name)} is damaged or encrypted.", "Copy the bundle again, or make it again: `apex bundle`."
        )

    def check_access(self) -> None:
        """Check that the zip file is still there and the same.

        Raises:
            FileChangedError: It is another one.
        """
        with translating_os_errors(f"Reading {self._path}"), self._path.open("rb") as file:
            if _state_of(file) != self._state:
                raise self.changed(CURRENT_SNAPSHOT_KEY)


_State = tuple[int, int, int]


def _state_of(file: BinaryIO) -> _State:
    facts = os.fstat(file.fileno())
    return facts.st_size, facts.st_mtime_ns, facts.st_ino


def _read_list(path: Path) -> tuple[_State, dict[str, zipfile.ZipInfo]]:
    if not path.is_file():
        raise ObjectMissingError(f"There is no file {path}.", "Check its name, or make it: `apex bundle TARGET.zip`.")
    try:
        with translating_os_errors(f"Reading {path}"), path.open("rb") as file, zipfile.ZipFile(file) as archive:
            return _state_of(file), {entry.filename: entry for entry in archive.infolist() if not entry.is_dir()}
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise StoreCorruptionError(
            f"{path} is not a zip file, or is cut off ({error}).", "Copy the bundle again, or make it again."
        ) from error


def _prefix_of(names: dict[str, zipfile.ZipInfo], path: Path) -> str:
    """Return the folder of the lake in a zip: none in a bundle, one where somebody has packed a whole folder."""
    pointers = [name for name in names if f"/{name}".endswith(f"/{CURRENT_SNAPSHOT_KEY}")]
    found = [name.removesuffix(CURRENT_SNAPSHOT_KEY) for name in pointers]
    if len(found) != 1:
        raise ObjectMissingError(
            f"{path} contains {'no lake' if not found else f'{len(found)} lakes'}.",
            "Make a bundle with `apex bundle TARGET.zip`, or unpack the file and open a folder of it.",
        )
    return found[0]
