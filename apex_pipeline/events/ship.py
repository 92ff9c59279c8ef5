"""One pass over a folder: every finished file is in the bucket afterwards, once, and out of the producer's way.

Contains the pass and what it needs to be opened; see ``shipper.py`` for the steps of one file and ``watch.py`` for
passes without end.
"""

import threading
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from apex_pipeline.errors import StoreLockedError
from apex_pipeline.events.claims import Claims
from apex_pipeline.events.config import EventConfig
from apex_pipeline.events.delivery import Delivery
from apex_pipeline.events.failures import ErrorClass
from apex_pipeline.events.finished import SettleWatch
from apex_pipeline.events.folder import EventFile, Listing, list_folder
from apex_pipeline.events.folder_lock import folder_locked
from apex_pipeline.events.journal import Journal, journal_path
from apex_pipeline.events.report import ShipListener, ShippedFile, ShipReport, ShipStatus
from apex_pipeline.events.shipper import Shipment, Shipper, outcome_of
from apex_pipeline.process.interrupts import pause
from apex_pipeline.storage.factory import open_write_once_store

if TYPE_CHECKING:  # imports boto3, and Dagster imports this module for every sync
    from apex_pipeline.storage.s3.once import WriteOnceStore

# A wait may end a moment early; the files would then have to be waited for once more.
_MARGIN_S = 0.01


@dataclass(frozen=True)
class OpenShipper:
    """A folder that is ready to be shipped.

    Attributes:
        shipper: Ships its files.
        claims: Finds files that an earlier process left behind.
        store: The bucket.
    """

    shipper: Shipper
    claims: Claims
    store: "WriteOnceStore"


@dataclass(frozen=True)
class Limits:
    """How much one pass takes.

    Attributes:
        files: Most files; ``None`` for all.
        bytes: The pass ends with the file that reaches this size in bytes; ``None`` for no limit.
    """

    files: int | None = None
    bytes: int | None = None


def ship_once(
    config: EventConfig,
    *,
    limits: Limits = Limits(),
    patience_s: float = 0.0,
    run_id: str | None = None,
    listener: ShipListener = lambda _: None,
    sleep: Callable[[float], None] = pause,
) -> ShipReport:
    """Ship the finished files of a folder, and wait once for those that have not stood still long enough to know.

    Files that an earlier pass delivered and left in place take no request. No file that fails is an exception: the
    report has its class. A pass that is killed is completed by the next one.

    Args:
        config: Folder, bucket and settings; see :func:`config.event_config`.
        limits: How much to take; the rest is reported as waiting.
        patience_s: How long to wait for another shipper of the same folder, in seconds.
        run_id: Recorded in the metadata of the objects.
        listener: Called with the outcome of each file.
        sleep: Waits between attempts, and for files to stand still.

    Returns:
        Files, bytes and seconds, failures by class, and the file that has waited longest.

    Raises:
        SourceError: The folder is missing, is not a folder, or cannot be read.
        ConfigurationError: The credentials are incomplete.
        StoreLockedError: Another process is shipping the folder.
        StorageFullError: The disk of the journal is full.
        StoreConfigError: The journal cannot be used.
    """
    list_folder(config.folder)  # a wrong path is reported as one, before anything is created
    with opened(config, patience_s=patience_s, run_id=run_id, sleep=sleep) as ready:
        listing, finished, waiting = _finished_files(config, ready, sleep)
        started_s = time.monotonic()
        chosen, left = _within(finished, limits)
        shipment = ready.shipper.ship(chosen, listener)
        return report_of(config, listing, shipment, (*left, *waiting), time.monotonic() - started_s)


