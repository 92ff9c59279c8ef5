"""Remembers which stores refuse CRC32 checksums, so that each is asked once and not by every command.

The file is in the state folder, which is safe to delete: the next write then asks again.
"""

import json
from contextlib import suppress
from pathlib import Path

from apex_pipeline.storage.s3.upload.checksums import ChecksumMode

FILE_NAME = "stores.json"


class RememberedModes:
    """The checksum modes of stores, by their address.

    Args:
        path: The file; ``None`` remembers nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def get(self, endpoint: str) -> ChecksumMode | None:
        """Return the mode of a store; ``None`` if it is not known, or the file cannot be read."""
        with suppress(ValueError):
            return ChecksumMode(self._read().get(endpoint))
        return None

    def put(self, endpoint: str, mode: ChecksumMode) -> None:
        """Remember the mode of a store; a folder that cannot be written to costs one refused request per command."""
        if self._path is None:
            return
        content = json.dumps(self._read() | {endpoint: mode.value})
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = self._path.with_suffix(".partial")
            unfinished.write_text(content, encoding="utf-8")
            unfinished.replace(self._path)

    def _read(self) -> dict[str, object]:
        if self._path is None:
            return {}
        with suppress(OSError, ValueError):
            content = json.loads(self._path.read_text(encoding="utf-8"))
            return content if isinstance(content, dict) else {}
        return {}
