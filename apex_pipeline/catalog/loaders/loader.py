"""The loaders that applications call: laps and telemetry as pandas frames, from a bucket or a folder.

>>> from apex_pipeline.catalog import get_loader  # doctest: +SKIP
>>> get_loader().load_lap_times("barber_motorsports_park", "R1")  # doctest: +SKIP

A call that fails logs the reason, keeps it in :attr:`DataLoader.last_failure` and returns ``None`` or an empty list.
See lookup.py for finding the file of a session and derive.py for building its frame.
"""

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import ClassVar, TypeVar

import pandas as pd

from apex_pipeline.catalog.loaders.derive import SessionReader
from apex_pipeline.catalog.loaders.failures import LoadFailure, MissingOrForbiddenError, failure_of
from apex_pipeline.catalog.loaders.fetch import ObjectReader
from apex_pipeline.catalog.loaders.filenames import LoadKind, kind_from_name, raw_key_of
from apex_pipeline.catalog.loaders.frames import csv_frame, empty_frame
from apex_pipeline.catalog.loaders.identified import IdentifiedFiles
from apex_pipeline.catalog.loaders.lookup import WHAT, FileLookup, event_of
from apex_pipeline.catalog.loaders.raw_index import RawIndex
from apex_pipeline.errors import ApexError, StorePermissionError
from apex_pipeline.lake_folder import folder_with_data
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline.sources.compression import decompress
from apex_pipeline.sources.limits import Limits
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.caching import CacheStats
from apex_pipeline.storage.factory import open_store, open_store_at
from apex_pipeline.storage.layout import RAW_PREFIX
from apex_pipeline.storage.request_stats import RequestStats
from apex_pipeline.storage.single_flight import SingleFlight
from apex_pipeline.tables.session_key import SessionKey

_LOG = logging.getLogger(__name__)
_Result = TypeVar("_Result")


