"""Keeps the services of races open for the requests, and the reaper at work beside them.

The database may be away when the API starts, or restart later: requests are then answered with 503, and each one tries
again.
"""

import logging
import threading
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Annotated, Final

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool

from apex_pipeline.errors import ApexError
from apex_pipeline.races.errors import DatabaseUnavailableError
from apex_pipeline.races.reaper import reap
from apex_pipeline.races.services import RaceServices, opened_services
from apex_pipeline.settings import Settings

_LOG = logging.getLogger(__name__)

# A lost race is found within this time and the silence after which it counts as lost: 20 s.
_REAPED_EVERY_S: Final = 5.0
# Looking for a database that is away takes up to 5 s. Requests that wait for one look share its result; otherwise fifty
# of them would look one after the other.
_AWAY_FOR_S: Final = 2.0


class KeptServices:
    """The services of this process, opened at the first use.

    Args:
        settings: The configuration.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._stack = ExitStack()
        self._lock = threading.Lock()
        self._services: RaceServices | None = None
        self._away: DatabaseUnavailableError | None = None
        self._away_until_s = 0.0
        self._stopped = threading.Event()

    @property
    def opened(self) -> RaceServices | None:
        """The services, if they have been opened."""
        return self._services

    def get(self) -> RaceServices:
        """Return the services.

        Raises:
            DatabaseUnavailableError: The database cannot be reached; a call after two seconds tries again.
            ConfigurationError: A setting cannot be used.
        """
        with self._lock:
            if self._services is None:
                if self._away is not None and time.monotonic() < self._away_until_s:
                    raise DatabaseUnavailableError(self._away.problem, self._away.hint)
                self._services = self._open()
            return self._services

    def _open(self) -> RaceServices:
        try:
            return self._stack.enter_context(opened_services(self.settings))
        except DatabaseUnavailableError as error:
            self._away, self._away_until_s = error, time.monotonic() + _AWAY_FOR_S
            raise

    @contextmanager
    def running(self) -> Generator[None]:
        """Run the reaper until the block ends, and close the services."""
        thread = threading.Thread(target=self._keep_reaping, name="race-reaper", daemon=True)
        thread.start()
        # Nobody waits for it, not even the end: a store that is away is tried for a minute.
        threading.Thread(target=self._warm_up, name="race-store", daemon=True).start()
        try:
            yield
        finally:
            self._stopped.set()
            thread.join()
            with self._lock:
                self._services = None
                self._stack.close()

    def _warm_up(self) -> None:
        """Load the store's library and find the bucket, for which the first eight uploads would wait two seconds."""
        try:
            self.get().store.check_access()
        except ApexError as error:  # uploads will say so, too, if it lasts
            _LOG.warning("The store of races cannot be used now: %s", error)

    def _keep_reaping(self) -> None:
        pause = 0.0
        while not self._stopped.wait(pause):
            pause = _REAPED_EVERY_S
            try:
                found = reap(self.get())
            except ApexError as error:  # database, queue or store are away; the next look may find them
                _LOG.warning("The reaper could not look: %s", error)
            except Exception:  # noqa: BLE001  -- without the reaper, lost races would stay lost
                _LOG.exception("The reaper failed; it looks again")
            else:
                if found.dispatched or found.lost or found.deleted:
                    _LOG.info("%s", found)


async def kept_services(request: Request) -> RaceServices:
    """Return the services for a request; only opening them takes a thread."""
    kept: KeptServices = request.app.state.services
    return kept.opened or await run_in_threadpool(kept.get)


Services = Annotated[RaceServices, Depends(kept_services)]
