"""Leases: who is working on a session, so that two processes on any machines do not do the same work at once.

A lease is a small object that its holder renews. It ends when it is released, or when it has not been renewed for its
lifetime, or at once when its holder is a process of this machine that has ended. Nothing blocks for ever.

**Clocks.** The clocks of two machines may differ by hours, so no time written by the holder is compared. A lease has
expired if, by the store's own clock, its object was last written more than a lifetime ago; or if its tag has not
changed for a lifetime of this process's monotonic clock, which needs no clock of the store. The holder measures the
time since its last renewal with clocks that go on while the machine sleeps.

**Fencing.** A process that was stopped for longer than the lifetime may have lost its lease without noticing.
:meth:`Lease.require` finds out, and belongs before every step that others can see. Between that check and the step the
process can be stopped again: what must never be overwritten is therefore replaced with ``ObjectStore.write_if``.

A store without conditional writes cannot decide between two processes that write at the same moment. There, a new
holder waits and reads the lease again before it believes that it has it. A renewal that was stopped until the
lease may have expired may have overwritten that of a new holder: both then lose it.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import uuid4

from apex_pipeline.errors import ApexError, LeaseLostError, StoreCorruptionError, StoreLockedError
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import lease_key
from apex_pipeline.storage.lease_record import MAX_BYTES, LeaseRecord, clean, parse_record, this_command
from apex_pipeline.storage.processes import has_ended, this_process

_LOG = logging.getLogger(__name__)

# Renewed every 20 s, so a lease survives two renewals that fail; the work of a machine that died waits for a minute.
LIFETIME_S = 60.0
_RENEWALS_PER_LIFETIME = 3
# Within this share of its lifetime since the last renewal, a lease is certainly held while the next step is written.
_CERTAIN_SHARE = 0.8
# Stores and disks report times in steps of up to 1 s, and FAT of 2 s.
_TIME_STEP_S = 2.0
# Losing this many races in a row means that others get the lease again and again: then one of them is its holder.
_ATTEMPTS = 5
# On a store without conditional writes: longer than the time between another process's lookup and its write.
_SETTLE_S = 1.0
# On such a store: longer than a write takes that has not been stopped, and shorter than the 12 s for which a lease that
# is no longer certain is still nobody else's.
_LONG_WRITE_S = 10.0
_SHORTEST_POLL_S = 0.1
_LONGEST_POLL_S = 3.0
# On such a store: the longest wait for the turn to replace one object; a writer has it for a few seconds.
_LONGEST_TURN_S = 300.0
# Ctrl+C must end a process within 10 s, even if the store does not respond: the lease then expires by itself.
_RELEASE_TIMEOUT_S = 3.0


@dataclass(frozen=True)
class Holder:
    """Who holds a lease, for messages.

    Attributes:
        host: Its machine; empty if the lease is damaged.
        pid: Its process id.
        command: What it runs, for example ``apex sync``.
        doing: What it does with the session, for example ``deriving``.
        since_utc: Start of its lease by its own clock; ``None`` if the lease is damaged.
        token: Identifies its acquisition.
    """

    host: str
    pid: int
    command: str
    doing: str
    since_utc: datetime | None
    token: str

    def __str__(self) -> str:
        if self.since_utc is None:
            return "an unknown process (its lease is damaged and expires soon)"
        return (
            f"`{self.command}`, process {self.pid} on {self.host} "
            f"({self.doing} since {self.since_utc:%Y-%m-%d %H:%M:%S} UTC)"
        )


_DAMAGED = Holder("", 0, "", "", None, "")


class Lease:
    """A lease that this process holds, or held. Safe to share between threads; created by :func:`try_acquire`.

    Args:
        store: The lake.
        name: What it is for.
        record: What it says.
    """

    def __init__(self, store: ObjectStore, name: str, record: LeaseRecord) -> None:
        self._store = store
        self._name = name
        self._key = lease_key(name)
        self._record = record
        self._lock = threading.Lock()
        self._tag: str | None = None
        self._renewed = _Stopwatch()
        self._is_lost = False

    @property
    def name(self) -> str:
        """What the lease is for."""
        return self._name

    @property
    def token(self) -> str:
        """Identifies this acquisition."""
        return self._record.token

    @property
    def lifetime_s(self) -> float:
        """How long it lasts without renewal, in seconds."""
        return self._record.lifetime_s

    def renew(self, doing: str | None = None) -> None:
        """Extend the lease by its lifetime from now.

        Args:
            doing: What the holder does from now on; ``None`` leaves it.

        Raises:
            LeaseLostError: Another process has taken it over, or it was released.
            StoreUnavailableError: The store cannot be reached now; the lease is still held until it expires.
        """
        with self._lock:
            self._require_not_lost()
            self._record = replace(self._record, renewals=self._record.renewals + 1)
            if doing is not None:
                self._record = replace(self._record, doing=clean(doing))
            if not self._write():
                self._is_lost = True
                self._require_not_lost()

    def require(self) -> None:
        """Require that this process still holds the lease; asks the store only if it may have expired.

        Raises:
            LeaseLostError: Another process has taken it over, or it was released.
            StoreUnavailableError: The lease may have expired, and the store cannot be reached to find out.
        """
        with self._lock:
            self._require_not_lost()
            is_certain = self._is_certain()
        if not is_certain:
            self.renew()

    def release(self) -> None:
        """Give the lease back, if this process still has it; its object stays and says so.

        Not deleted: in a bucket, the lease of a process that acquires it at that moment could be deleted instead.

        Raises:
            StoreUnavailableError: The store cannot be reached; the lease expires by itself.
        """
        with self._lock:
            if not self._is_lost:
                self._is_lost = True
                self._record = replace(self._record, is_released=True)
                self._write()

    def take(self, present_tag: str | None) -> bool:
        """Write the lease in place of the object with this tag (``None``: none), and return whether that succeeded."""
        with self._lock:
            self._tag = present_tag
            return self._write()

    def _write(self) -> bool:
        """Replace this lease's last version by the record, and return whether no other process had replaced it."""
        for _ in range(_ATTEMPTS):
            sent = _Stopwatch()  # started before the request: the store's time of writing cannot be earlier
            written = self._store.write_if(self._key, self._record.to_json(datetime.now(UTC)), self._tag)
            if written is not None:
                may_have_overwritten = self._may_have_overwritten(sent.elapsed_s())
                self._tag, self._renewed = written.tag, sent
                return not may_have_overwritten
            # An earlier attempt whose reply was lost may have been written after all.
            seen = _look(self._store, self._key)
            if seen is None or seen.record is None or seen.record.token != self.token or seen.tag == self._tag:
                return False
            self._tag = seen.tag
        return False

    def _may_have_overwritten(self, write_s: float) -> bool:
        """Return whether another process may have taken the lease during this write and believes that it has it."""
        return not self._store.has_conditional_writes and write_s > _LONG_WRITE_S and not self._is_certain()

    def _is_certain(self) -> bool:
        return self._renewed.elapsed_s() < _CERTAIN_SHARE * self.lifetime_s

    def _require_not_lost(self) -> None:
        if self._is_lost:
            raise LeaseLostError(
                f"This process no longer holds {self._name}: it was stopped or cut off for more than "
                f"{self.lifetime_s:g} s, and another one may be working on it.",
                "Run it again; what was published is intact.",
            )