class DataLoader:
    """Base class; applications use :class:`S3DataLoader`, :class:`LocalDataLoader` or :func:`get_loader`.

    Creating a loader sends no request. Threads may share one: concurrent calls for the same session read it once, and
    nothing is kept afterwards but what the listed files are, as long as their tags stay the same. No call raises
    because of the store or the files: the error is logged and available as :attr:`last_failure`.

    Args:
        settings: Location of the lake; read from the environment by default.
        store: The lake, instead of the one in the settings.

    Raises:
        ConfigurationError: An environment variable is invalid.
    """

    _is_in_s3: ClassVar[bool]
    _place: ClassVar[str]

    def __init__(self, settings: Settings | None = None, store: ObjectStore | None = None) -> None:
        self._settings = (settings or load_settings()).model_copy(update={"use_s3_data": self._is_in_s3})
        self._given_store = store
        self._lock = threading.Lock()
        self._opened: tuple[ObjectReader, SessionReader] | None = None
        self._flights = SingleFlight()
        self._identified = IdentifiedFiles()
        self._call = threading.local()

    def __repr__(self) -> str:
        lake = self._settings.lake_dir if not self._is_in_s3 else f"s3://{self._settings.bucket}"
        where = self._given_store.uri if self._given_store else lake
        return f"<{type(self).__name__} of {where}>"

    def load_lap_times(self, track_name: str, session: str) -> pd.DataFrame | None:
        """Return the laps of a session, one row per car and lap.

        Args:
            track_name: Track as listed by ``get_available_tracks``, or any other name of it.
            session: Session as listed by ``get_available_sessions``.

        Returns:
            ``LapNumber`` (int64), ``LapTime`` (float64, seconds), ``Driver`` and ``CarNumber`` (text), then further
            columns; ``None`` if the session has no lap file or it cannot be read.
        """
        return self._load(LoadKind.LAP_START, track_name, session)

    def load_telemetry(self, track_name: str, session: str) -> pd.DataFrame | None:
        """Return the telemetry of a session, one row per car and sample time.

        Args:
            track_name: As for :meth:`load_lap_times`.
            session: As for :meth:`load_lap_times`.

        Returns:
            ``Time`` (seconds since the first sample), ``Speed`` (km/h), ``Throttle`` (%), ``Brake`` (bar),
            ``Latitude``, ``Longitude`` (degrees), all float64, then further columns; missing where a channel was not
            sampled. ``None`` if the session has no telemetry file or it cannot be read.
        """
        return self._load(LoadKind.TELEMETRY, track_name, session)

    def get_available_tracks(self) -> list[str]:
        """Return the tracks that have files, sorted: slugs of known tracks, else the names of the folders."""
        return self._try("get_available_tracks", lambda: self._index().tracks()) or []

    def get_available_sessions(self, track_name: str) -> list[str]:
        """Return the sessions of a track that have lap files, sorted."""
        find = partial(self._sessions_of, track_name)
        return self._try("get_available_sessions", find, track=track_name) or []

    @property
    def last_failure(self) -> LoadFailure | None:
        """Why this thread's last call returned ``None`` or an empty list; ``None`` if it succeeded."""
        return getattr(self._call, "failure", None)

    def metrics(self) -> dict[str, float]:
        """Return this loader's request and cache statistics so far.

        ``requests``, ``errors``, ``error_rate`` and ``avg_ms`` (mean time to the first byte) cover every request of the
        store's connection; ``downloads`` is the number of objects read completely; ``cache_hits``, ``cache_misses`` and
        ``cache_hit_rate`` are those of the store's cache, zero without one.
        """
        opened = self._opened
        store = opened[0].store if opened else None
        stats = store.request_stats if store else RequestStats()
        hits, misses = (store.hits, store.misses) if isinstance(store, CacheStats) else (0, 0)
        return {
            "requests": stats.requests,
            "errors": stats.errors,
            "error_rate": stats.error_rate,
            "avg_ms": stats.average_ms,
            "downloads": opened[0].downloads if opened else 0,
            "cache_hits": hits,
            "cache_misses": misses,
            "cache_hit_rate": hits / (hits + misses) if hits + misses else 0.0,
        }

    def _get_s3_key(self, track_name: str, filename: str) -> str:
        return raw_key_of(track_name, filename)

    def _download_csv_from_s3(self, s3_key: str) -> pd.DataFrame | None:
        """Return any CSV file of the lake as read by pandas."""
        started_s = time.perf_counter()
        download = partial(self._flights.do, ("download", s3_key), partial(self._download, s3_key))
        frame = self._try("download", download, key=s3_key)
        return None if frame is None else self._log_loaded("download", s3_key, frame, started_s)

    def _load(self, kind: LoadKind, track: str, session: str) -> pd.DataFrame | None:
        started_s = time.perf_counter()
        event, names = event_of(kind), {"track": track, "session": session}
        _report(logging.INFO, f"Loading {WHAT[kind]} for {track}/{session}", event=event, outcome="begun", **names)
        read = partial(self._flights.do, (kind, track, session), partial(self._read, kind, SessionKey(track, session)))
        found = self._try(event, read, **names)
        return None if found is None else self._log_loaded(event, *found, started_s, **names)

    def _read(self, kind: LoadKind, asked_for: SessionKey) -> tuple[str, pd.DataFrame]:
        """Return the key and the frame of a session."""
        reader, sessions = self._open()
        lookup = FileLookup(kind, asked_for, self._get_s3_key)
        try:
            index = self._index()
        except StorePermissionError as refusal:
            index, path = lookup.without_listing(reader, self._settings, refusal)
            paths = [path]
        else:
            paths = lookup.in_index(index)
        return index.objects[paths[0]].key, sessions.frame(index, paths, kind, asked_for)

    def _download(self, key: str) -> pd.DataFrame:
        reader, _ = self._open()
        try:
            content = reader.read(key)
        except StorePermissionError as refusal:
            self._raise_if_unlisted(key, refusal)
            raise
        frame = csv_frame(decompress(content, key, Limits.from_settings(self._settings)), key)
        kind = kind_from_name(key)
        return empty_frame(kind) if frame.columns.empty and kind else frame

    def _raise_if_unlisted(self, key: str, refusal: StorePermissionError) -> None:
        """Raise a different error if the refused object may be missing: without the right to list, S3 hides that."""
        try:
            next(iter(self._open()[0].store.list(key)), None)
        except StorePermissionError:
            raise MissingOrForbiddenError(
                f"{refusal.problem} Without s3:ListBucket, S3 gives the same reply for a missing object.",
                refusal.hint,
            ) from refusal

    def _sessions_of(self, track: str) -> list[str]:
        return self._index().sessions(track)

    def _index(self) -> RawIndex:
        reader, _ = self._open()
        listed = partial(reader.store.list, RAW_PREFIX)
        return self._flights.do("index", lambda: RawIndex(reader, self._settings, listed(), self._identified))

    def _open(self) -> tuple[ObjectReader, SessionReader]:
        with self._lock:
            if self._opened is None:
                reader = ObjectReader(self._given_store or self._open_store())
                self._opened = reader, SessionReader(reader, self._settings)
            return self._opened

    def _open_store(self) -> ObjectStore:
        return open_store(self._settings, for_writing=False)

    def _try(self, event: str, work: Callable[[], _Result], **names: str) -> _Result | None:
        """Do the work and return its result; if it fails, log the error, keep the reason and return ``None``."""
        self._call.failure = None
        started_s = time.perf_counter()
        try:
            return work()
        except ApexError as error:
            failure = failure_of(error)
            self._call.failure = failure
            fields = {"event": event, "outcome": failure.reason.value, "duration_ms": _ms_since(started_s)}
            _report(failure.level, str(error), **fields, **names)
            return None

    def _log_loaded(self, event: str, key: str, frame: pd.DataFrame, started_s: float, **names: str) -> pd.DataFrame:
        """Log that a file was loaded, and return a copy of the frame for the caller."""
        fields = {"event": event, "key": key, "duration_ms": _ms_since(started_s)}
        if frame.empty:
            _report(
                logging.WARNING,
                f"Nothing is recorded in {PurePosixPath(key).name}: {key}",
                outcome="empty",
                **fields,
                **names,
            )
        else:
            _report(logging.INFO, f"Successfully loaded from {self._place}: {key}", outcome="loaded", **fields, **names)
        # Concurrent callers share the frame. pandas copies the values only when one of them writes to it.
        return frame.copy(deep=False)


