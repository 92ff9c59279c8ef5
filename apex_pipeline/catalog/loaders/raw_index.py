"""Contains the index of a lake's raw files: tracks, sessions and files of a session; see frames.py for their content.

It is built from one listing. The identities of the files are read from the table ``files`` of the published snapshot if
it matches the listing; otherwise the sources identify the files again.
"""

import logging
import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial

from apex_pipeline.catalog.loaders.fetch import SMALL_BYTES, ObjectReader
from apex_pipeline.catalog.loaders.filenames import LoadKind, session_in
from apex_pipeline.catalog.loaders.frames import has_known_columns
from apex_pipeline.catalog.loaders.identified import IdentifiedFiles
from apex_pipeline.errors import ConfigurationError, StoreError
from apex_pipeline.lake.catalog_tables import CatalogTables, session_files
from apex_pipeline.lake.names import similar_tracks
from apex_pipeline.lake.published_session import PublishedSession
from apex_pipeline.lake.records import RecordedFile, inputs_version
from apex_pipeline.lake.rollups import RULES_VERSION
from apex_pipeline.lake.snapshot import Snapshot, read_current
from apex_pipeline.settings import Settings
from apex_pipeline.sources import identify_files, kinds_feeding, loadable_source, rules_version, sources_named
from apex_pipeline.sources.base import FileIdentity, FileStatus, FoundFile
from apex_pipeline.sources.normalize import names_match, normalize_name
from apex_pipeline.sources.raw_access import FileHeader, TrackName
from apex_pipeline.sources.session_names import canonical_session
from apex_pipeline.storage.base import ObjectInfo
from apex_pipeline.storage.layout import raw_key, raw_path
from apex_pipeline.tables.session_key import SessionKey

_LOG = logging.getLogger(__name__)

# As in ops/metrics.py: hides the latency of a store, and is far below the client's 32 connections.
_PARALLEL_READS = 8
# Too many words start with the same one or two letters for these to identify a track.
_SHORTEST_NAME = 3
_SYSTEM_FOLDERS = (".", "__MACOSX")
_TABLES = {LoadKind.LAP_START: "laps", LoadKind.TELEMETRY: "telemetry"}