def try_acquire(store: ObjectStore, name: str, doing: str, *, lifetime_s: float = LIFETIME_S) -> Lease | Holder:
    """Acquire a lease if it is free, without waiting for it.

    Args:
        store: The lake, opened for writing.
        name: What the lease is for, for example ``sebring/R1``.
        doing: What this process does, for the messages of others.
        lifetime_s: How long the lease lasts without renewal, in seconds; other values are for tests.

    Returns:
        The lease, or who holds it.

    Raises:
        StoreError: The store refuses to read or write it.
        StoreUnavailableError: The store cannot be reached.
    """
    seen: _Seen | None = None
    for _ in range(_ATTEMPTS):
        seen = _look(store, lease_key(name))
        if seen is not None:
            why_free = _why_free(store, name, seen)
            if why_free is None:
                return seen.holder
            if why_free:
                _LOG.warning("Taking over %s from %s: %s.", name, seen.holder, why_free)
        record = LeaseRecord(this_process(), this_command(), uuid4().hex, clean(doing), datetime.now(UTC), lifetime_s)
        lease = Lease(store, name, record)
        if lease.take(None if seen is None else seen.tag) and _is_settled(store, lease):
            return lease
    return _DAMAGED if seen is None else seen.holder


def acquire(
    store: ObjectStore,
    name: str,
    doing: str,
    on_wait: Callable[[Holder], None],
    timeout_s: float,
    *,
    lifetime_s: float = LIFETIME_S,
) -> Lease:
    """Acquire a lease, waiting for it if necessary.

    Args:
        store: The lake, opened for writing.
        name: As for :func:`try_acquire`.
        doing: As for :func:`try_acquire`.
        on_wait: Called before waiting, and again whenever the holder or what it does changes.
        timeout_s: Longest wait in seconds.
        lifetime_s: As for :func:`try_acquire`.

    Raises:
        StoreLockedError: Somebody else still holds it after ``timeout_s``.
        StoreError: As for :func:`try_acquire`.
        StoreUnavailableError: The store cannot be reached.
    """
    deadline_s = time.monotonic() + timeout_s
    reported: Holder | None = None
    pause_s = _SHORTEST_POLL_S
    while True:
        found = try_acquire(store, name, doing, lifetime_s=lifetime_s)
        if isinstance(found, Lease):
            return found
        if found != reported:
            reported = found
            on_wait(found)
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            raise StoreLockedError(
                f"{name} is in use by {found}; waited {timeout_s:g} s.",
                "Run it again when that is done, or end that process.",
            )
        time.sleep(min(left_s, pause_s * random.uniform(0.5, 1)))  # noqa: S311  -- keeps the waiting apart
        pause_s = min(1.5 * pause_s, _LONGEST_POLL_S, lifetime_s / 10)


