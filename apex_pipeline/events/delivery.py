"""Puts one file into the bucket exactly once: under its own key, or the next free one if another file has that.

Contains the choice of the key, the metadata and the attempts; see ``ship.py`` for the files of a folder and
``storage/s3`` for how bytes are sent, verified and resumed.
"""

import hashlib
import logging
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count, islice
from typing import TYPE_CHECKING
from urllib.parse import quote

from apex_pipeline.errors import ApexError, StoreError
from apex_pipeline.events.config import EventConfig
from apex_pipeline.events.content import Content
from apex_pipeline.events.failures import (
    FAIL_FAST,
    LONGEST_PAUSE_S,
    ErrorClass,
    classify,
    described,
    retry_after_s,
)
from apex_pipeline.process.interrupts import pause
from apex_pipeline.progress import Progress
from apex_pipeline.sources.events.rotation import numbered
from apex_pipeline.storage.file_hashing import BLOCK_BYTES

if TYPE_CHECKING:  # imports boto3, and Dagster imports this module for every sync
    from apex_pipeline.storage.s3.once import StoredObject, WriteOnceStore

_LOG = logging.getLogger(__name__)

# So many different files of one name are a fault of the producer, and would take a request each for every new one.
_MOST_NUMBERS = 1000
# S3's limit for the keys of one listing.
_LISTED_KEYS = 1000
# A listing takes as long as two or three lookups.
_FEWEST_FOR_LISTING = 5
# Shippers that lost the same store at the same time do not come back in the same moment.
_JITTER = 0.1
_ORIGINAL_SHA256 = "original_sha256"


@dataclass(frozen=True)
class Delivered:
    """A file that is in the bucket.

    Attributes:
        key: Its key.
        etag: The ETag of its object.
        is_new: Whether this call has written it.
        attempts: How often it was tried.
    """

    key: str
    etag: str
    is_new: bool
    attempts: int


