"""The loaders that applications call: pandas frames of laps and telemetry, from a bucket or a folder, never a crash.

>>> from apex_pipeline.catalog import get_loader  # doctest: +SKIP
>>> get_loader().load_lap_times("barber_motorsports_park", "R1")  # doctest: +SKIP

Here belongs what an application sees: the methods, the log lines, and that trouble is ``None`` (or an empty list) with
its reason in :attr:`DataLoader.last_failure`. The work is done by the other modules of this package.
"""

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import PurePosixPath
from typing import ClassVar, TypeVar

import pandas as pd

from apex_pipeline.catalog.loaders.derive import SessionReader
from apex_pipeline.catalog.loaders.failures import LoadFailure, MissingOrForbiddenError, failure_of
from apex_pipeline.catalog.loaders.fetch import ObjectReader
from apex_pipeline.catalog.loaders.filenames import LoadKind, kind_from_name, raw_key_of
from apex_pipeline.catalog.loaders.frames import csv_frame, decompressed, empty_frame
from apex_pipeline.catalog.loaders.lookup import WHAT, FileLookup, event_of
from apex_pipeline.catalog.loaders.raw_index import RawIndex
from apex_pipeline.errors import ApexError, StorePermissionError
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.caching import CacheStats
from apex_pipeline.storage.factory import open_store
from apex_pipeline.storage.layout import RAW_PREFIX
from apex_pipeline.storage.request_stats import RequestStats
from apex_pipeline.storage.single_flight import SingleFlight
from apex_pipeline.tables.session_key import SessionKey

_LOG = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")