@contextmanager
def held(
    store: ObjectStore,
    name: str,
    doing: str,
    on_wait: Callable[[Holder], None] = lambda _: None,
    timeout_s: float = 0.0,
    *,
    lifetime_s: float = LIFETIME_S,
) -> Generator[Lease]:
    """Hold a lease within the block; a thread renews it three times per lifetime.

    The block must call :meth:`Lease.require` before every step that others can see. Arguments and errors as for
    :func:`acquire`; by default it does not wait.
    """
    lease = acquire(store, name, doing, on_wait, timeout_s, lifetime_s=lifetime_s)
    is_over = threading.Event()
    # A daemon: a process that is asked to end must not wait for a store that does not respond.
    heartbeat = threading.Thread(target=_keep, args=(lease, is_over), name=f"lease {name}", daemon=True)
    heartbeat.start()
    try:
        yield lease
    finally:
        is_over.set()
        heartbeat.join(_RELEASE_TIMEOUT_S)


def replace_alone(store: ObjectStore, key: str, content: bytes, tag: str | None) -> bool:
    """Replace an object if it still has this tag (``None``: if there is none), and return whether it had.

    A store without conditional writes looks first and writes then: there, a lease keeps other processes out between.

    Raises:
        LeaseLostError: The store has no conditional writes, and this process was stopped before it wrote.
        StoreLockedError: The same, and others replace the object without a pause.
        StoreUnavailableError: The store cannot be reached.
    """
    if store.has_conditional_writes:
        return store.write_if(key, content, tag) is not None
    # No session has a name of three parts.
    with held(store, f"writing/{key}", "writing", timeout_s=_LONGEST_TURN_S) as lease:
        lease.require()
        return store.write_if(key, content, tag) is not None