@contextmanager
def opened(
    config: EventConfig,
    *,
    patience_s: float = 0.0,
    run_id: str | None = None,
    sleep: Callable[[float], None] = pause,
    on_wait: Callable[[str], None] = lambda _: None,
    should_stop: threading.Event | None = None,
) -> Generator[OpenShipper]:
    """Lock a folder and yield its shipper; no request is sent before a file is shipped.

    Arguments and errors as for :func:`ship_once`; ``on_wait`` is called once if another shipper has the folder,
    and ``should_stop`` ends the wait for it.
    """
    settings = config.settings
    with (
        folder_locked(
            config.folder, settings.state_dir, patience_s=patience_s, on_wait=on_wait, should_stop=should_stop
        ),
        closing(Journal(journal_path(settings.state_dir), config.folder)) as journal,
    ):
        store = open_write_once_store(settings, config.bucket, attempts=1)
        claims = Claims(config.folder, is_shared=settings.events_shared_folder)
        delivery = Delivery(config, store, sleep=sleep, run_id=run_id)
        try:
            yield OpenShipper(Shipper(config, delivery, journal, claims), claims, store)
        finally:
            claims.clean_up()


def pending_files(config: EventConfig) -> list[EventFile]:
    """Return the files that wait in a folder, in the order of shipping, finished or not; for a sensor.

    Among them are those that a killed process has claimed, unless another process is shipping the folder. No file is
    read, and no request is sent.

    Raises:
        SourceError: As for :func:`ship_once`.
        StoreConfigError: As for :func:`ship_once`.
    """
    with closing(Journal(journal_path(config.settings.state_dir), config.folder)) as journal:
        store = open_write_once_store(config.settings, config.bucket, attempts=1)
        claims = Claims(config.folder, is_shared=config.settings.events_shared_folder)
        pending = Shipper(config, Delivery(config, store), journal, claims).pending(list_folder(config.folder).files)
        return sorted([*_left_behind(config, claims), *pending], key=lambda file: file.order)


def _left_behind(config: EventConfig, claims: Claims) -> list[EventFile]:
    if not claims.exist:
        return []
    with suppress(StoreLockedError), folder_locked(config.folder, config.settings.state_dir, patience_s=0):
        return claims.leftovers()
    return []


def report_of(
    config: EventConfig, listing: Listing, shipment: Shipment, others: Iterable[ShippedFile], seconds: float
) -> ShipReport:
    """Return the report of a pass."""
    refused = (
        ShippedFile(
            name, ShipStatus.FAILED, error_class=ErrorClass.DATA, problem=f"{name} cannot be shipped: {reason}."
        )
        for name, reason in listing.refused
    )
    return ShipReport(config.uri, (*shipment.files, *refused, *others), seconds, shipment.stopped_by)


def waiting_outcome(file: EventFile) -> ShippedFile:
    """Return the outcome of a file that is not finished."""
    problem = "it is still being written, or waits for an earlier file" if file.size else "it is empty"
    return outcome_of(file, ShipStatus.WAITING, problem=problem)


def _finished_files(
    config: EventConfig, ready: OpenShipper, sleep: Callable[[float], None]
) -> tuple[Listing, list[EventFile], list[ShippedFile]]:
    """List the folder, twice if there are files that must first be seen to stand still."""
    settle = SettleWatch(config.settings.events_settle_s, keeps_order=False)
    leftovers = ready.claims.leftovers()
    listing, finished, waiting = _look(config, ready, settle)
    ready.shipper.close_entries((*leftovers, *listing.files))
    if waiting and settle.next_due_s is not None:
        sleep(config.settings.events_settle_s + _MARGIN_S)
        listing, finished, waiting = _look(config, ready, settle)
    in_order = sorted((*leftovers, *finished), key=lambda file: file.order)
    return listing, in_order, [waiting_outcome(file) for file in waiting]


def _look(
    config: EventConfig, ready: OpenShipper, settle: SettleWatch
) -> tuple[Listing, list[EventFile], list[EventFile]]:
    listing = list_folder(config.folder)
    return listing, *settle.finished(ready.shipper.pending(listing.files))


def _within(files: list[EventFile], limits: Limits) -> tuple[list[EventFile], list[ShippedFile]]:
    chosen, total = 0, 0
    for file in files:
        if chosen == limits.files or (limits.bytes is not None and total >= limits.bytes):
            break
        chosen, total = chosen + 1, total + file.size
    reason = "the limit of this pass was reached"
    return files[:chosen], [outcome_of(file, ShipStatus.WAITING, problem=reason) for file in files[chosen:]]
