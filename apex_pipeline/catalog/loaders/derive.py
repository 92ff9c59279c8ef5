"""Turns a session's file into a frame: reads it as it is, takes the published tables, or derives the tables.

The derivation is the same code as that of the assets. See raw_index.py for the choice of the file, frames.py for the
columns.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from apex_pipeline.catalog.loaders.drivers import read_drivers
from apex_pipeline.catalog.loaders.fetch import ObjectReader, StagingArea
from apex_pipeline.catalog.loaders.filenames import LoadKind
from apex_pipeline.catalog.loaders.frames import laps_frame, telemetry_frame, wide_frame
from apex_pipeline.catalog.loaders.raw_index import RawIndex
from apex_pipeline.errors import MalformedFileError
from apex_pipeline.lake.objects import read_table_file
from apex_pipeline.lake.raw_files import raw_file_opener
from apex_pipeline.settings import Settings
from apex_pipeline.sources import kinds_feeding, loadable_source
from apex_pipeline.sources.base import DerivedTable, FileIdentity, FileStatus
from apex_pipeline.sources.compression import decompress
from apex_pipeline.sources.limits import Limits
from apex_pipeline.sources.unreadable import warnings_of
from apex_pipeline.sources.workspace import Workspace
from apex_pipeline.storage.base import ObjectInfo, ObjectStore
from apex_pipeline.storage.layout import raw_key
from apex_pipeline.storage.single_flight import SingleFlight
from apex_pipeline.storage.temp_dirs import process_temp_dir
from apex_pipeline.tables import LAP_REJECTS, LAPS, OFFICIAL_LAPS, TELEMETRY
from apex_pipeline.tables.model import Table
from apex_pipeline.tables.session_key import SessionKey

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Session:
    """The files used for one session, as of one listing."""

    index: RawIndex
    key: SessionKey
    files: tuple[FileIdentity, ...]

    @property
    def objects(self) -> list[ObjectInfo]:
        """The objects of the files."""
        return [self.index.objects[item.path] for item in self.files]

    @property
    def version(self) -> tuple[object, ...]:
        """Equal for two listings only if they have the same objects."""
        return (self.key, *((item.key, item.tag) for item in self.objects))

    def of_kind(self, *kinds: str) -> list[FileIdentity]:
        return [item for item in self.files if item.kind in kinds]


class SessionReader:
    """Builds the frames of sessions.

    Args:
        reader: Reads the lake.
        settings: Memory limit and folder for temporary files.
    """

    def __init__(self, reader: ObjectReader, settings: Settings) -> None:
        self._reader = reader
        self._settings = settings
        self._staging = StagingArea(reader, self._temp_dir)
        self._flights = SingleFlight()

    def frame(self, index: RawIndex, paths: Sequence[str], kind: LoadKind, asked_for: SessionKey) -> pd.DataFrame:
        """Return the frame of the session that a file belongs to.

        Args:
            index: The lake's raw files.
            paths: The session's lap or telemetry file. Several raw files of the cars are merged.
            kind: ``LAP_START`` or ``TELEMETRY``.
            asked_for: Track and session as named by the application.

        Raises:
            MalformedFileError: The file is not a table, or contradicts its path.
            ConfigurationError: ``APEX_DRIVERS_FILE`` cannot be used.
            ApexError: A file cannot be read.
        """
        path = paths[0]
        if not index.is_raw(kind, index.header(path)):
            _require_one(paths, asked_for)
            return self._table(index, path, kind)
        session = _session_of(index, path, kind, asked_for)
        published = index.published(session.key, session.files)
        name = "laps" if kind is LoadKind.LAP_START else "telemetry"
        if published and name in published.tables:
            table = read_table_file(self._reader.store, published.tables[name])
        else:
            with self._staging.open(session.version, session.objects, index.known_contents()) as store:
                table = self._laps(session, store) if name == "laps" else self._telemetry(session, store)
        drivers = read_drivers(self._settings.drivers_file)
        return laps_frame(table, drivers) if name == "laps" else telemetry_frame(table)

    def _table(self, index: RawIndex, path: str, kind: LoadKind) -> pd.DataFrame:
        """Read a file that already is a table."""
        key = raw_key(path)
        content = index.known_contents().get(key)
        limits = self._workspace().limits.for_lap_file() if kind is LoadKind.LAP_START else self._workspace().limits
        text = decompress(self._reader.read(key) if content is None else content, path, limits)
        frame, missing = wide_frame(text, key, kind)
        if missing:
            _LOG.warning("%s has no %s: these columns hold nothing.", key, ", ".join(missing))
        return frame

    def _laps(self, session: _Session, store: ObjectStore) -> pa.Table:
        return self._flights.do(session.version, lambda: self._derive_laps(session, store))

    def _derive_laps(self, session: _Session, store: ObjectStore) -> pa.Table:
        laps = self._derive(session, store, LAPS, LAP_REJECTS)[LAPS.name]
        _require_readable(session, laps)
        return laps.content

    def _telemetry(self, session: _Session, store: ObjectStore) -> pa.Table:
        telemetry = self._derive(session, store, LAP_REJECTS, TELEMETRY)[TELEMETRY.name]
        _require_readable(session, telemetry)
        if telemetry.facts.get("rejected"):
            _LOG.warning("%s: %d readings cannot be used.", session.key, telemetry.facts["rejected"])
        if not isinstance(telemetry.content, Path):
            return telemetry.content
        try:
            # ParquetFile instead of read_table, which would add the folders of the path as columns.
            with pq.ParquetFile(telemetry.content) as file:
                return file.read()
        finally:
            telemetry.content.unlink(missing_ok=True)

    def _derive(self, session: _Session, store: ObjectStore, *wanted: Table) -> dict[str, DerivedTable]:
        """Derive a session's tables until the wanted ones are complete, and skip the rest."""
        source, _ = loadable_source()
        files = session.of_kind(*kinds_feeding(LAPS.name, TELEMETRY.name, OFFICIAL_LAPS.name))
        rules = source.load_rules(self._settings)
        missing = {table.name for table in wanted}
        found: dict[str, DerivedTable] = {}
        for derived in source.derive(session.key, files, raw_file_opener(store), self._workspace(), rules):
            if derived.table.name in missing:
                found[derived.table.name] = derived
            if missing == found.keys():
                break
        rejects = found[LAP_REJECTS.name].content
        if not isinstance(rejects, Path) and rejects.num_rows:
            _LOG.warning("%s: %d rows of its lap files cannot be used.", session.key, rejects.num_rows)
        return found

    def _workspace(self) -> Workspace:
        return Workspace(self._settings.memory_limit, self._temp_dir(), limits=Limits.from_settings(self._settings))

    def _temp_dir(self) -> Path:
        return process_temp_dir(self._settings.state_dir.absolute() / "scratch")