class DataLoader:
    """What both loaders do; applications take :class:`S3DataLoader`, :class:`LocalDataLoader` or :func:`get_loader`.

    Making one sends nothing. It may be shared by threads: what several ask for at the same time is read once, and
    nothing is kept afterwards. No call raises because of the store or the files; what went wrong is logged and told by
    :attr:`last_failure`.

    Args:
        settings: Where the lake is; read from the environment when not given.
        store: The lake itself, instead of the one the settings name.

    Raises:
        ConfigurationError: A variable of the environment cannot be read.
    """

    _is_in_s3: ClassVar[bool]
    _place: ClassVar[str]

    def __init__(self, settings: Settings | None = None, store: ObjectStore | None = None) -> None:
        self._settings = (settings or load_settings()).model_copy(update={"use_s3_data": self._is_in_s3})
        self._given_store = store
        self._lock = threading.Lock()
        self._opened: tuple[ObjectReader, SessionReader] | None = None
        self._flights = SingleFlight()
        self._call = threading.local()

    def load_lap_times(self, track_name: str, session: str) -> pd.DataFrame | None:
        """Return the laps of a session, one row per car and lap.

        Args:
            track_name: Track as ``get_available_tracks`` lists it, or any other name of it.
            session: Session as ``get_available_sessions`` lists it.

        Returns:
            ``LapNumber`` (int64), ``LapTime`` (float64, seconds), ``Driver`` and ``CarNumber`` (text), then further
            columns; ``None`` if there is none or it cannot be read.
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
            sampled. ``None`` if there is none or it cannot be read.
        """
        return self._load(LoadKind.TELEMETRY, track_name, session)

    def get_available_tracks(self) -> list[str]:
        """Return the tracks that have files, sorted: slugs of known tracks, else the names of the folders."""
        return self._answer("get_available_tracks", lambda: self._index().tracks()) or []

    def get_available_sessions(self, track_name: str) -> list[str]:
        """Return the sessions of a track for which lap files are there, sorted."""
        find = partial(self._sessions_of, track_name)
        return self._answer("get_available_sessions", find, track=track_name) or []

    @property
    def last_failure(self) -> LoadFailure | None:
        """Why this thread's last call gave ``None`` or an empty list; ``None`` if nothing went wrong."""
        return getattr(self._call, "failure", None)

    def metrics(self) -> dict[str, float]:
        """Return what this loader has asked of its store so far.

        ``requests``, ``errors``, ``error_rate`` and ``avg_ms`` (to the beginning of the answer) count every request of
        the store's connection; ``downloads`` counts the objects read whole; ``cache_hits``, ``cache_misses`` and
        ``cache_hit_rate`` are of the store's cache, zero without one.
        """
        opened = self._opened
        store = opened[0].store if opened else None
        traffic = store.traffic if store else RequestStats()
        hits, misses = (store.hits, store.misses) if isinstance(store, CacheStats) else (0, 0)
        return {
            "requests": traffic.requests,
            "errors": traffic.errors,
            "error_rate": traffic.error_rate,
            "avg_ms": traffic.average_ms,
            "downloads": opened[0].downloads if opened else 0,
            "cache_hits": hits,
            "cache_misses": misses,
            "cache_hit_rate": hits / (hits + misses) if hits + misses else 0.0,
        }

    def _get_s3_key(self, track_name: str, filename: str) -> str:
        return raw_key_of(track_name, filename)

    def _download_csv_from_s3(self, s3_key: str) -> pd.DataFrame | None:
        """Return any CSV file of the lake as pandas reads it."""
        started_s = time.perf_counter()
        download = partial(self._flights.do, ("download", s3_key), partial(self._download, s3_key))
        frame = self._answer("download", download, key=s3_key)
        return None if frame is None else self._loaded("download", s3_key, frame, started_s)

    def _load(self, kind: LoadKind, track: str, session: str) -> pd.DataFrame | None:
        started_s = time.perf_counter()
        event, names = event_of(kind), {"track": track, "session": session}
        _report(logging.INFO, f"Loading {WHAT[kind]} for {track}/{session}", event=event, outcome="begun", **names)
        read = partial(self._flights.do, (kind, track, session), partial(self._read, kind, SessionKey(track, session)))
        answer = self._answer(event, read, **names)
        return None if answer is None else self._loaded(event, *answer, started_s, **names)

    def _read(self, kind: LoadKind, asked_for: SessionKey) -> tuple[str, pd.DataFrame]:
        """Return the key and the frame of a session."""
        reader, sessions = self._open()
        lookup = FileLookup(kind, asked_for, self._get_s3_key)
        try:
            index = self._index()
        except StorePermissionError as refusal:
            index, path = lookup.without_listing(reader, self._settings.tracks_file, refusal)
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
        frame = csv_frame(decompressed(content, key), key)
        kind = kind_from_name(key)
        return empty_frame(kind) if frame.columns.empty and kind else frame

    def _raise_if_unlisted(self, key: str, refusal: StorePermissionError) -> None:
        """Raise another error where a refusal may stand for a missing object: to those who may not list, it does."""
        try:
            next(iter(self._open()[0].store.list(key)), None)
        except StorePermissionError:
            raise MissingOrForbiddenError(
                f"{refusal.problem} Without s3:ListBucket S3 says the same of an object that is not there.",
                refusal.hint,
            ) from refusal

    def _sessions_of(self, track: str) -> list[str]:
        return self._index().sessions(track)

    def _index(self) -> RawIndex:
        reader, _ = self._open()
        return self._flights.do(
            "index", lambda: RawIndex(reader, self._settings.tracks_file, reader.store.list(RAW_PREFIX))
        )

    def _open(self) -> tuple[ObjectReader, SessionReader]:
        with self._lock:
            if self._opened is None:
                reader = ObjectReader(self._given_store or open_store(self._settings, for_writing=False))
                self._opened = reader, SessionReader(reader, self._settings)
            return self._opened

    def _answer(self, event: str, work: Callable[[], _Answer], **names: str) -> _Answer | None:
        """Return what the work returns; where it fails, log why, keep the reason, and return ``None``."""
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

    def _loaded(self, event: str, key: str, frame: pd.DataFrame, started_s: float, **names: str) -> pd.DataFrame:
        """Tell that a file was loaded, and return a frame that is the caller's own."""
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
        # Others may have got the same frame. pandas copies the values when one of them writes to it, not before.
        return frame.copy(deep=False)


class S3DataLoader(DataLoader):
    """Loads from the bucket that ``S3_BUCKET_NAME`` names, whatever ``USE_S3_DATA`` says."""

    _is_in_s3 = True
    _place = "S3"


class LocalDataLoader(DataLoader):
    """Loads from the folder that ``APEX_LAKE_DIR`` names; the keys are the paths below it. Needs no credentials."""

    _is_in_s3 = False
    _place = "disk"


def get_loader(settings: Settings | None = None) -> S3DataLoader | LocalDataLoader:
    """Return the loader that ``USE_S3_DATA`` chooses.

    Args:
        settings: Read from the environment when not given.

    Raises:
        ConfigurationError: A variable of the environment cannot be read.
    """
    settings = settings or load_settings()
    return S3DataLoader(settings) if settings.use_s3_data else LocalDataLoader(settings)


def _report(level: int, message: str, **fields: object) -> None:
    _LOG.log(level, "%s", message, extra=fields)


def _ms_since(started_s: float) -> float:
    return round(1000 * (time.perf_counter() - started_s), 1)
