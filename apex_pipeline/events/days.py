"""Makes the records of one source and UTC day from the files it delivered, whole every time.

The day of a file is the date in its name, or else that of its delivery. Files of a day are read one by one in the order
of their names, so memory depends neither on the size of a file nor on that of a day. See ``sources/events`` for reading
events, and ``event_keys.py`` for where the results lie.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, date
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from apex_pipeline.errors import ReconciliationError, SourceError
from apex_pipeline.events.event_keys import DayKey, day_report_key, records_key, rejects_key
from apex_pipeline.events.row_files import RowFile
from apex_pipeline.sources.events.mapping import SourceMapping
from apex_pipeline.sources.events.model import DEFAULT_LIMITS, Event, EventLimits, EventReject
from apex_pipeline.sources.events.reader import read_events
from apex_pipeline.sources.events.records import RECORDS_VERSION, DeliveredFile, RowMaker, reject_row
from apex_pipeline.sources.events.rotation import content_kind, date_of, order_of
from apex_pipeline.storage.base import ObjectInfo, ObjectStore
from apex_pipeline.storage.file_hashing import BLOCK_BYTES, HashingReader
from apex_pipeline.tables.events import EVENT_REJECTS

_NS_PER_S = 1_000_000_000


@dataclass(frozen=True)
class DayReport:
    """What became of the files of a day.

    Attributes:
        source: Source of the files.
        day: UTC day, ISO.
        inputs_version: Hash of the files, the mapping and the version of the rules.
        files: Number of files.
        bytes: Their size.
        events: Events in the files: records and rejects.
        records: Rows of the records.
        rejected: Rows of the rejects.
        reasons: Rejects by reason.
        flags: Records by flag.
        uri: Where the complete records lie.
        has_personal_fields: Whether the source has personal fields, so that a masked copy is public.
    """

    source: str
    day: str
    inputs_version: str
    files: int
    bytes: int
    events: int
    records: int
    rejected: int
    reasons: dict[str, int]
    flags: dict[str, int]
    uri: str
    has_personal_fields: bool


def delivered_files(store: ObjectStore, prefix: str) -> dict[date, list[ObjectInfo]]:
    """Return the delivered event files by UTC day, those of a day in the order of their rotation.

    Args:
        store: The bucket.
        prefix: Key prefix of event files.
    """
    days: defaultdict[date, list[ObjectInfo]] = defaultdict(list)
    for info in store.list(prefix):
        name = PurePosixPath(info.key).name
        if content_kind(name.lower().removesuffix(".gz")) is not None:
            days[date_of(name) or info.modified_utc.astimezone(UTC).date()].append(info)
    return {day: sorted(files, key=_order) for day, files in sorted(days.items())}


def _order(info: ObjectInfo) -> tuple[int, str, str]:
    return *order_of(PurePosixPath(info.key).name, int(info.modified_utc.timestamp() * _NS_PER_S)), info.key


def inputs_version(files: Iterable[ObjectInfo], mapping: SourceMapping) -> str:
    """Return a hash of what the records of a day depend on; equal means that they need not be made again."""
    digest = hashlib.sha256(f"{RECORDS_VERSION}\n{mapping.version}\n".encode())
    for info in files:
        digest.update(f"{info.key}\n{info.size}\n{info.tag}\n".encode())
    return digest.hexdigest()[:16]


def read_report(lake: ObjectStore, key: DayKey) -> DayReport | None:
    """Return the report of the records that are there; ``None`` if there are none, or it cannot be read."""
    found = lake.read_with_tag(day_report_key(key))
    try:
        return None if found is None else DayReport(**json.loads(found[0]))
    except (ValueError, TypeError):
        return None


class DayWriter:
    """Makes the records of days.

    Args:
        bucket: Where the files were delivered.
        lake: Where the records go.
        mapping: What the events of the source mean.
        temp_dir: Folder for temporary files.
        limits: Limits on files and events.
    """

    def __init__(
        self,
        bucket: ObjectStore,
        lake: ObjectStore,
        mapping: SourceMapping,
        temp_dir: Path,
        limits: EventLimits = DEFAULT_LIMITS,
    ) -> None:
        self._bucket = bucket
        self._lake = lake
        self._mapping = mapping
        self._temp_dir = temp_dir
        self._limits = limits

    def inputs_version(self, files: Iterable[ObjectInfo]) -> str:
        """Return a hash of what the records of a day depend on."""
        return inputs_version(files, self._mapping)

    def write(self, key: DayKey, files: list[ObjectInfo]) -> DayReport:
        """Make the records and rejects of a day, replacing those that are there.

        Args:
            key: Source and day.
            files: The delivered files of the day.

        Raises:
            SourceError: There are no files: nothing is replaced.
            ReconciliationError: Records and rejects are not all events; nothing is replaced.
        """
        if not files:
            raise SourceError(
                f"{key.source} delivered no file of {key.day} to {self._bucket.uri}.",
                "Run `apex events ship`, or correct BUCKET_NAME, PREFIX and the day.",
            )
        with TemporaryDirectory(dir=self._temp_dir) as folder:
            return self._write(key, files, Path(folder))

    def _write(self, key: DayKey, files: list[ObjectInfo], folder: Path) -> DayReport:
        has_personal = bool(self._mapping.personal_paths)
        with DayFiles(folder, self._mapping) as day:
            for info in files:
                self._read(info, key.source, day)
        if day.complete.rows + day.rejects.rows != day.events:
            raise ReconciliationError(
                f"Of {day.events} events of {key} {day.complete.rows} are records and {day.rejects.rows} are rejects.",
                "This is a bug; please report it. The records of the day were not replaced.",
            )
        if has_personal:
            # From before its fields were marked as personal; rejects have bytes of the files in them.
            self._lake.delete(rejects_key(key, is_private=False))
        target = records_key(key, is_private=has_personal)
        self._lake.write_file(target, day.complete.path)
        self._lake.write_file(rejects_key(key, is_private=has_personal), day.rejects.path)
        if day.public is not None:
            self._lake.write_file(records_key(key, is_private=False), day.public.path)
        report = DayReport(
            **asdict(key),
            inputs_version=inputs_version(files, self._mapping),
            files=len(files),
            bytes=sum(info.size for info in files),
            events=day.events,
            records=day.complete.rows,
            rejected=day.rejects.rows,
            reasons=dict(sorted(day.reasons.items())),
            flags=dict(sorted(day.flags.items())),
            uri=self._lake.uri_of(target),
            has_personal_fields=has_personal,
        )
        # Last: as long as it is the old one, the day counts as not yet made.
        self._lake.write_bytes(day_report_key(key), json.dumps(asdict(report), indent=2).encode())
        return report

    def _read(self, info: ObjectInfo, source: str, day: "DayFiles") -> None:
        """Add the events of one file."""
        with self._bucket.open_as_file(info.key) as path:
            file = DeliveredFile(info.key, info.sha256 or _digest(path), source)
            with path.open("rb") as stream:
                for item in read_events(stream, self._mapping.event_tag, self._limits):
                    day.add(item, file)


class DayFiles:
    """The files of a day while they are written.

    Args:
        folder: Where they are written.
        mapping: What the events mean.

    Attributes:
        complete: The records.
        public: The records without anything personal; ``None`` if nothing is.
        rejects: The rejects.
        events: Number of events added.
        reasons: Rejects by reason.
        flags: Records by flag.
    """

    def __init__(self, folder: Path, mapping: SourceMapping) -> None:
        self._rows = RowMaker(mapping)
        self._stack = ExitStack()
        self.complete = RowFile(folder / "records.parquet", mapping.table)
        self.public = RowFile(folder / "public.parquet", mapping.table) if mapping.personal_paths else None
        self.rejects = RowFile(folder / "rejects.parquet", EVENT_REJECTS)
        self.events = 0
        self.reasons = Counter[str]()
        self.flags = Counter[str]()

    def __enter__(self) -> Self:
        for file in filter(None, (self.complete, self.public, self.rejects)):
            self._stack.enter_context(file)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def add(self, item: Event | EventReject, file: DeliveredFile) -> None:
        """Add the row of an event or a reject."""
        self.events += 1
        if isinstance(item, EventReject):
            self.rejects.add(reject_row(item, file), len(item.content))
            self.reasons[str(item.reason)] += 1
            return
        row = self._rows.record(item, file)
        self.complete.add(row, len(item.payload))
        if self.public is not None:
            self.public.add(self._rows.public(row, item), len(item.payload))
        self.flags.update(item.flags)


def stale_days(
    bucket: ObjectStore, lake: ObjectStore, source: str, prefix: str, mapping: SourceMapping
) -> Iterator[tuple[DayKey, list[ObjectInfo]]]:
    """Yield the days whose records are not those of the delivered files, each with its files.

    Args:
        bucket: Where the files were delivered.
        lake: Where the records are.
        source: Source of the files.
        prefix: Key prefix of event files.
        mapping: What the events of the source mean.
    """
    for day, files in delivered_files(bucket, prefix).items():
        key = DayKey(source, day.isoformat())
        report = read_report(lake, key)
        if report is None or report.inputs_version != inputs_version(files, mapping):
            yield key, files


def _digest(path: Path) -> str:
    with HashingReader(path) as reader:
        while reader.read(BLOCK_BYTES):
            pass
        return reader.sha256