class S3DataLoader(DataLoader):
    """Loads from the bucket ``S3_BUCKET_NAME``, whatever the value of ``USE_S3_DATA``."""

    _is_in_s3 = True
    _place = "S3"


class LocalDataLoader(DataLoader):
    """Loads from the folder ``APEX_LAKE_DIR``; the keys are the paths below it. Needs no credentials.

    Without a lake, and without that setting, it loads from the nearest folder ``data`` of race files, here or above.
    """

    _is_in_s3 = False
    _place = "disk"

    def _open_store(self) -> ObjectStore:
        is_given = "lake_dir" in self._settings.model_fields_set
        without_lake = None if is_given or self._settings.lake_dir.exists() else folder_with_data(Path.cwd())
        return open_store_at(str(without_lake), self._settings) if without_lake else super()._open_store()


def get_loader(settings: Settings | None = None) -> S3DataLoader | LocalDataLoader:
    """Return the loader that ``USE_S3_DATA`` selects.

    Args:
        settings: Read from the environment by default.

    Raises:
        ConfigurationError: An environment variable is invalid.
    """
    settings = settings or load_settings()
    return S3DataLoader(settings) if settings.use_s3_data else LocalDataLoader(settings)


def _report(level: int, message: str, **fields: object) -> None:
    _LOG.log(level, "%s", message, extra=fields)


def _ms_since(started_s: float) -> float:
    return round(1000 * (time.perf_counter() - started_s), 1)
