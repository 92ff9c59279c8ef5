"""Leases on a local folder, a real S3 server and an old S3 server, with real processes that are killed and stopped."""

import json
import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apex_pipeline.errors import LeaseLostError, StoreLockedError, StoreUnavailableError
from apex_pipeline.process.identity import pid_namespace
from apex_pipeline.storage import leases
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import lease_key
from apex_pipeline.storage.lease_record import MAX_BYTES
from apex_pipeline.storage.leases import Holder, Lease, acquire, held, try_acquire
from apex_pipeline.storage.processes import this_process
from apex_pipeline_tests.contract.harnesses import StoreHarness
from apex_pipeline_tests.contract.lease_process import LeaseProcess, lease_process

NAME = "sebring/R1"
_KEY = lease_key(NAME)
_SHORT_S = 1.5


@pytest.fixture(autouse=True)
def quick_to_settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait less on the old server: here, no other process writes at the same time."""
    monkeypatch.setattr(leases, "_SETTLE_S", 0.01)


def _acquired(store: ObjectStore, **options: Any) -> Lease:
    found = try_acquire(store, NAME, "deriving", **options)
    assert isinstance(found, Lease), found
    return found


def _holder(store: ObjectStore) -> Holder:
    found = try_acquire(store, NAME, "deriving")
    assert isinstance(found, Holder)
    return found


def _write_record(store: ObjectStore, **changes: Any) -> None:
    """Write the lease of another process that is alive, as far as anyone can see."""
    document: dict[str, Any] = {
        "owner": {"host": "another-machine", "namespace": "boot/1", "pid": 1, "started": 7},
        "command": "apex sync",
        "token": "0" * 32,
        "doing": "publishing",
        "since": "2026-06-01T12:00:00+00:00",
        "lifetime_s": 60.0,
        "renewals": 0,
        "released": False,
    }
    store.write_bytes(_KEY, json.dumps(document | changes).encode())


def _taken_over_s(store: ObjectStore, timeout_s: float = 60) -> float:
    """Acquire the lease, and return how long it took."""
    begun_s = time.monotonic()
    lease = acquire(store, NAME, "deriving", lambda _: None, timeout_s, lifetime_s=_SHORT_S)
    lease.require()
    return time.monotonic() - begun_s


# -- one process ----------------------------------------------------------------------------------------------------


def test_a_lease_has_one_holder_at_a_time(store: ObjectStore) -> None:
    first = _acquired(store)
    holder = _holder(store)
    assert (holder.host, holder.pid, holder.doing) == (socket.gethostname(), os.getpid(), "deriving")
    assert f"process {os.getpid()} on {socket.gethostname()} (deriving since 20" in str(holder)
    first.require()
    first.release()
    second = _acquired(store)
    assert second.token != first.token
    with pytest.raises(LeaseLostError, match="no longer holds sebring/R1"):
        first.require()
    second.require()


def test_leases_of_different_names_are_independent(store: ObjectStore) -> None:
    _acquired(store)
    other = try_acquire(store, "sebring/R2", "deriving")
    assert isinstance(other, Lease)
    assert other.name == "sebring/R2"


def test_the_loser_does_not_release_the_winners_lease(store: ObjectStore) -> None:
    first = _acquired(store)
    store.delete(_KEY)
    second = _acquired(store)
    with pytest.raises(LeaseLostError):
        first.renew()
    first.release()
    second.require()
    assert _holder(store).token == second.token


def test_others_see_what_the_holder_does(store: ObjectStore) -> None:
    lease = _acquired(store)
    lease.renew("publishing")
    lease.renew()
    assert _holder(store).doing == "publishing"


def test_a_valid_lease_is_required_without_a_request(store: ObjectStore) -> None:
    lease = _acquired(store)
    before = store.request_stats.requests
    for _ in range(1000):
        lease.require()
    assert store.request_stats.requests == before


@pytest.mark.parametrize("clock", ["machine was asleep", "wall clock"])
def test_an_expired_lease_that_nobody_took_is_kept(
    store: ObjectStore, clock: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = _acquired(store)
    tag = (store.read_with_tag(_KEY) or (b"", ""))[1]
    if clock == "wall clock":
        monkeypatch.setattr(time, "time", lambda: time.time_ns() / 1e9 + 100)
    else:
        monkeypatch.setattr(leases, "_awake_and_asleep_s", lambda: time.monotonic() + 1e9)
    lease.require()
    assert (store.read_with_tag(_KEY) or (b"", ""))[1] != tag
    assert _holder(store).token == lease.token


def test_a_lease_held_by_a_block_outlives_its_lifetime(store: ObjectStore) -> None:
    with held(store, NAME, "deriving", lifetime_s=_SHORT_S) as lease:
        until_s = time.monotonic() + 3 * _SHORT_S
        while time.monotonic() < until_s:
            assert _holder(store).token == lease.token
            time.sleep(0.2)
        lease.require()
    _acquired(store)


def test_a_block_releases_its_lease_after_an_error(store: ObjectStore) -> None:
    with pytest.raises(ZeroDivisionError), held(store, NAME, "deriving"):
        raise ZeroDivisionError
    _acquired(store)


def test_a_block_whose_lease_is_taken_over_finds_out(store: ObjectStore, caplog: pytest.LogCaptureFixture) -> None:
    with held(store, NAME, "deriving", lifetime_s=_SHORT_S) as lease:
        _write_record(store)
        time.sleep(_SHORT_S)
        with pytest.raises(LeaseLostError):
            lease.require()
    assert "no longer holds sebring/R1" in caplog.text
    assert _holder(store).host == "another-machine"


def test_waiting_reports_every_change_of_holder_and_ends(store: ObjectStore) -> None:
    _write_record(store)
    waited: list[str] = []

    def change(holder: Holder) -> None:
        waited.append(holder.doing)
        if holder.doing == "publishing":
            _write_record(store, doing="rolling up")

    with pytest.raises(StoreLockedError, match=r"in use by `apex sync`, process 1 on another-machine \(rolling up"):
        acquire(store, NAME, "deriving", change, 2.0)
    assert waited == ["publishing", "rolling up"]


def test_waiting_ends_when_the_holder_releases(store: ObjectStore) -> None:
    lease = _acquired(store)
    timer = threading.Timer(0.5, lease.release)
    timer.start()
    assert 0.3 < _taken_over_s(store) < 30
    timer.join()


def test_a_stale_waiter_does_not_take_over_a_lease_that_is_renewed(store: ObjectStore) -> None:
    # Not by time: the tag of the lease changes with every renewal.
    lease = _acquired(store, lifetime_s=_SHORT_S)
    for _ in range(4):
        assert _holder(store).token == lease.token
        time.sleep(_SHORT_S / 2)
        lease.renew()


def test_a_store_that_is_down_for_a_moment_does_not_end_the_lease(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise StoreUnavailableError("The network is down.", "Wait.")

    with held(store, NAME, "deriving", lifetime_s=_SHORT_S) as lease:
        with monkeypatch.context() as patch:
            patch.setattr(type(store), "write_if", refuse)
            time.sleep(_SHORT_S * 1.5)
            with pytest.raises(StoreUnavailableError):
                lease.require()
        lease.require()
    assert "sebring/R1 could not be renewed: The network is down." in caplog.text


def test_a_renewal_that_may_have_overwritten_a_new_holder_ends_the_lease(
    harness: StoreHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = _acquired(harness.store, lifetime_s=_SHORT_S)
    write_if = type(harness.store).write_if

    def write_late(*arguments: Any) -> object:
        time.sleep(_SHORT_S)
        return write_if(*arguments)

    monkeypatch.setattr(type(harness.store), "write_if", write_late)
    monkeypatch.setattr(leases, "_LONG_WRITE_S", _SHORT_S / 2)
    if harness.store.has_conditional_writes:
        lease.renew()
    else:
        with pytest.raises(LeaseLostError):
            lease.renew()


def test_leaving_the_block_does_not_wait_for_a_store_that_does_not_respond(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_over = threading.Event()

    def hang(*_: object) -> None:
        is_over.wait()
        raise StoreUnavailableError("The network is down.", "Wait.")

    monkeypatch.setattr(leases, "_RELEASE_TIMEOUT_S", 0.2)
    with held(store, NAME, "deriving"):
        monkeypatch.setattr(type(store), "write_if", hang)
        begun_s = time.monotonic()
    assert time.monotonic() - begun_s < 5
    is_over.set()


# -- owners ---------------------------------------------------------------------------------------------------------

_HERE = this_process()


@pytest.mark.parametrize(
    ("owner", "is_free"),
    [
        (_HERE, False),
        (_HERE._replace(started=0), False),
        (_HERE._replace(started=_HERE.started - 1), True),  # the process id was used again
        (_HERE._replace(pid=2**22 + 1), True),
        (_HERE._replace(pid=0), True),
        (_HERE._replace(pid=2**62), True),
        (_HERE._replace(pid=1, started=0), False),
        (_HERE._replace(pid=2**22 + 1, namespace=f"{pid_namespace()}0"), False),  # another container of this name
        (_HERE._replace(pid=2**22 + 1, namespace=""), False),
        (_HERE._replace(pid=2**22 + 1, host="another-machine"), False),
    ],
    ids=[
        "this",
        "unknown start",
        "reused id",
        "no such id",
        "zero",
        "too large",
        "init",
        "another container",
        "unknown namespace",
        "another machine",
    ],
)
def test_only_a_process_that_can_be_seen_from_here_counts_as_ended(
    store: ObjectStore, caplog: pytest.LogCaptureFixture, owner: Any, *, is_free: bool
) -> None:
    _write_record(store, owner=owner._asdict())
    assert isinstance(try_acquire(store, NAME, "deriving"), Lease) is is_free
    assert ("Taking over sebring/R1 from `apex sync`, process" in caplog.text) is is_free


# -- expiry ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("year", [1970, 2525])
def test_the_times_of_the_holders_clock_are_not_compared(store: ObjectStore, year: int) -> None:
    _write_record(store, since=f"{year}-01-01T00:00:00+00:00", expires=f"{year}-01-01T00:01:00+00:00")
    assert _holder(store).doing == "publishing"


def test_a_lease_that_is_old_by_the_clock_of_the_store_is_taken_over_at_once(
    store: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    _write_record(store, lifetime_s=0.5)
    time.sleep(4)
    lease = _acquired(store)
    lease.require()
    assert "publishing since 2026-06-01 12:00:00 UTC): it has not been renewed for " in caplog.text


@pytest.mark.parametrize("age_s", [None, -86_400.0, 0.0])
def test_a_lease_that_does_not_change_is_taken_over_although_the_store_has_no_useful_clock(
    store: ObjectStore, age_s: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(store), "version_age_s", lambda *_: age_s)
    _write_record(store, lifetime_s=1.0)
    assert 1.0 <= _taken_over_s(store) < 30


def test_the_age_of_a_version_is_by_the_clock_of_the_store(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store.version_age_s("none", "tag") is None
    first = store.write_bytes("x", b"1")
    second = store.write_bytes("x", b"2")
    assert store.version_age_s("x", first.tag) is None
    if store.request_stats.requests:  # the clock of this machine does not matter
        monkeypatch.setattr(time, "time", lambda: 0.0)
    time.sleep(1)
    age_s = store.version_age_s("x", second.tag)
    assert age_s is not None
    assert 0 <= age_s < 30


_DAMAGED: dict[str, bytes] = {
    "empty": b"",
    "garbage": b"\x00\xff\xfe not json",
    "huge": b" " * (MAX_BYTES + 1),
    "deep": b"[" * MAX_BYTES,
    "another type": b"[]",
    "null": b"null",
    "no fields": b"{}",
    "big number": b'{"owner": ' + b"9" * 10_000 + b"}",
}
_WRONG: dict[str, dict[str, Any]] = {
    "owner is a text": {"owner": "me"},
    "pid is a text": {"owner": {"host": "a", "namespace": "b", "pid": "1", "started": 1}},
    "pid is negative": {"owner": {"host": "a", "namespace": "b", "pid": -1, "started": 1}},
    "token is missing": {"token": None},
    "lifetime is endless": {"lifetime_s": 1e999},
    "lifetime is not a number": {"lifetime_s": float("nan")},
    "lifetime is a year": {"lifetime_s": 31e6},
    "lifetime is negative": {"lifetime_s": -1},
    "lifetime is true": {"lifetime_s": True},
    "time is no time": {"since": "yesterday"},
}


def _write_damaged(store: ObjectStore, case: str) -> None:
    if case in _DAMAGED:
        store.write_bytes(_KEY, _DAMAGED[case])
    else:
        _write_record(store, **_WRONG[case])


@pytest.mark.parametrize("case", [*_DAMAGED, *_WRONG])
def test_a_damaged_lease_expires_after_one_lifetime(
    store: ObjectStore, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_damaged(store, case)
    assert str(_holder(store)) == "an unknown process (its lease is damaged and expires soon)"
    monkeypatch.setattr(leases, "LIFETIME_S", 0.3)
    assert _taken_over_s(store) < 30


def test_a_lease_with_flipped_bits_expires_after_one_lifetime(
    harness: StoreHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_record(harness.store)
    harness.damage(_KEY)
    assert _holder(harness.store).since_utc is None
    monkeypatch.setattr(leases, "LIFETIME_S", 0.3)
    assert _taken_over_s(harness.store) < 30


def test_a_hostile_text_does_not_reach_the_terminal(store: ObjectStore) -> None:
    _write_record(store, doing="\x1b[2Jgone\n" + "x" * 10_000, command="\ud800\u202e")
    shown = str(_holder(store))
    assert shown.isprintable()
    assert len(shown) < 400


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.dictionaries(
        st.sampled_from(["owner", "command", "token", "doing", "since", "lifetime_s", "renewals", "released"]), _JSON
    )
)
def test_no_content_of_a_lease_raises_an_error(store: ObjectStore, changes: dict[str, Any]) -> None:
    _write_record(store, **changes)
    found = try_acquire(store, NAME, "deriving")
    assert isinstance(found, Lease | Holder)
    assert str(found)


# -- several processes ----------------------------------------------------------------------------------------------


def _await_renewal(store: ObjectStore) -> None:
    """Wait for a renewal: the next one begins half a second later, so the process is not stopped within one."""
    found = store.read_with_tag(_KEY, 100_000)
    while store.read_with_tag(_KEY, 100_000) == found:
        time.sleep(0.01)


def _stopped(process: LeaseProcess) -> None:
    os.kill(process.process.pid, signal.SIGSTOP)
    os.waitpid(process.process.pid, os.WUNTRACED)


@pytest.mark.parametrize("is_reaped", [True, False])
def test_the_lease_of_a_killed_process_is_taken_over_at_once(harness: StoreHarness, *, is_reaped: bool) -> None:
    with lease_process(harness.environment, "hold", NAME, "60") as process:
        assert process.read_line() == "held"
        assert _holder(harness.store).pid == process.process.pid
        process.process.kill()
        if is_reaped:
            process.process.wait()
        assert _taken_over_s(harness.store) < 10


def test_a_process_that_was_stopped_for_too_long_finds_out_that_it_lost_its_lease(harness: StoreHarness) -> None:
    with lease_process(harness.environment, "hold", NAME, str(_SHORT_S)) as process:
        assert process.read_line() == "held"
        assert process.ask() == "yes"
        _await_renewal(harness.store)
        _stopped(process)
        assert _taken_over_s(harness.store) < 30
        os.kill(process.process.pid, signal.SIGCONT)
        assert process.ask() == "lost"
        time.sleep(_SHORT_S)
        assert process.ask() == "lost"
        assert _holder(harness.store).pid == os.getpid()


def test_a_process_that_was_stopped_keeps_a_lease_that_nobody_wanted(harness: StoreHarness) -> None:
    with lease_process(harness.environment, "hold", NAME, str(_SHORT_S)) as process:
        assert process.read_line() == "held"
        _stopped(process)
        time.sleep(2 * _SHORT_S)
        os.kill(process.process.pid, signal.SIGCONT)
        assert process.ask() == "yes"
        assert _holder(harness.store).pid == process.process.pid


# Most of the time is that of starting them: 1 s of processor time each.
@pytest.mark.parametrize("number", [3, pytest.param(8, marks=pytest.mark.soak)])
def test_processes_never_hold_the_same_lease_at_once(harness: StoreHarness, tmp_path: Path, number: int) -> None:
    if not harness.has_conditions:
        pytest.skip("this server cannot decide between two writers")
    counter = tmp_path / "counter"
    counter.write_text("0")
    processes = [LeaseProcess(harness.environment, "count", NAME, "25", str(counter)) for _ in range(number)]
    codes: list[int] = []
    for process in processes:
        with process.process:
            codes.append(process.process.wait(300))
    assert codes == [0] * number
    assert counter.read_text() == str(25 * number)


def test_of_counts_that_threads_replace_at_once_none_is_lost(
    harness: StoreHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the store has no conditional writes: plain ones lose some of the counts there."""
    monkeypatch.setattr(leases, "_SETTLE_S", 0.1)
    key, store = "catalog/count.json", harness.store
    store.write_bytes(key, b"0")

    def count(_: int) -> None:
        is_done = False
        while not is_done:
            found = store.read_with_tag(key)
            assert found is not None
            is_done = leases.replace_alone(store, key, b"%d" % (int(found[0]) + 1), found[1])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(4)))
    assert store.read_bytes(key) == b"4"