def _keep(lease: Lease, is_over: threading.Event) -> None:
    """Renew a lease until ``is_over``, then release it."""
    try:
        while not is_over.wait(lease.lifetime_s / _RENEWALS_PER_LIFETIME):
            try:
                lease.renew()
            except LeaseLostError:
                raise
            except ApexError as error:  # tried again in time for the lease to survive
                _LOG.warning("%s could not be renewed: %s", lease.name, error)
        lease.release()
    except LeaseLostError as error:
        _LOG.warning("%s", error)
    except ApexError as error:
        _LOG.warning("%s could not be released, and expires in %g s: %s", lease.name, lease.lifetime_s, error)


class _Stopwatch:
    """Measures time, including the time in which this machine slept.

    The wall clock is used too, for systems without such a clock. It may be set forward, which only makes
    :meth:`Lease.require` ask the store; a virtual machine that is paused notices neither, until its clock is set.
    """

    def __init__(self) -> None:
        self._started = _awake_and_asleep_s(), time.time()

    def elapsed_s(self) -> float:
        """Seconds since this was created."""
        return max(_awake_and_asleep_s() - self._started[0], time.time() - self._started[1])


def _awake_and_asleep_s() -> float:
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


@dataclass(frozen=True)
class _Seen:
    """A lease as found in the store; without a record if it is damaged."""

    tag: str
    record: LeaseRecord | None

    @property
    def holder(self) -> Holder:
        record = self.record
        if record is None:
            return _DAMAGED
        owner = record.owner
        return Holder(owner.host, owner.pid, record.command, record.doing, record.since_utc, record.token)

    @property
    def lifetime_s(self) -> float:
        return LIFETIME_S if self.record is None else self.record.lifetime_s


def _look(store: ObjectStore, key: str) -> _Seen | None:
    try:
        found = store.read_with_tag(key, MAX_BYTES)
        return None if found is None else _Seen(found[1], parse_record(found[0]))
    except StoreCorruptionError:
        stored = store.head(key)
        return None if stored is None else _Seen(stored.tag, None)


def _why_free(store: ObjectStore, name: str, seen: _Seen) -> str | None:
    """Return why a lease may be taken; empty if it was released, ``None`` if it may not be taken."""
    record = seen.record
    if record is not None and record.is_released:
        return ""
    if record is not None and has_ended(record.owner):
        return "that process has ended"
    unchanged_s = _OBSERVATIONS.unchanged_s((store.uri, name), seen.tag)
    if unchanged_s < seen.lifetime_s:
        age_s = store.version_age_s(lease_key(name), seen.tag)
        if age_s is None or age_s <= seen.lifetime_s + _TIME_STEP_S:
            return None
        unchanged_s = age_s
    return f"it has not been renewed for {unchanged_s:.0f} s"


def _is_settled(store: ObjectStore, lease: Lease) -> bool:
    """Return whether a new lease is the one that stays; asks only a store that cannot decide between two writers."""
    if store.has_conditional_writes:
        return True
    time.sleep(_SETTLE_S)
    seen = _look(store, lease_key(lease.name))
    return seen is not None and seen.record is not None and seen.record.token == lease.token


class _Observations:
    """Remembers since when this process has seen each lease unchanged; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, str], tuple[str, float]] = {}

    def unchanged_s(self, name: tuple[str, str], tag: str) -> float:
        """Return for how many seconds a lease has had this tag, as far as this process has looked."""
        now_s = time.monotonic()
        with self._lock:
            first_tag, since_s = self._seen.get(name, ("", now_s))
            if first_tag != tag:
                self._seen[name] = tag, now_s
                return 0.0
            return now_s - since_s


_OBSERVATIONS = _Observations()
