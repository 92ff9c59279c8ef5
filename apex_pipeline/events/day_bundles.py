"""Compacts the events of a day into few files of the size that warehouses load fast, with a list of what is inside.

The parts are newline-delimited JSON, compressed with gzip; the delivered files stay as they are. Made from the records
of the day, so nothing is read twice.
"""

import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq

from apex_pipeline.errors import ObjectMissingError
from apex_pipeline.events.days import read_report
from apex_pipeline.events.event_keys import DayKey, records_key
from apex_pipeline.storage.atomic import new_folder
from apex_pipeline.storage.base import ObjectStore

MANIFEST: Final = "manifest.json"
# The default of gzip.
_GZIP_LEVEL = 6
_BATCH_ROWS = 1_000
# Between the parts of a JSON text; inside a string, JSON has no such character.
_LINE_BREAKS = {ord("\r"): " ", ord("\n"): " "}


@dataclass(frozen=True)
class BundlePart:
    """One part of a bundle.

    Attributes:
        name: File name.
        events: Number of lines.
        bytes: Compressed size.
        sha256: Digest of the file.
        files: Delivered files with events in it, by the number of their events.
    """

    name: str
    events: int
    bytes: int
    sha256: str
    files: dict[str, int]


def bundle_day(lake: ObjectStore, key: DayKey, target: Path, part_bytes: int) -> list[BundlePart]:
    """Write the events of a day to a new folder, and return its parts, which its manifest lists too.

    Args:
        lake: Where the records are.
        key: Source and day.
        target: The folder.
        part_bytes: Size at which a part is ended; a part exceeds it by less than 1 MB.

    Raises:
        ObjectMissingError: The day has no records.
        ConfigurationError: The target exists.
    """
    report = read_report(lake, key)
    if report is None:
        raise ObjectMissingError(f"There are no records of {key}.", "Run `apex events records` first.")
    with (
        lake.open_as_file(records_key(key, is_private=report.has_personal_fields)) as path,
        new_folder(target) as folder,
    ):
        parts = list(_parts(path, key, folder, part_bytes))
        manifest = {
            **asdict(key),
            "inputs_version": report.inputs_version,
            "events": sum(part.events for part in parts),
            "rejected": report.rejected,
            "has_personal_fields": report.has_personal_fields,
            "parts": [asdict(part) for part in parts],
        }
        Path(folder, MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return parts


def _parts(path: Path, key: DayKey, folder: Path, part_bytes: int) -> Iterator[BundlePart]:
    lines = _lines(path)
    for number in range(1, 1_000_000):
        name = f"{key.source}_{key.day}_{number:04}.json.gz"
        part = _write_part(folder / name, lines, part_bytes)
        if part is None:
            return
        yield part


def _write_part(path: Path, lines: Iterator[tuple[str, str]], part_bytes: int) -> BundlePart | None:
    """Write lines until the part is large enough; ``None`` if there are none left."""
    files: Counter[str] = Counter()
    # Without a name and a time in its header, a part of equal content has equal bytes.
    with path.open("wb") as raw, gzip.GzipFile("", "wb", _GZIP_LEVEL, raw, mtime=0) as packed:
        for file, line in lines:
            packed.write(line.encode())
            files[file] += 1
            if raw.tell() >= part_bytes:
                break
    if not files:
        path.unlink()
        return None
    content = hashlib.sha256()
    with path.open("rb") as written:
        while block := written.read(1_000_000):
            content.update(block)
    return BundlePart(path.name, sum(files.values()), path.stat().st_size, content.hexdigest(), dict(files))


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the delivered file and the line of each record."""
    with pq.ParquetFile(path) as records:
        for batch in records.iter_batches(_BATCH_ROWS):
            for row in batch.to_pylist():
                payload = row.pop("payload")
                facts = json.dumps(row, default=_json, ensure_ascii=False)
                yield row["file"], f'{facts[:-1]}, "payload": {payload.translate(_LINE_BREAKS)}}}\n'


def _json(value: Any) -> str:  # noqa: ANN401  -- whatever json cannot write
    return value.isoformat()
