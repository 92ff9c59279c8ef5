"""Passes over a folder without end: what is finished is shipped, until the process is asked to stop.

Every pass lists the folder, so it works where the system reports no changes: on network shares, bind mounts and in some
containers. Where it does report them, ``watchfiles`` shortens the wait.
"""

import logging
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from apex_pipeline.errors import ApexError, SourceError, StoreLockedError
from apex_pipeline.events.config import EventConfig
from apex_pipeline.events.failures import FAIL_FAST, classify, described, next_step
from apex_pipeline.events.finished import SettleWatch
from apex_pipeline.events.folder import EventFile, Listing, list_folder
from apex_pipeline.events.report import ShipListener, ShipReport
from apex_pipeline.events.ship import OpenShipper, opened, report_of, waiting_outcome
from apex_pipeline.process.interrupts import raise_if_interrupted

_LOG = logging.getLogger(__name__)

# Another shipper of the folder is waited for as long as it takes.
_FOREVER_S = float("inf")
# After a failure that concerns every file, the bucket is asked again after this time: credentials are renewed, a
# network comes back. Each class of failure is reported once.
_AFTER_FAILURE_S = 30.0
# Of a large folder, listings take at most a quarter of the time.
_PAUSE_PER_LISTING = 3.0
# Changes are collected for this time: a burst of files is one reason to look, not hundreds.
_COLLECTED_MS = 50
# Of entries that cannot be shipped, a message names this many.
_REPORTED_ENTRIES = 20
_JOIN_S = 2.0
PassListener = Callable[[ShipReport], None]


def watch(
    config: EventConfig,
    *,
    listener: ShipListener = lambda _: None,
    on_pass: PassListener = lambda _: None,
    uses_notifications: bool = True,
    should_stop: threading.Event | None = None,
) -> None:
    """Ship a folder's files as they are finished, until this process is asked to end.

    Args:
        config: Folder, bucket and settings.
        listener: Called with the outcome of each file.
        on_pass: Called with the report of each pass that has tried a file.
        uses_notifications: Whether the system's reports of changes may shorten the wait.
        should_stop: Ends the watch when set; checked between passes.

    Raises:
        SourceError: The folder is missing, is not a folder, or cannot be read when the watch begins.
        ConfigurationError: The credentials are incomplete.
        StoreError: The bucket cannot be used when the watch begins.
        Interrupted: This process was asked to end; the file in hand was finished.
    """
    list_folder(config.folder)
    stop = should_stop or threading.Event()
    try:
        with opened(config, patience_s=_FOREVER_S, on_wait=_tell_of_wait, should_stop=stop) as ready:
            _check_bucket(config, ready)
            with _notifications(config.folder, stop, is_wanted=uses_notifications) as changed:
                watcher = _Watcher(config, ready, listener, on_pass)
                while not stop.is_set():
                    changed.clear()
                    at_least_s, at_most_s = watcher.run_pass()
                    if not stop.wait(at_least_s):
                        changed.wait(at_most_s - at_least_s)
                    raise_if_interrupted()
    except StoreLockedError:
        if not stop.is_set():  # the journal's; the folder itself is waited for
            raise


def _tell_of_wait(problem: str) -> None:
    _LOG.warning("%s Waiting for it to end.", problem)


def _check_bucket(config: EventConfig, ready: OpenShipper) -> None:
    """Fail at once if the bucket cannot be used; a store that is out of reach for now is no reason to give up."""
    try:
        ready.store.check_access()
    except ApexError as error:
        if classify(error) in FAIL_FAST:
            raise
        _LOG.warning("%s Trying again.", described(error))
    else:
        _LOG.info("Watching %s; files go to %s", config.folder, config.uri)


class _Watcher:
    """The state of a watch from one pass to the next."""

    def __init__(self, config: EventConfig, ready: OpenShipper, listener: ShipListener, on_pass: PassListener) -> None:
        settings = config.settings
        self._config = config
        self._ready = ready
        self._listener = listener
        self._on_pass = on_pass
        self._settle = SettleWatch(settings.events_settle_s, keeps_order=settings.events_concurrency == 1)
        self._reported: set[str] = set()
        self._is_first = True

    def run_pass(self) -> tuple[float, float]:
        """Run one pass, and return how many seconds to wait for the next: at least, and at most."""
        poll_s, started_s = self._config.settings.events_poll_s, time.monotonic()
        try:
            leftovers = self._ready.claims.leftovers()
            listing = list_folder(self._config.folder)
        except SourceError as error:  # a network share may come back
            self._report(str(error))
            return poll_s, poll_s
        if self._is_first:
            self._ready.shipper.close_entries((*leftovers, *listing.files))
            self._is_first = False
        finished, waiting = self._settle.finished(self._ready.shipper.pending(listing.files))
        listed_s = time.monotonic() - started_s
        self._report_refused(listing)
        if (leftovers or finished) and not self._ship([*leftovers, *finished], listing, waiting):
            return _AFTER_FAILURE_S, _AFTER_FAILURE_S
        due_s = poll_s if self._settle.next_due_s is None else min(poll_s, self._settle.next_due_s)
        at_least_s = _PAUSE_PER_LISTING * listed_s
        return at_least_s, max(at_least_s, due_s)

    def _ship(self, files: list[EventFile], listing: Listing, waiting: list[EventFile]) -> bool:
        """Ship files, and return whether to go on at once: no failure concerns every file."""
        started_s = time.monotonic()
        shipment = self._ready.shipper.ship(sorted(files, key=lambda file: file.order), self._listener)
        self._ready.claims.clean_up()
        others = [waiting_outcome(file) for file in waiting]
        self._on_pass(report_of(self._config, listing, shipment, others, time.monotonic() - started_s))
        error = shipment.stopped_by
        if error is None:
            self._reported.clear()
            return True
        what_now = f"All files wait; the next attempt is in {_AFTER_FAILURE_S:.0f} s."
        self._report(f"{described(error)} {next_step(error)} {what_now}")
        return False

    def _report_refused(self, listing: Listing) -> None:
        for name, reason in listing.refused[:_REPORTED_ENTRIES]:
            self._report(f"{name} cannot be shipped: {reason}.")

    def _report(self, problem: str) -> None:
        """Log a problem, unless it is the same as before."""
        if problem not in self._reported:
            _LOG.error("%s", problem)
        self._reported.add(problem)


@contextmanager
def _notifications(folder: Path, stop: threading.Event, *, is_wanted: bool) -> Generator[threading.Event]:
    """Yield an event that is set when something changes in the folder, where the system reports that."""
    changed, ended = threading.Event(), threading.Event()

    def follow() -> None:
        # Whatever goes wrong here costs seconds of waiting, and no file.
        with suppress(Exception):
            import watchfiles  # noqa: PLC0415  -- only where it is used, in the thread that uses it

            for _ in watchfiles.watch(
                folder, recursive=False, step=_COLLECTED_MS, debounce=4 * _COLLECTED_MS, stop_event=ended
            ):
                changed.set()

    follower = threading.Thread(target=follow, name="notifications", daemon=True)
    if is_wanted:
        follower.start()
    try:
        yield changed
    finally:
        ended.set()
        stop.set()
        if is_wanted:
            follower.join(_JOIN_S)
