"""From a session's file to its frame: read as it is, taken from what is published, or derived here.

Here belongs the choice between the three, and running the derivation that the assets run. Which file is meant is
``files.py``; what the frames look like, ``frames.py``.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from apex_pipeline.catalog.loaders.files import RawTree
from apex_pipeline.catalog.loaders.frames import is_raw, laps_frame, telemetry_frame, unpacked, wide_frame
from apex_pipeline.catalog.loaders.reading import Bench, Benches, ObjectReader
from apex_pipeline.errors import MalformedFileError
from apex_pipeline.lake.published import read_published
from apex_pipeline.lake.session_tables import LAP_KINDS, make_laps, make_official_tables, make_telemetry
from apex_pipeline.session_key import SessionKey
from apex_pipeline.settings import Settings
from apex_pipeline.sources.gr_cup.file_contents import LOOKED_AT_BYTES, look_into
from apex_pipeline.sources.gr_cup.files import FileIdentity, FileKind, FileStatus
from apex_pipeline.sources.gr_cup.telemetry.workspace import Workspace
from apex_pipeline.storage.contract import ObjectStore
from apex_pipeline.storage.layout import raw_key
from apex_pipeline.storage.scratch import own_scratch
from apex_pipeline.storage.single_flight import SingleFlight

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Session:
    """The files in use of one session, as of one look at the lake."""

    tree: RawTree
    key: SessionKey
    files: tuple[FileIdentity, ...]

    @property
    def version(self) -> tuple[object, ...]:
        """Equal for two looks only if they saw the same objects."""
        return (self.key, *((item.path, self.tree.objects[item.path].tag) for item in self.files))

    def of_kind(self, *kinds: FileKind) -> list[FileIdentity]:
        return [item for item in self.files if item.kind in kinds]


class SessionReader:
    """Makes the frames of sessions.

    Args:
        reader: Reads the lake.
        settings: Memory limit and scratch folder.
    """

    def __init__(self, reader: ObjectReader, settings: Settings) -> None:
        self._reader = reader
        self._settings = settings
        self._benches = Benches(reader, self._scratch)
        self._flights = SingleFlight()

    def frame(self, tree: RawTree, paths: Sequence[str], kind: FileKind, asked_for: SessionKey) -> pd.DataFrame:
        """Return the frame of the session that a file belongs to.

        Args:
            tree: The lake's raw files.
            paths: The session's lap or telemetry file; several are merged, if they are as the cars sent them.
            kind: ``LAP_START`` or ``TELEMETRY``.
            asked_for: Track and session as the application calls them.

        Raises:
            MalformedFileError: The file is no table, or contradicts what its path says.
            ApexError: A file cannot be read.
        """
        path = paths[0]
        contents = look_into(tree.start(path, LOOKED_AT_BYTES), path)
        if not is_raw(kind, contents.columns):
            _require_one(paths, asked_for)
            return self._table(tree, path, kind)
        session = _session_of(tree, path, kind, asked_for)
        published = tree.published(session.key, session.files)
        name = "laps" if kind is FileKind.LAP_START else "telemetry"
        if published:
            table = read_published(self._reader.store, published.tables[name])
        else:
            with self._benches.open(session.version) as bench:
                table = self._laps(session, bench) if name == "laps" else self._telemetry(session, bench)
        return laps_frame(table) if name == "laps" else telemetry_frame(table)

    def _table(self, tree: RawTree, path: str, kind: FileKind) -> pd.DataFrame:
        """Read a file that is a table already."""
        key = raw_key(path)
        content = tree.known_contents().get(key)
        text = unpacked(self._reader.whole(key) if content is None else content, path)
        frame, missing = wide_frame(text, key, kind)
        if missing:
            _LOG.warning("%s has no %s: these columns hold nothing.", key, ", ".join(missing))
        return frame

    def _laps(self, session: _Session, bench: Bench) -> pa.Table:
        return self._flights.do(session.version, lambda: self._derive_laps(session, bench))

    def _derive_laps(self, session: _Session, bench: Bench) -> pa.Table:
        sections = session.of_kind(FileKind.SECTIONS)
        official = make_official_tables(_on(bench, session, sections), session.key, sections).official_laps
        # Official timing lists every crossing; only without it does the derivation look into telemetry.
        needed = session.of_kind(*LAP_KINDS) if official.num_rows else session.of_kind(*LAP_KINDS, FileKind.TELEMETRY)
        made = make_laps(
            _on(bench, session, needed),
            session.key,
            needed,
            official,
            session.tree.rules.zone_of(session.key.track),
            self._workspace(),
        )
        if made.rejects.num_rows:
            _LOG.warning("%s: %d rows of its lap files cannot be used.", session.key, made.rejects.num_rows)
        return made.laps

    def _telemetry(self, session: _Session, bench: Bench) -> pa.Table:
        laps = self._laps(session, bench)
        files = session.of_kind(FileKind.TELEMETRY)
        with TemporaryDirectory(prefix="telemetry-", dir=self._scratch()) as folder:
            output = Path(folder, "telemetry.parquet")
            report = make_telemetry(_on(bench, session, files), session.key, files, laps, output, self._workspace(), {})
            # ParquetFile and not read_table: the latter would add folders of the path as columns.
            with pq.ParquetFile(output) as file:
                table = file.read()
        if report.counts.rejected:
            _LOG.warning("%s: %d readings cannot be used.", session.key, report.counts.rejected)
        return table

    def _workspace(self) -> Workspace:
        return Workspace(self._settings.memory_limit, self._scratch())

    def _scratch(self) -> Path:
        return own_scratch(self._settings.state_dir.absolute() / "scratch")


def _on(bench: Bench, session: _Session, files: Iterable[FileIdentity]) -> ObjectStore:
    """Return a store that holds these files."""
    return bench.with_objects([raw_key(item.path) for item in files], session.tree.known_contents())


def _require_one(paths: Sequence[str], asked_for: SessionKey) -> None:
    if len(paths) > 1:
        raise MalformedFileError(
            f"{len(paths)} files claim to be those of {asked_for}: {', '.join(paths)}.",
            "Take one away, or rename it so that its name says another session.",
        )


def _session_of(tree: RawTree, path: str, kind: FileKind, asked_for: SessionKey) -> _Session:
    """Return the session that a file belongs to, with all its files in use.

    A file that only its asker can place stands for itself: nothing says what else would belong to it.
    """
    identities = tree.identities(asked_for.track)
    own = next((item for item in identities if item.path == path), None)
    if own is not None and own.status is FileStatus.QUARANTINED:
        raise MalformedFileError(
            f"{raw_key(path)} is set aside: {own.reason}.", f"`apex explain {path}` tells more; correct or rename it."
        )
    if own is None or own.status is FileStatus.UNRESOLVED or not own.track or not own.session:
        return _Session(tree, asked_for, (_alone(tree, path, kind, asked_for),))
    key = SessionKey(own.track, own.session)
    used = tuple(item for item in identities if (item.track, item.session) == key and item.status is FileStatus.READY)
    rivals = [item.path for item in used if item.kind is own.kind]
    if len(rivals) > 1:
        _LOG.warning("%s has %d files of the kind %s, merged: %s", key, len(rivals), own.kind, ", ".join(rivals))
    return _Session(tree, key, used)


def _alone(tree: RawTree, path: str, kind: FileKind, key: SessionKey) -> FileIdentity:
    return FileIdentity(
        path=path,
        size=tree.objects[path].size,
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


__all__ = ["SessionReader"]
