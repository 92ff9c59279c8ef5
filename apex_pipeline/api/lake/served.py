"""Holds the lake that is served: its present snapshot, which a request keeps until it is answered, and earlier ones.

Publication swaps one small pointer, which is looked at every half second while requests arrive. Requests do not wait
for a look unless the last one is older than 1.5 s, so a slow store delays nobody, and a new snapshot is seen in time
after a quiet hour, too. What cannot be looked at stays as it was.
"""

import asyncio
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor

from apex_pipeline.api.lake.errors import BusyError, GoneError, NotFoundError, RequestError
from apex_pipeline.api.lake.limits import (
    EARLIER_CATALOGS,
    LOOK_EVERY_S,
    LOOK_TIMEOUT_S,
    LOOK_WAITED_FOR_AFTER_S,
)
from apex_pipeline.catalog.reader import Catalog
from apex_pipeline.errors import ApexError, ConfigurationError, ObjectMissingError, StoreCorruptionError, StoreError
from apex_pipeline.lake.snapshot import read_pointer
from apex_pipeline.settings import Settings
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import snapshot_key

_LOG = logging.getLogger(__name__)

_SNAPSHOT_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")


class ServedLake:
    """The lake that is served; its methods belong to one event loop.

    Args:
        open_lake: Opens the store; tried again at the next look if it raises an error.
        settings: Names the file with the user's own track names.
        workers: Threads for what waits for the store.
    """

    def __init__(self, open_lake: Callable[[], ObjectStore], settings: Settings, workers: Executor) -> None:
        self._open_lake = open_lake
        self._settings = settings
        self._workers = workers
        self._store: ObjectStore | None = None
        self._catalog: Catalog | None = None
        self._earlier: OrderedDict[str, Catalog] = OrderedDict()
        self._look: asyncio.Future[None] | None = None
        self._looked_s = float("-inf")
        self._failure: ApexError | None = None

    @property
    def failure(self) -> ApexError | None:
        """Why the last look failed; ``None`` if it did not."""
        return self._failure

    @property
    def looked_s(self) -> float:
        """Seconds since the last look that succeeded."""
        return time.monotonic() - self._looked_s

    async def current(self) -> Catalog:
        """Return the catalog of the published snapshot, at most 2 s old.

        Raises:
            ApexError: Nothing is published, or the lake has not been reached yet.
        """
        age_s = self.looked_s
        if age_s > LOOK_EVERY_S and self._look is None:
            self._look = asyncio.ensure_future(self._looked())
            self._look.add_done_callback(self._end_look)
        if self._look is not None and (self._catalog is None or age_s > LOOK_WAITED_FOR_AFTER_S):
            await asyncio.wait([self._look], timeout=LOOK_TIMEOUT_S)
        if self._catalog is not None:
            return self._catalog
        raise self._failure or BusyError("The lake does not answer.", "Try again; `apex doctor` checks the store.")

    async def at(self, snapshot: str) -> Catalog:
        """Return the catalog of a snapshot by its id.

        Raises:
            RequestError: It is no id.
            NotFoundError: The lake has no such snapshot, or no longer.
        """
        if not _SNAPSHOT_ID.fullmatch(snapshot):
            raise RequestError(
                "This is not the id of a snapshot.", "Take it from /api/v1/snapshots, like 20260910T141500Z-1a2b3c4d."
            )
        current = await self.current()
        if current.snapshot.id == snapshot:
            return current
        if snapshot not in self._earlier:
            loop = asyncio.get_running_loop()
            self._earlier[snapshot] = await loop.run_in_executor(self._workers, self._open_earlier, snapshot)
            while len(self._earlier) > EARLIER_CATALOGS:
                self._earlier.popitem(last=False)
        self._earlier.move_to_end(snapshot)
        return self._earlier[snapshot]

    async def of_cursor(self, snapshot: str) -> Catalog:
        """Return the catalog of a cursor's snapshot.

        Raises:
            GoneError: It has been removed from the lake.
        """
        try:
            return await self.at(snapshot)
        except NotFoundError as error:
            raise _gone(snapshot) from error

    async def cause_of(self, catalog: Catalog, error: StoreError) -> ApexError:
        """Return why a snapshot's object could not be read: the snapshot has been removed meanwhile, or as told."""
        loop = asyncio.get_running_loop()
        key = snapshot_key(catalog.snapshot.id)
        found = await loop.run_in_executor(self._workers, catalog.snapshot.store.head, key)
        if found is not None:
            return error
        self._earlier.pop(catalog.snapshot.id, None)
        return _gone(catalog.snapshot.id)

    def _open_earlier(self, snapshot: str) -> Catalog:
        try:
            return Catalog(self._opened(), snapshot, self._settings)
        except (ConfigurationError, ObjectMissingError) as error:
            raise NotFoundError(
                f"The lake has no snapshot {snapshot}, or no longer.", "/api/v1/snapshots lists those there are."
            ) from error

    def _opened(self) -> ObjectStore:
        if self._store is None:
            self._store = self._open_lake()
        return self._store

    async def _looked(self) -> None:
        """Look at the pointer, and open the snapshot it names if that is another one."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._workers, self._newest, self._catalog)
        except ApexError as error:
            if self._failure is None:
                _LOG.warning("The lake cannot be looked at: %s", error)
            self._failure = error
            return
        if self._catalog is not None and found is not self._catalog:
            self._earlier[self._catalog.snapshot.id] = self._catalog
        self._catalog, self._failure, self._looked_s = found, None, time.monotonic()

    def _end_look(self, look: "asyncio.Future[None]") -> None:
        self._look = None
        if not look.cancelled() and (error := look.exception()) is not None:
            _LOG.error("The lake cannot be looked at", exc_info=error)

    def _newest(self, known: Catalog | None) -> Catalog:
        store = self._opened()
        pointer = read_pointer(store)
        if known is not None and pointer is None:
            raise StoreCorruptionError(
                f"{store.uri} no longer says what is published.", "Run `apex sync`, which publishes the lake again."
            )
        if known is not None and pointer is not None and pointer[0] == known.snapshot.id:
            return known
        # The tables that both have are kept in memory once.
        return Catalog(store, settings=self._settings) if known is None else known.refreshed()


def _gone(snapshot: str) -> GoneError:
    return GoneError(
        f"The snapshot {snapshot} can no longer be read: it has been removed from the lake.",
        "Ask again without the cursor, or without snapshot, for the present one.",
    )