class RawIndex:
    """Everything below ``data/`` at one moment; safe to share between threads.

    Args:
        reader: Reads the lake.
        settings: For the user's own tracks and patterns.
        objects: The objects listed below ``data/``.
        identified: What earlier indexes of the same loader have identified.

    Raises:
        StoreConfigError: The lake does not exist.
        ConfigurationError: The file of tracks and patterns is invalid.
        ApexError: The lake cannot be listed.
    """

    def __init__(
        self,
        reader: ObjectReader,
        settings: Settings,
        objects: Iterable[ObjectInfo],
        identified: IdentifiedFiles | None = None,
    ) -> None:
        self._reader = reader
        self._settings = settings
        self._identified = identified or IdentifiedFiles()
        source, self._access = loadable_source()
        self._rules = source.load_rules(self._settings)
        self.objects: dict[str, ObjectInfo] = {raw_path(item.key): item for item in objects}
        if not self.objects:
            # No objects: the lake is empty, or it does not exist because of a wrong setting.
            reader.store.check_access()
        self._slugs: dict[str, str] = {}
        self._starts: dict[str, bytes] = {}
        self._identities: dict[str, list[FileIdentity]] = {}
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    # -- tracks --------------------------------------------------------------------------------------------------------

    def tracks(self) -> list[str]:
        """Return the tracks, sorted. Each folder counts as the known track it names, else as those its files name.

        ``COTA`` counts as ``circuit_of_the_americas``, and ``2026`` with ``2026/barber/`` in it as
        ``barber_motorsports_park``. A folder without any known track counts as a track under its own name.
        """
        return sorted({track for folder in self._folders for track in self._folders[folder]})

    @cached_property
    def _folders(self) -> dict[str, list[str]]:
        """Every folder directly below ``data/`` with its tracks."""
        named: defaultdict[str, set[str]] = defaultdict(set)
        for path in self.objects:
            folder, slash, _ = path.partition("/")
            if slash and not folder.startswith(_SYSTEM_FOLDERS):
                named[folder] |= {track.slug for track in self._tracks_in.get(path, ()) if track.is_known}
        return {folder: self._tracks_of(folder, slugs) for folder, slugs in named.items()}

    def _tracks_of(self, folder: str, named_inside: set[str]) -> list[str]:
        known = self._known_slug(folder)
        return [known] if known else sorted(named_inside) or [folder]

    def _known_slug(self, name: str) -> str | None:
        return self._access.track_slug(name, self._rules)

    @cached_property
    def _tracks_in(self) -> dict[str, Sequence[TrackName]]:
        """The tracks that each path names; files that are not race data are left out."""
        named = {path: self._access.tracks_in(path, self._rules) for path in self.objects}
        return {path: tracks for path, tracks in named.items() if tracks is not None}

    def slug_of(self, track: str) -> str:
        """Return the slug of a track in the catalog, for any name of the track.

        A part of the name is enough if only one track of the lake has it, as in ``lake/names.py``.
        """
        if track not in self._slugs:
            slug = self._known_slug(track) or normalize_name(track)
            if slug not in self._track_slugs:
                similar = similar_tracks(track, self._track_slugs) if len(slug) >= _SHORTEST_NAME else []
                slug = similar[0] if len(similar) == 1 else slug
            self._slugs[track] = slug
        return self._slugs[track]

    @cached_property
    def _track_slugs(self) -> set[str]:
        return {normalize_name(track) for track in self.tracks()}

    def _is_form_of(self, track: str, text: str) -> bool:
        """Return whether a text is a form of the track's name that file names use."""
        return text in {track, track.replace("_", "-")} or self._known_slug(text) == self.slug_of(track)

    def _is_short_for(self, folder: str, text: str) -> bool:
        """Return whether a text may be short for a track the rules do not list; a listed track has all its aliases."""
        is_long_enough = len(text) >= _SHORTEST_NAME
        return (
            self._known_slug(folder) is None
            and is_long_enough
            and names_match(normalize_name(text), normalize_name(folder))
        )

    def _own_folders(self, track: str) -> list[str]:
        return [folder for folder in self._folders if self._is_form_of(track, folder)]

    def _paths_of(self, track: str) -> list[str]:
        """Return the paths in every folder of a track."""
        slug = self.slug_of(track)
        folders = {
            folder for folder, tracks in self._folders.items() if slug in {*tracks, *map(normalize_name, tracks)}
        }
        return [path for path in self.objects if self._belongs(path, folders, slug)]

    def _belongs(self, path: str, folders: set[str], slug: str) -> bool:
        folder, slash, _ = path.partition("/")
        if slash:
            return folder in folders
        return any(named.slug == slug for named in self._tracks_in.get(path, ()))

    # -- sessions ------------------------------------------------------------------------------------------------------

    def sessions(self, track: str) -> list[str]:
        """Return the sessions with laps, sorted: from file names that follow the patterns, and from identities."""
        named = dict(self._named(track, LoadKind.LAP_START))
        from_names = set(named.values())
        known = {canonical_session(session) for session in from_names}
        found = {
            str(item.session)
            for item in self._usable(track, LoadKind.LAP_START)
            if item.path not in named and canonical_session(str(item.session)) not in known
        }
        return sorted(from_names | found)

    def _named(self, track: str, kind: LoadKind) -> list[tuple[str, str]]:
        """Return path and session of the files in the track's folders whose names follow the patterns.

        Of several with the same session in one folder the longest name comes first: it includes the track.
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
        """Return the paths of a session's files of one kind, whatever their names.

        Several paths are returned only if nothing distinguishes the files.
        """
        named = dict(self._named(track, kind))
        exact = [path for path, written in named.items() if written == session]
        if exact:
            return list({path.partition("/")[0]: path for path in reversed(exact)}.values())
        wanted = canonical_session(session)
        found = [
            item
            for item in self._usable(track, kind)
            if canonical_session(named.get(item.path, str(item.session))) == wanted
        ]
        # Without a file of lap starts, the laps are derived from the lap ends.
        of_kind = [item.path for item in found if item.kind == kind]
        return of_kind or [item.path for item in found]

    def _usable(self, track: str, kind: LoadKind) -> list[FileIdentity]:
        """Return the loadable files of a track: those that are ready, and files that already are tables."""
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
        # The catalog quarantines such a file: its header is not that of the kind in its name.
        if item.status is not FileStatus.QUARANTINED or item.kind != kind:
            return False
        header = self.header(item.path)
        return header.problem is None and not self.is_raw(kind, header) and has_known_columns(kind, header.columns)

    def header(self, path: str) -> FileHeader:
        """Return the header of a file."""
        return self._access.read_header(self.read_head(path, self._access.head_bytes), path)

    def is_raw(self, kind: LoadKind, header: FileHeader) -> bool:
        """Return whether a file has the raw format of the cars: one row per trigger or reading."""
        return self._access.is_raw(kind, header.columns)

    def name_patterns(self, kind: LoadKind) -> Sequence[str]:
        """Return the patterns for complete file names in the rules."""
        return self._access.name_patterns(kind, self._rules)

    # -- files ---------------------------------------------------------------------------------------------------------

    def identities(self, track: str) -> list[FileIdentity]:
        """Return the identities of a track's files: from the published catalog if current, else from the sources."""
        slug = self.slug_of(track)
        with self._locks[f"identities of {slug}"]:
            if slug not in self._identities:
                paths = self._paths_of(track)
                published = self._published_identities(paths)
                self._identities[slug] = self._identified_now(paths) if published is None else published
            return self._identities[slug]

    def _published_identities(self, paths: list[str]) -> list[FileIdentity] | None:
        files = self._published_files
        if files is None:
            return None
        tops = {path.partition("/")[0] for path in paths}
        known = [file for file in files if file.path.partition("/")[0] in tops]
        # Files without a tag were found in a source folder and never copied.
        is_of_listing = {file.path: (file.bytes, file.tag) for file in known if file.tag} == {
            path: (self.objects[path].size, self.objects[path].tag) for path in paths
        }
        if not is_of_listing:
            return None
        # Also those set aside: they may be tables, or copies under the requested name.
        return [file.identity for file in sorted(known, key=lambda file: (str(file.session), file.path)) if file.tag]

    def _identified_now(self, paths: list[str]) -> list[FileIdentity]:
        listed = [self.objects[path] for path in paths]
        return self._identified.identities(rules_version(self._settings), listed, partial(self._scan, paths))

    def _scan(self, paths: list[str]) -> list[FileIdentity]:
        race_files = [path for path in paths if path in self._tracks_in]
        with ThreadPoolExecutor(_PARALLEL_READS) as pool:
            list(pool.map(partial(self.read_head, length=self._access.head_bytes), race_files))
        found = [FoundFile(path, self.objects[path].size, partial(self.read_head, path)) for path in paths]
        return identify_files(found, self._settings)

    def read_head(self, path: str, length: int) -> bytes:
        """Return the first bytes of a file, read once; a small file is read completely."""
        with self._locks[path]:
            known = self._starts.get(path, b"")
            size = self.objects[path].size
            if len(known) < min(length, size):
                key = raw_key(path)
                known = self._reader.read(key) if size <= SMALL_BYTES else self._reader.store.read_head(key, length)
                self._starts[path] = known
            return known[:length]

    def known_contents(self) -> dict[str, bytes]:
        """Return the contents of the files that were read completely so far, by key."""
        starts = dict(self._starts)
        return {raw_key(path): text for path, text in starts.items() if len(text) == self.objects[path].size}

    # -- published tables ----------------------------------------------------------------------------------------------

    def published(self, key: SessionKey, files: Iterable[FileIdentity]) -> PublishedSession | None:
        """Return the published tables of a session if they were derived from exactly these files as they are now."""
        try:
            record = self._snapshot.session(key) if self._snapshot else None
            if self._snapshot is None or record is None:
                return None
            used = [file for file in session_files(self._snapshot, record) if file.is_in_use]
            versions = [source.derivation_version for source in sources_named(record.sources)]
        except (StoreError, ConfigurationError) as error:  # the raw files give the same result, only more slowly
            _LOG.warning("The published tables of %s are left out: %s", key, error)
            return None
        derived_from = {(file.path, file.kind, file.version, file.bytes, file.tag) for file in used}
        present = {(item.path, str(item.kind), item.version, item.size, self.objects[item.path].tag) for item in files}
        return record if derived_from == present and record.inputs_version == inputs_version(used, versions) else None

    @cached_property
    def _snapshot(self) -> Snapshot | None:
        try:
            return read_current(self._reader.store)
        except StoreError as error:  # the raw files give the same result, only more slowly
            _LOG.warning("The published snapshot is left out: %s", error)
            return None

    @cached_property
    def _published_files(self) -> list[RecordedFile] | None:
        """The files of the published snapshot, unless they were identified by other rules."""
        if self._snapshot is None:
            return None
        try:
            files = CatalogTables(self._snapshot).files
        except StoreError as error:  # as above
            _LOG.warning("The published table of files is left out: %s", error)
            return None
        if (files.schema.metadata or {}).get(RULES_VERSION.encode()) != rules_version(self._settings).encode():
            return None
        return [RecordedFile.from_row(row) for row in files.to_pylist()]
