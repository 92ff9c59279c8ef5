"""Contains the index of a lake's raw files: tracks, sessions, and the files of one session; see frames.py for tables.

It is built from one listing. What a file is comes from the published table ``files`` where that describes just these
objects, else from the sources.
"""

import logging
import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path

import pyarrow as pa

from apex_pipeline.catalog.loaders.fetch import SMALL_BYTES, ObjectReader
from apex_pipeline.catalog.loaders.filenames import LoadKind, canonical_session, session_in
from apex_pipeline.catalog.loaders.frames import has_known_columns
from apex_pipeline.errors import StoreError
from apex_pipeline.ingest.catalog import build_sessions_table, inputs_version, session_files
from apex_pipeline.ingest.plan import is_catalog_stale
from apex_pipeline.lake.snapshot import SessionRecord, Snapshot, read_current
from apex_pipeline.lake.tables import read_published
from apex_pipeline.settings import load_settings
from apex_pipeline.sources import identify_files, kinds_feeding, loadable_source, rules_version, sources_named
from apex_pipeline.sources.base import FileIdentity, FileStatus, FoundFile
from apex_pipeline.sources.normalize import names_match, normalize_name
from apex_pipeline.sources.raw_access import FileHeader, TrackName
from apex_pipeline.storage.base import ObjectInfo
from apex_pipeline.storage.layout import raw_key, raw_path
from apex_pipeline.tables.session_key import SessionKey

_LOG = logging.getLogger(__name__)

# As in lake/catalog_tables: hides a store's latency, far below the client's connections.
_PARALLEL_LOOKS = 8
# One or two letters begin too many words to mean a track.
_SHORTEST_NAME = 3
_LEFT_BY_SYSTEM = (".", "__MACOSX")
_TABLES = {LoadKind.LAP_START: "laps", LoadKind.TELEMETRY: "telemetry"}


