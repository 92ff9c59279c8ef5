"""Publication by threads and processes at once, on a folder, a real S3 server and one without conditional writes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from apex_pipeline.errors import LeaseLostError
from apex_pipeline.lake.publication import Change, publish
from apex_pipeline.lake.snapshot import Snapshot, read_current, read_snapshot
from apex_pipeline.settings import load_settings
from apex_pipeline.storage import leases
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.factory import open_store
from apex_pipeline.storage.layout import snapshot_key
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.contract.harnesses import StoreHarness
from apex_pipeline_tests.contract.publishing_process import NOON, publish_version, published_record

_PROJECT = Path(__file__).resolve().parents[2]
_SPA = SessionKey("spa", "R1")


@pytest.fixture(autouse=True)
def quick_to_settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait less on the old server; nothing on this machine takes longer between a lookup and a write."""
    monkeypatch.setattr(leases, "_SETTLE_S", 0.1)


def _current(store: ObjectStore) -> Snapshot:
    snapshot = read_current(store)
    assert snapshot is not None
    return snapshot


def _chain(snapshot: Snapshot) -> Iterator[Snapshot]:
    """Yield a snapshot and all those before it."""
    yield snapshot
    if snapshot.parent:
        yield from _chain(read_snapshot(snapshot.store, snapshot_key(snapshot.parent)))


def test_threads_that_publish_different_sessions_at_once_lose_none(
    harness: StoreHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in harness.environment.items():
        monkeypatch.setenv(name, value)
    keys = [SessionKey(f"track{number}", "R1") for number in range(10)]
    with ThreadPoolExecutor(len(keys)) as pool:
        stores = [open_store(load_settings(), for_writing=True) for _ in keys]
        list(pool.map(publish_version, stores, keys, [1] * len(keys)))
    last = _current(harness.store)
    assert last.keys == tuple(keys)
    # Every publication replaced the one before it: no session of an earlier snapshot is missing in a later one.
    sizes = [len(snapshot.keys) for snapshot in _chain(last)]
    assert sizes == list(range(len(keys), 0, -1))


def test_threads_that_publish_the_same_session_at_once_leave_one_whole_version(harness: StoreHarness) -> None:
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda version: publish_version(harness.store, _SPA, version), range(1, 7)))
    session = _current(harness.store).session(_SPA)
    assert session is not None
    assert session == published_record(_SPA, int(session.inputs_version.removeprefix("v")))


@pytest.mark.soak
def test_processes_that_publish_at_once_lose_nothing(harness: StoreHarness) -> None:
    command = [sys.executable, "-m", "apex_pipeline_tests.contract.publishing_process"]
    environment = {**os.environ, **harness.environment, "PYTHONPATH": str(_PROJECT)}
    sessions, rounds = 3, 4
    running = [
        subprocess.Popen([*command, track, str(sessions), str(rounds)], env=environment)
        for track in ("monza", "spa", "imola")
    ]
    assert [process.wait(300) for process in running] == [0, 0, 0]
    found = {session.key: session.inputs_version for session in _current(harness.store).sessions}
    tracks = ("imola", "monza", "spa")
    assert found == {SessionKey(track, f"R{number}"): f"v{rounds}" for track in tracks for number in (1, 2, 3)}


def test_a_session_that_another_process_has_published_meanwhile_stays(harness: StoreHarness) -> None:
    store = harness.store
    publish_version(store, _SPA, 1)
    started_from = _current(store).entry(_SPA)
    publish_version(store, _SPA, 3)
    change = {_SPA: Change(published_record(_SPA, 2))}
    with pytest.raises(LeaseLostError, match=r"spa/R1 has been published by another process"):
        publish(store, change, NOON, expected={_SPA: started_from})
    session = _current(store).session(_SPA)
    assert session is not None
    assert session.inputs_version == "v3"


def test_a_session_that_is_published_like_this_already_is_no_conflict(harness: StoreHarness) -> None:
    publish_version(harness.store, _SPA, 2)
    before = _current(harness.store)
    change = {_SPA: Change(published_record(_SPA, 2))}
    assert publish(harness.store, change, NOON, expected={_SPA: None}).id == before.id