class Delivery:
    """Delivers files to one bucket. Safe to share between threads.

    Args:
        config: Bucket, attempts and pauses.
        store: The bucket.
        sleep: Waits between attempts.
        run_id: Recorded in the metadata, if given: the run that shipped the file.
    """

    def __init__(
        self,
        config: EventConfig,
        store: "WriteOnceStore",
        *,
        sleep: Callable[[float], None] = pause,
        run_id: str | None = None,
    ) -> None:
        self._config = config
        self._store = store
        self._sleep = sleep
        self._run_id = run_id
        self._free: set[str] = set()

    def look_up(self, keys: Iterable[str]) -> None:
        """Find out in one request per folder which of these keys are free, instead of in one per file.

        Only a hint: a conditional write refuses a key that is taken. A store without these is asked for each file, and
        so is any store if the listing fails.
        """
        self._free = set()
        folders: defaultdict[str, list[str]] = defaultdict(list)
        for key in keys:
            folders[key.rpartition("/")[0]].append(key)
        with suppress(ApexError):
            if self._store.has_conditional_writes:
                for folder, found in folders.items():
                    if len(found) >= _FEWEST_FOR_LISTING:
                        self._free |= self._free_of(f"{folder}/" if folder else "", sorted(found))

    def _free_of(self, folder: str, keys: list[str]) -> set[str]:
        # Starts just before the first key: no key between the two has all but its last letter.
        taken = self._store.keys_after(folder, keys[0][:-1], _LISTED_KEYS)
        last = taken[-1] if len(taken) == _LISTED_KEYS else None
        return {key for key in keys if last is None or key <= last} - set(taken)

    def deliver(self, shown: str, content: Content, key: str, progress: Progress | None = None) -> Delivered:
        """Deliver one file, trying again after failures that may pass.

        An attempt that has moved more bytes than all before does not count: a large file over a bad line arrives.

        Args:
            shown: Its path, for the log.
            content: What is sent.
            key: The key it gets unless a file with other content has it.
            progress: Called with the number of bytes that the store has acknowledged.

        Raises:
            ApexError: It could not be delivered; :func:`failures.classify` says why.
        """
        most, failed, best = self._config.settings.max_retries, 0, 0
        for attempt in count(1):
            moved = _Moved(progress)
            number = f"Attempt {failed + 1}/{most}"
            _LOG.info("Uploading %s to s3://%s/%s (%s)", shown, self._config.bucket, key, number)
            try:
                delivered = self._try(content, key, attempt, moved.add)
            except ApexError as error:
                failed, best = (0, moved.total) if moved.total > best else (failed + 1, best)
                self._wait_or_raise(error, failed)
            else:
                _LOG.info("Successfully uploaded %s to s3://%s/%s", shown, self._config.bucket, delivered.key)
                return delivered
        raise AssertionError("unreachable: there is no end to the attempts")

    def _wait_or_raise(self, error: ApexError, failed: int) -> None:
        """Wait before the next attempt, or raise the error if there will be none."""
        from apex_pipeline.storage.s3.errors import error_code  # noqa: PLC0415  -- see the imports above

        kind, code = classify(error), error_code(error) or type(error).__name__
        if kind in FAIL_FAST or kind is ErrorClass.DATA:
            if kind in {ErrorClass.AUTH, ErrorClass.PERMISSION}:
                _LOG.error("S3 authentication error: %s - %s", code, error)
            else:
                _LOG.error("S3 error: %s - %s", code, described(error))
            raise error
        what = f"S3 throttling error: {code}" if kind is ErrorClass.THROTTLE else f"S3 error: {code} - {error}"
        if failed >= self._config.settings.max_retries:
            _LOG.error("%s, max retries exceeded", what)
            raise error
        delay_s = self._delay_s(max(failed, 1), error)
        _LOG.warning("%s, retrying in %.2fs", what, delay_s)
        self._sleep(delay_s)

    def _delay_s(self, failed: int, error: ApexError) -> float:
        base_s = self._config.settings.retry_base_delay * 2 ** min(failed - 1, 16)
        spread_s = base_s * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311  -- keeps shippers apart, not a secret
        return min(max(spread_s, retry_after_s(error)), LONGEST_PAUSE_S)

    def _try(self, content: Content, key: str, attempt: int, progress: Progress) -> Delivered:
        for candidate in islice(_candidates(key), _MOST_NUMBERS):
            is_free = candidate in self._free
            self._free.discard(candidate)  # not after a failure, which may have written it
            found = None if is_free else self._store.find(candidate)
            if found is None:
                written = self._store.write_once(
                    candidate, content.body, self._metadata(content), sha256=content.body_sha256, progress=progress
                )
                if written is not None:
                    return Delivered(candidate, written.tag, is_new=True, attempts=attempt)
                # Another shipper was faster, or this one has written it and the reply was lost.
                found = self._store.find(candidate)
            if found is not None and self._is_same(found, content):
                return Delivered(candidate, found.info.tag, is_new=False, attempts=attempt)
        raise StoreError(
            f"{_MOST_NUMBERS} different files are stored as {key}, {numbered(key, 1)} and so on.",
            "Let the producer name its files after the time, or ship to another PREFIX.",
        )

    def _is_same(self, found: "StoredObject", content: Content) -> bool:
        recorded = found.metadata.get(_ORIGINAL_SHA256) or found.info.sha256
        if recorded is not None:
            return recorded == content.sha256
        # Written by another tool: its bytes decide.
        return found.info.size == content.body_size and self._digest_of(found.info.key) == content.body_sha256

    def _digest_of(self, key: str) -> str:
        digest = hashlib.sha256()
        with self._store.open_stream(key) as stream:
            while block := stream.read(BLOCK_BYTES):
                digest.update(block)
        return digest.hexdigest()

    def _metadata(self, content: Content) -> dict[str, str]:
        found = {
            "uploaded_at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "source": self._config.settings.event_source,
            "original_name": content.original_name,
            "pipeline_run_id": self._run_id,
            "wellformed": None if content.is_wellformed is None else str(content.is_wellformed).lower(),
            _ORIGINAL_SHA256: content.sha256 if content.is_compressed else None,
        }
        # Headers are ASCII; a name in another script is stored as in a URL.
        return {name: quote(value, safe=" !#$&'()*+,-./:;=?@[]_~") for name, value in found.items() if value}


class _Moved:
    """Counts the bytes that the store has acknowledged in one attempt."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self.total = 0

    def add(self, count_: int) -> None:
        """Count bytes; called from several threads, of which a lost addition costs an attempt at most."""
        self.total += count_
        if self._progress is not None:
            self._progress(count_)


def _candidates(key: str) -> Iterator[str]:
    folder, slash, name = key.rpartition("/")
    yield key
    for number in count(1):
        yield f"{folder}{slash}{numbered(name, number)}"