def _require_readable(session: _Session, derived: DerivedTable) -> None:
    """Raise the error of the first file that was left out if no file of its kinds is left; else log a warning."""
    own = session.of_kind(*kinds_feeding(derived.table.name))
    if derived.unreadable and len(derived.unreadable) == len(own):
        raise derived.unreadable[0].error
    for warning in warnings_of(derived.unreadable):
        _LOG.warning("%s: %s", session.key, warning)


def _require_one(paths: Sequence[str], asked_for: SessionKey) -> None:
    if len(paths) > 1:
        raise MalformedFileError(
            f"{len(paths)} files claim to be those of {asked_for}: {', '.join(paths)}.",
            "Remove one, or rename it so that its name gives another session.",
        )


def _session_of(index: RawIndex, path: str, kind: LoadKind, asked_for: SessionKey) -> _Session:
    """Return the session that a file belongs to, with all files used for it.

    A file whose session is known only from the call is a session without other files: nothing links others to it.
    """
    identities = index.identities(asked_for.track)
    own = next((item for item in identities if item.path == path), None)
    if own is not None and own.status is FileStatus.QUARANTINED:
        raise MalformedFileError(
            f"{raw_key(path)} is set aside: {own.reason}.",
            f"`apex explain {path}` shows the details; correct or rename it.",
        )
    if own is None or own.status is FileStatus.UNRESOLVED or not own.track or not own.session:
        return _Session(index, asked_for, (_identity_from_call(index, path, kind, asked_for),))
    key = SessionKey(own.track, own.session)
    used = tuple(item for item in identities if (item.track, item.session) == key and item.status is FileStatus.READY)
    same_kind = [item.path for item in used if item.kind == own.kind]
    if len(same_kind) > 1:
        _LOG.warning("%s has %d files of the kind %s, merged: %s", key, len(same_kind), own.kind, ", ".join(same_kind))
    return _Session(index, key, used)


def _identity_from_call(index: RawIndex, path: str, kind: LoadKind, key: SessionKey) -> FileIdentity:
    return FileIdentity(
        path=path,
        size=index.objects[path].size,
        kind=kind,
        track=key.track,
        track_name=None,
        session=key.session,
        season=None,
        event_code=None,
        version=None,
        rule="asked for by name",
        evidence=(),
        confidence=0.0,
        status=FileStatus.READY,
        reason=None,
    )