class RawIndex:
    """Everything below ``data/`` at one moment; several threads may ask.

    Args:
        reader: Reads the lake.
        tracks_file: The user's own tracks and patterns.
        objects: What was found below ``data/``.

    Raises:
        StoreConfigError: There is no lake at all.
        ConfigurationError: The user's file cannot be read.
        ApexError: The lake cannot be listed.
    """

    def __init__(self, reader: ObjectReader, tracks_file: Path | None, objects: Iterable[ObjectInfo]) -> None:
        self._reader = reader
        self._settings = load_settings(tracks_file=tracks_file)
        source, self._access = loadable_source()
        self._rules = source.load_rules(self._settings)
        self.objects: dict[str, ObjectInfo] = {raw_path(item.key): item for item in objects}
        if not self.objects:
            # Nothing there at all may be an empty lake, or none: the second one is a wrong setting.
            reader.store.check_access()
        self._starts: dict[str, bytes] = {}
        self._identities: dict[str, list[FileIdentity]] = {}
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    # -- tracks --------------------------------------------------------------------------------------------------------

    def tracks(self) -> list[str]:
        """Return the tracks, sorted: each folder stands for the known tracks that it names, or files in it, or itself.

        ``COTA`` stands for ``circuit_of_the_americas``, ``2026`` with ``2026/barber/`` in it for
        ``barber_motorsports_park``, and a folder of a track nobody listed for itself.
        """
        return sorted({track for folder in self._folders for track in self._folders[folder]})

    @cached_property
    def _folders(self) -> dict[str, list[str]]:
        """Every folder directly below ``data/`` with the tracks it stands for."""
        said: defaultdict[str, set[str]] = defaultdict(set)
        for path in self.objects:
            folder, slash, _ = path.partition("/")
            if slash and not folder.startswith(_LEFT_BY_SYSTEM):
                said[folder] |= {track.slug for track in self._tracks_in.get(path, ()) if track.is_known}
        return {folder: self._tracks_of(folder, slugs) for folder, slugs in said.items()}

    def _tracks_of(self, folder: str, said_inside: set[str]) -> list[str]:
        known = self._known_slug(folder)
        return [known] if known else sorted(said_inside) or [folder]

    def _known_slug(self, name: str) -> str | None:
        return self._access.track_slug(name, self._rules)

    @cached_property
    def _tracks_in(self) -> dict[str, Sequence[TrackName]]:
        """The tracks that each path names; files that are not race data are left out."""
        named = {path: self._access.tracks_in(path, self._rules) for path in self.objects}
        return {path: tracks for path, tracks in named.items() if tracks is not None}

    def slug_of(self, track: str) -> str:
        """Return the slug that files of a track carry, under whatever name it is asked for."""
        return self._known_slug(track) or normalize_name(track)

    def _is_form_of(self, track: str, text: str) -> bool:
        """Tell whether a text is the track's name as it stands in file names."""
        return text in {track, track.replace("_", "-")} or self._known_slug(text) == self.slug_of(track)

    def _is_short_for(self, folder: str, text: str) -> bool:
        """Tell whether a text may be the short name of a track that the rules do not list; those they list say all."""
        is_long_enough = len(text) >= _SHORTEST_NAME
        return (
            self._known_slug(folder) is None
            and is_long_enough
            and names_match(normalize_name(text), normalize_name(folder))
        )

    def _own_folders(self, track: str) -> list[str]:
        return [folder for folder in self._folders if self._is_form_of(track, folder)]

    def _paths_of(self, track: str) -> list[str]:
        """Return the paths in every folder that has to do with a track."""
        slug = self.slug_of(track)
        folders = {
            folder
            for folder, stands_for in self._folders.items()
            if slug in {*stands_for, *map(normalize_name, stands_for)}
        }
        return [path for path in self.objects if self._belongs(path, folders, slug)]

    def _belongs(self, path: str, folders: set[str], slug: str) -> bool:
        folder, slash, _ = path.partition("/")
        if slash:
            return folder in folders
        return any(named.slug == slug for named in self._tracks_in.get(path, ()))

    # -- sessions ------------------------------------------------------------------------------------------------------

    def sessions(self, track: str) -> list[str]:
        """Return the sessions with laps, sorted: those that names say by the patterns, and those of other names."""
        named = dict(self._named(track, LoadKind.LAP_START))
        said = set(named.values())
        known = {canonical_session(session) for session in said}
        found = {
            str(item.session)
            for item in self._usable(track, LoadKind.LAP_START)
            if item.path not in named and canonical_session(str(item.session)) not in known
        }
        return sorted(said | found)

    def _named(self, track: str, kind: LoadKind) -> list[tuple[str, str]]:
        """Return path and session of the files whose names follow the patterns, in the track's own folders.

        Of several in one folder with the same session the longest name comes first: it says the track, too.
        """
        named: list[tuple[str, str]] = []
        for folder in self._own_folders(track):
            is_track, is_short_form = partial(self._is_form_of, folder), partial(self._is_short_for, folder)
            for path in self.objects:
                parent, _, name = path.rpartition("/")
                session = session_in(name, kind, is_track, is_short_form) if parent == folder else None
                if session is not None:
                    named.append((path, session))
        return sorted(named, key=lambda entry: (-len(entry[0]), entry[0]))

    def files_called(self, track: str, session: str, kind: LoadKind) -> list[str]:
        """Return the paths of a session's files of one kind, whatever they are called.

        Several only where nothing tells which of them is meant.
        """
        named = dict(self._named(track, kind))
        exact = [path for path, said in named.items() if said == session]
        if exact:
            return list({path.partition("/")[0]: path for path in reversed(exact)}.values())
        wanted = canonical_session(session)
        found = [
            item
            for item in self._usable(track, kind)
            if canonical_session(named.get(item.path, str(item.session))) == wanted
        ]
        # A session without a file of lap starts has its laps from the lap ends.
        of_kind = [item.path for item in found if item.kind == kind]
        return of_kind or [item.path for item in found]

    def _usable(self, track: str, kind: LoadKind) -> list[FileIdentity]:
        """Return the files of a track that can be loaded: those in use, and tables that need no deriving."""
        slug = self.slug_of(track)
        return [
            item
            for item in self.identities(track)
            if item.kind in kinds_feeding(_TABLES[kind])
            and item.track == slug
            and item.session
            and (item.status is FileStatus.READY or self._is_table(item, kind))
        ]

    def _is_table(self, item: FileIdentity, kind: LoadKind) -> bool:
        # Such a file is set aside by the catalog: its header is not that of what its name says.
        if item.status is not FileStatus.QUARANTINED or item.kind != kind:
            return False
        header = self.header(item.path)
        return header.problem is None and not self.is_raw(kind, header) and has_known_columns(kind, header.columns)

    def header(self, path: str) -> FileHeader:
        """Return the header of a file."""
        return self._access.read_header(self.read_head(path, self._access.head_bytes), path)

    def is_raw(self, kind: LoadKind, header: FileHeader) -> bool:
        """Return whether a file is as the cars sent it: one row per trigger or reading."""
        return self._access.is_raw(kind, header.columns)

    def name_patterns(self, kind: LoadKind) -> Sequence[str]:
        """Return the patterns of whole file names that the rules list."""
        return self._access.name_patterns(kind, self._rules)

    # -- files ---------------------------------------------------------------------------------------------------------

    def identities(self, track: str) -> list[FileIdentity]:
        """Return what the files of a track are: from the published catalog where it knows them all, else looked at."""
        slug = self.slug_of(track)
        with self._locks[f"identities of {slug}"]:
            if slug not in self._identities:
                paths = self._paths_of(track)
                published = self._published_identities(slug, paths)
                self._identities[slug] = self._scan(paths) if published is None else published
            return self._identities[slug]

    def _published_identities(self, slug: str, paths: list[str]) -> list[FileIdentity] | None:
        files = self._published_files
        if files is None:
            return None
        tops = {path.partition("/")[0] for path in paths}
        part = files.filter(pa.array([row["path"].partition("/")[0] in tops for row in files.to_pylist()], pa.bool_()))
        listing = {self.objects[path].key: self.objects[path] for path in paths}
        # Car files that are not in use may be tables, or copies under the name that is asked for.
        has_odd_ones = any(
            row["status"] != FileStatus.READY and row["kind"] in kinds_feeding("laps", "telemetry")
            for row in part.to_pylist()
        )
        if has_odd_ones or is_catalog_stale(listing, part, (), rules_version(self._settings)):
            return None
        sessions = [SessionKey(row["track"], row["session"]) for row in build_sessions_table(part).to_pylist()]
        return [item for key in sessions if key.track == slug for item in session_files(part, key)]

    def _scan(self, paths: list[str]) -> list[FileIdentity]:
        looked_at = [path for path in paths if path in self._tracks_in]
        with ThreadPoolExecutor(_PARALLEL_LOOKS) as pool:
            list(pool.map(partial(self.read_head, length=self._access.head_bytes), looked_at))
        found = [FoundFile(path, self.objects[path].size, partial(self.read_head, path)) for path in paths]
        return identify_files(found, self._settings)

    def read_head(self, path: str, length: int) -> bytes:
        """Return the beginning of a file; a small one is read whole, and each one only once."""
        with self._locks[path]:
            known = self._starts.get(path, b"")
            size = self.objects[path].size
            if len(known) < min(length, size):
                key = raw_key(path)
                known = self._reader.read(key) if size <= SMALL_BYTES else self._reader.store.read_head(key, length)
                self._starts[path] = known
            return known[:length]

    def known_contents(self) -> dict[str, bytes]:
        """Return by key the files that were read whole so far."""
        starts = dict(self._starts)
        return {raw_key(path): text for path, text in starts.items() if len(text) == self.objects[path].size}

    # -- what is published ---------------------------------------------------------------------------------------------

    def published(self, key: SessionKey, files: Iterable[FileIdentity]) -> SessionRecord | None:
        """Return the published tables of a session, if they were made from just these files as they are now."""
        snapshot, table = self._snapshot, self._published_files
        record = snapshot.session(key) if snapshot else None
        if record is None or table is None:
            return None
        used = session_files(table, key)
        versions = [source.derivation_version for source in sources_named(record.sources)]
        rows = [row for row in table.to_pylist() if row["path"] in {item.path for item in used}]
        made_from = {(row["path"], row["kind"], row["version"], row["bytes"], row["store_tag"]) for row in rows}
        present = {(item.path, str(item.kind), item.version, item.size, self.objects[item.path].tag) for item in files}
        return record if made_from == present and record.inputs_version == inputs_version(rows, versions) else None

    @cached_property
    def _snapshot(self) -> Snapshot | None:
        try:
            return read_current(self._reader.store)
        except StoreError as error:  # the raw files tell the same, only more slowly
            _LOG.warning("What is published is left out: %s", error)
            return None

    @cached_property
    def _published_files(self) -> pa.Table | None:
        record = self._snapshot.catalog.get("files") if self._snapshot else None
        if record is None:
            return None
        try:
            return read_published(self._reader.store, record)
        except StoreError as error:  # as above
            _LOG.warning("The published list of files is left out: %s", error)
            return None
