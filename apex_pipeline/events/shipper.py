"""Takes finished files of one folder through all steps: claim, read, deliver, record, and move out of the way.

The steps are in an order in which a process may be killed after any of them: the next one finds the file, asks the
journal or the bucket how far it has come, and does the rest. See ``ship.py`` and ``watch.py`` for which files are taken
when, ``delivery.py`` for the bucket and ``claims.py`` for the moves.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from apex_pipeline.errors import ApexError, FileChangedError
from apex_pipeline.events.claims import Claims, is_read_only
from apex_pipeline.events.config import EventConfig, key_of
from apex_pipeline.events.content import read_content
from apex_pipeline.events.delivery import Delivery
from apex_pipeline.events.failures import BLOCKING, ErrorClass, classify, described, next_step
from apex_pipeline.events.folder import EventFile, look_at
from apex_pipeline.events.journal import Entry, EntryState, Journal
from apex_pipeline.events.report import ShipListener, ShippedFile, ShipStatus
from apex_pipeline.storage.file_hashing import BLOCK_BYTES, HashingReader
from apex_pipeline.storage.keys import check_key, is_legal_key

_LOG = logging.getLogger(__name__)

# How long a folder that cannot be changed, or a file that is itself at fault, is left alone by `watch`.
_SET_ASIDE_S = 60.0
# After a signal, the file in hand has this long to arrive; the process is ended a second later.
_LAST_FILE_S = 5.0
# Keys that are looked up in one request: few enough that what another shipper writes meanwhile costs little.
_LOOKED_UP_FILES = 500


@dataclass(frozen=True)
class Shipment:
    """What a call of :meth:`Shipper.ship` has done.

    Attributes:
        files: The outcome of each file.
        stopped_by: The error that kept the remaining files from being tried, if any.
    """

    files: tuple[ShippedFile, ...]
    stopped_by: ApexError | None


class Shipper:
    """Ships files of one folder; the folder is locked by the caller.

    Args:
        config: Folder, bucket and settings.
        delivery: Puts files into the bucket.
        journal: Records what became of each file.
        claims: Moves files.
    """

    def __init__(self, config: EventConfig, delivery: Delivery, journal: Journal, claims: Claims) -> None:
        self._config = config
        self._settings = config.settings
        self._delivery = delivery
        self._journal = journal
        self._claims = claims
        self._cannot_move_until_s = 0.0
        self._why_not_moved: str | None = None
        self._set_aside: dict[tuple[str, int, int], float] = {}
        self._stopped_by: ApexError | None = None
        self._stop = threading.Event()

    def close_entries(self, files: Iterable[EventFile]) -> None:
        """Close the entries of delivered files that are no longer in the folder.

        A process that was killed after it had moved a file has not recorded that.

        Args:
            files: All files of the folder, claimed or not.
        """
        there = {(file.name, *file.state) for file in files}
        for entry in self._journal.delivered():
            if entry.version not in there:
                moved_to = self._claims.find_in_done(entry.name, entry.size, str(entry.sha256), entry.updated_s)
                self._journal.put(replace(entry, state=EntryState.DONE, moved_to=moved_to))

    def pending(self, files: Iterable[EventFile]) -> list[EventFile]:
        """Return the files that there is something to do with; no request is sent and no file is read."""
        now_s = time.monotonic()
        self._set_aside = {version: until for version, until in self._set_aside.items() if until > now_s}
        return [file for file in files if not self._is_settled(file, now_s)]

    def ship(self, files: Iterable[EventFile], listener: ShipListener = lambda _: None) -> Shipment:
        """Ship files in the given order, and report each as soon as its outcome is known.

        If the process is asked to end, the file in hand is finished first.
        """
        self._stopped_by = None
        self._stop.clear()
        outcomes: list[ShippedFile] = []
        running: deque[Future[ShippedFile]] = deque()
        with ThreadPoolExecutor(self._settings.events_concurrency, thread_name_prefix="ship") as pool:
            try:
                for file in self._looked_up(files):
                    # One more than the threads, so that none of them waits for this one.
                    while len(running) > self._settings.events_concurrency:
                        self._note(running.popleft().result(), outcomes, listener)
                    running.append(pool.submit(self._ship_one, file))
                while running:
                    self._note(running.popleft().result(), outcomes, listener)
            except BaseException:
                self._stop.set()
                wait(running, _LAST_FILE_S)
                raise
        return Shipment(tuple(outcomes), self._stopped_by)

    def _looked_up(self, files: Iterable[EventFile]) -> Iterator[EventFile]:
        """Yield the files, after finding out for some hundreds at a time which of their keys are free."""
        remaining = iter(files)
        ending = ".gz" if self._settings.events_compress == "gzip" else ""
        while batch := list(islice(remaining, _LOOKED_UP_FILES)):
            new = [file.name for file in batch if self._journal.entry_of(file) is None and not file.is_claimed]
            if self._stopped_by is None and len(new) > 1:
                keys = (f"{key_of(self._settings, name, is_logged=False)}{ending}" for name in new)
                self._delivery.look_up(filter(is_legal_key, keys))
            yield from batch

    @staticmethod
    def _note(outcome: ShippedFile, outcomes: list[ShippedFile], listener: ShipListener) -> None:
        outcomes.append(outcome)
        listener(outcome)

    def _is_settled(self, file: EventFile, now_s: float) -> bool:
        """Return whether nothing is to be done with a file now."""
        if file.is_claimed:
            return False
        entry = self._journal.entry_of(file)
        if entry is None:
            return False
        if entry.version in self._set_aside:
            return True
        stays = self._settings.events_on_success == "keep" or now_s < self._cannot_move_until_s
        return stays and entry.state is EntryState.DELIVERED and entry.ctime_ns == file.ctime_ns

    def _ship_one(self, file: EventFile) -> ShippedFile:
        if self._stop.is_set() or self._stopped_by is not None:
            return outcome_of(file, ShipStatus.NOT_TRIED)
        try:
            with self._claimed(file) as claimed:
                if claimed is None:
                    return outcome_of(file, ShipStatus.GONE)
                if claimed.state != file.state or not claimed.size:
                    return outcome_of(claimed, ShipStatus.WAITING, problem="it is being written to")
                return self._finish(claimed, *self._deliver(claimed))
        except ApexError as error:
            return self._failed(file, error)

    @contextmanager
    def _claimed(self, file: EventFile) -> Generator[EventFile | None]:
        """Yield the file where nobody else takes it, or in its place if it stays there; put it back if it is left."""
        claimed = self._claim(file)
        try:
            yield claimed
        finally:
            if claimed is not None and claimed.is_claimed and look_at(claimed) is not None:
                self._claims.put_back(claimed)

    def _claim(self, file: EventFile) -> EventFile | None:
        stays = self._settings.events_on_success == "keep" or time.monotonic() < self._cannot_move_until_s
        if stays and not file.is_claimed:
            return look_at(file)
        self._claims.mark_alive()
        try:
            return self._claims.claim(file)
        except ApexError as error:
            if not is_read_only(error):
                raise
            self._cannot_move(f"It is shipped, but stays where it is. {error}")
            return look_at(file)

    def _cannot_move(self, why: str) -> None:
        if self._why_not_moved != why:
            _LOG.warning("%s", why)
        self._why_not_moved = why
        self._cannot_move_until_s = time.monotonic() + _SET_ASIDE_S

    def _deliver(self, file: EventFile) -> tuple[Entry, ShipStatus]:
        """Make sure that a file is in the bucket, and record it."""
        known = self._journal.entry_of(file)
        if known is not None and known.state is EntryState.DELIVERED and _digest_of(file.path) == known.sha256:
            return known, ShipStatus.UNCHANGED
        scratch = self._settings.state_dir.absolute() / "scratch"
        compresses = self._settings.events_compress == "gzip"
        with read_content(file.path, file.name, scratch, compresses=compresses) as content:
            key = check_key(key_of(self._settings, content.name))
            entry = Entry(*(file.name, *file.state), EntryState.SENDING, sha256=content.sha256, key=key)
            self._journal.put(entry)
            delivered = self._delivery.deliver(str(file.path), content, key, lambda _: self._claims.mark_alive())
        entry = replace(
            entry,
            state=EntryState.DELIVERED,
            ctime_ns=file.ctime_ns,
            key=delivered.key,
            etag=delivered.etag,
            attempts=delivered.attempts,
            updated_s=time.time(),
        )
        self._journal.put(entry)
        # Compared with what lies there now, and not with what lay there when it was read.
        if look_at(file) != file or _digest_of(file.path) != entry.sha256:
            raise FileChangedError(
                f"{file.shown} was written to while it was sent.", "Its new content is shipped when it stands still."
            )
        return entry, ShipStatus.SHIPPED if delivered.is_new else ShipStatus.UNCHANGED

    def _finish(self, file: EventFile, entry: Entry, status: ShipStatus) -> ShippedFile:
        """Move a delivered file out of the way, or say why it stays."""
        outcome = replace(outcome_of(file, status), key=entry.key, sha256=entry.sha256)
        keeps = self._settings.events_on_success == "keep"
        if keeps or not file.is_claimed:
            if entry.ctime_ns != file.ctime_ns:
                self._journal.put(replace(entry, ctime_ns=file.ctime_ns))
            return replace(outcome, problem=None if keeps else self._why_not_moved)
        try:
            moved_to = self._take_away(file, entry)
        except (ApexError, OSError) as error:
            self._cannot_move(f"It is shipped, but stays where it is. {error}")
            return replace(outcome, problem=self._why_not_moved)
        self._journal.put(replace(entry, state=EntryState.DONE, moved_to=moved_to))
        return replace(outcome, moved_to=moved_to)

    def _take_away(self, file: EventFile, entry: Entry) -> Path | None:
        if self._settings.events_on_success == "delete":
            file.path.unlink()
            return None
        return self._claims.move_to_done(file, str(entry.sha256), entry.updated_s)

    def _failed(self, file: EventFile, error: ApexError) -> ShippedFile:
        """Record a failure; stop the others if it is not the file's own."""
        kind = classify(error)
        if kind in BLOCKING:
            self._stopped_by = self._stopped_by or error
        else:
            version = (file.name, *file.state)
            known = self._journal.entry_of(file) or Entry(*version, EntryState.FAILED)
            self._set_aside[version] = time.monotonic() + _SET_ASIDE_S
            if known.state is not EntryState.DELIVERED:
                self._record_failure(replace(known, state=EntryState.FAILED, error_class=kind, updated_s=0.0))
        problem = f"{described(error)} {next_step(error)}"
        return replace(outcome_of(file, ShipStatus.FAILED), error_class=kind, problem=problem)

    def _record_failure(self, entry: Entry) -> None:
        try:
            self._journal.put(entry)
        except ApexError as error:  # the failure is reported either way; a full disk stops the pass
            self._stopped_by = self._stopped_by or error


def outcome_of(file: EventFile, status: ShipStatus, *, problem: str | None = None) -> ShippedFile:
    """Return the outcome of a file that was not read."""
    age_s = max(0.0, time.time() - file.mtime_ns / 1e9)
    return ShippedFile(
        file.shown,
        status,
        file.size,
        age_s=age_s,
        error_class=ErrorClass.DATA if status is ShipStatus.FAILED else None,
        problem=problem,
    )


def _digest_of(path: Path) -> str:
    with HashingReader(path) as reader:
        while reader.read(BLOCK_BYTES):
            pass
        return reader.sha256
