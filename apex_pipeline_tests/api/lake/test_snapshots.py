"""Snapshots over HTTP: each answer is of one, a new one is seen in time, and an old one is found or gone."""

import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from apex_pipeline.lake.publication import publish_session
from apex_pipeline.lake.snapshot import Snapshot
from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.layout import CURRENT_SNAPSHOT_KEY, object_key, snapshot_key
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.api.lake.conftest import API, serving
from apex_pipeline_tests.catalog.race_lake import local_store
from apex_pipeline_tests.lake.tables import NOON, derive_tables, renew_roll_ups

_KEYS = [SessionKey("harbor", "R1"), SessionKey("harbor", "R2"), SessionKey("mesa", "R1")]


def _publish(store: ObjectStore, minute: int, laps: int = 5, keys: list[SessionKey] = _KEYS) -> Snapshot:
    """Publish new tables of the sessions, each in a snapshot of its own."""
    snapshots: list[Snapshot] = []
    for number, key in enumerate(keys):
        record = derive_tables(store, key, f"v{minute}", laps=laps)
        snapshots.append(publish_session(store, record, NOON + timedelta(minutes=minute, seconds=number)))
    renew_roll_ups(store)
    return snapshots[-1]


def _get(client: httpx.Client, path: str, status: int = 200) -> dict[str, Any]:
    answer = client.get(f"{API}{path}")
    assert answer.status_code == status, answer.text
    return answer.json()


def test_a_new_snapshot_is_seen_within_two_seconds(tmp_path: Path) -> None:
    store = local_store(tmp_path)
    _publish(store, 0)
    with serving(tmp_path / "lake") as client:
        assert _get(client, "/tables/laps")["count"] == 15
        for minute, pause_s in ((1, 0.01), (2, 1.6)):  # while requests arrive, and after a quiet time
            time.sleep(pause_s)
            newest = _publish(store, minute, laps=5 + minute).id
            published_s = time.monotonic()
            while _get(client, "/snapshot")["id"] != newest:
                assert time.monotonic() - published_s < 2
            assert _get(client, "/tables/laps")["count"] == 3 * (5 + minute)


def test_a_lake_that_is_empty_at_first_is_served_once_something_is_published(tmp_path: Path) -> None:
    store = local_store(tmp_path)
    with serving(tmp_path / "lake") as client:
        problem = _get(client, "/tables/laps", 503)
        assert "Nothing is published" in problem["detail"]
        assert "apex sync" in problem["hint"]
        assert client.get(f"{API}/tables/laps").headers["retry-after"] == "5"
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200
        _publish(store, 0)
        deadline_s = time.monotonic() + 2
        while client.get("/readyz").status_code == 503:
            assert time.monotonic() < deadline_s
        assert _get(client, "/tables/laps")["count"] == 15


def test_a_walk_over_a_swap_has_no_row_twice_and_none_lost(tmp_path: Path) -> None:
    store = local_store(tmp_path)
    _publish(store, 0, laps=20)
    with serving(tmp_path / "lake") as client:
        ended = threading.Event()

        def keep_publishing() -> None:
            for minute in range(1, 6):
                _publish(store, minute, laps=20 - minute)
            ended.set()

        publisher = threading.Thread(target=keep_publishing)
        publisher.start()
        first = client.get(f"{API}/tables/laps?limit=7")
        snapshot, rows, cursor = first.headers["apex-snapshot"], first.json()["rows"], first.json()["next"]
        while cursor is not None:
            answer = client.get(f"{API}/tables/laps?limit=7&cursor={cursor}")
            assert answer.headers["apex-snapshot"] == snapshot
            rows += answer.json()["rows"]
            cursor = answer.json()["next"]
        publisher.join()
        expected = _get(client, f"/tables/laps?snapshot={snapshot}")["rows"]
        assert ended.is_set()
        assert rows == expected
        assert len(rows) in {60, 59, 58, 57}  # between the swaps of its sessions


_LISTS = ("/sessions", "/tables/sessions", "/tables/files", "/tables/files?sort=-path", "/tables/tracks")


def _with_cursor(path: str, cursor: str) -> str:
    return f"{path}{'&' if '?' in path else '?'}limit=1{f'&cursor={cursor}' if cursor else ''}"


@pytest.mark.parametrize("path", _LISTS)
@pytest.mark.parametrize("is_swapped", [False, True])
def test_a_walk_over_a_list_goes_on_after_a_restart(tmp_path: Path, path: str, *, is_swapped: bool) -> None:
    store = local_store(tmp_path)
    _publish(store, 0)
    with serving(tmp_path / "lake") as client:
        expected = _get(client, path)["rows"]
    rows, cursor, minute = list[Any](), "", 0
    while cursor is not None:
        with serving(tmp_path / "lake") as client:
            page = _get(client, _with_cursor(path, cursor))
        rows += page["rows"]
        cursor = page["next"]
        if is_swapped:
            minute += 1
            _publish(store, minute, laps=5 + minute, keys=[_KEYS[minute % 3], SessionKey("a_new_track", f"R{minute}")])
    assert rows == expected
    assert len(rows) > 1


@pytest.mark.parametrize("path", _LISTS)
def test_a_walk_over_what_only_the_present_snapshot_lists_goes_on_or_says_that_it_cannot(
    tmp_path: Path, path: str
) -> None:
    store = local_store(tmp_path)
    _publish(store, 0)
    derive_tables(store, SessionKey("apple", "R1"), "v0")  # it has a record, and is not published
    renew_roll_ups(store)
    with serving(tmp_path / "lake") as client:
        expected = _get(client, path)["rows"]
        first = _get(client, _with_cursor(path, ""))
        rows, cursor = first["rows"], first["next"]
        _publish(store, 1, laps=6)
        time.sleep(0.6)
        while cursor is not None:
            page = _get(client, _with_cursor(path, cursor))
            rows, cursor = rows + page["rows"], page["next"]
        assert rows == expected
        assert any("apple" in str(row) for row in rows)
    with serving(tmp_path / "lake") as client:
        problem = _get(client, _with_cursor(path, first["next"]), 410)
        assert "no longer as it was" in problem["detail"]
        assert "without the cursor" in problem["hint"]


def test_a_cursor_of_a_removed_snapshot_is_gone(tmp_path: Path) -> None:
    store = local_store(tmp_path)
    old = _publish(store, 0, laps=20)
    with serving(tmp_path / "lake") as client:
        cursor = _get(client, "/tables/laps?limit=3")["next"]
    _publish(store, 1)
    with serving(tmp_path / "lake") as client:
        assert _get(client, f"/snapshot?snapshot={old.id}")["id"] == old.id
        for one in old.sessions:
            store.delete(object_key(one.tables["laps"].sha256))
        store.delete(snapshot_key(old.id))
        # Its catalog is still open, but the content is gone.
        problem = _get(client, f"/tables/laps?limit=4&cursor={cursor}", 410)
        assert "has been removed" in problem["detail"]
        assert "without the cursor" in problem["hint"]
        assert _get(client, f"/tables/laps?limit=4&cursor={cursor}", 410) == problem
        assert "no longer" in _get(client, f"/tables/cars?snapshot={old.id}", 404)["detail"]
    with serving(tmp_path / "lake") as client:
        assert _get(client, f"/tables/laps?limit=4&cursor={cursor}", 410) == problem
        assert _get(client, f"/changes?since={old.id}", 410) == problem


def test_changes_since_a_snapshot_are_told(tmp_path: Path) -> None:
    store = local_store(tmp_path)
    before = _publish(store, 0, keys=_KEYS[:2])
    after = _publish(store, 1, laps=6, keys=_KEYS[1:])
    with serving(tmp_path / "lake") as client:
        found = _get(client, f"/changes?since={before.id}")
        assert (found["since"], found["snapshot"]) == (before.id, after.id)
        assert found["rows"] == [
            {"track": "mesa", "session": "R1", "change": "added"},
            {"track": "harbor", "session": "R2", "change": "changed"},
        ]
        assert _get(client, f"/changes?since={after.id}")["rows"] == []
        assert "since is missing" in _get(client, "/changes", 400)["detail"]
        listed = _get(client, "/snapshots")["rows"]
        assert listed[0]["id"] == after.id
        pages = _get(client, "/snapshots?limit=1")
        assert pages["rows"] == listed[:1]
        assert _get(client, f"/snapshots?limit=9&cursor={pages['next']}")["rows"] == listed[1:]
        assert _get(client, f"/tables/laps?snapshot={before.id}")["count"] == 10


def test_a_snapshot_that_retention_removed_is_not_listed_any_more(tmp_path: Path) -> None:
    store = local_store(tmp_path)
    oldest = _publish(store, 0, keys=_KEYS[:1])
    _publish(store, 1, keys=_KEYS[:1])
    with serving(tmp_path / "lake") as client:
        assert _get(client, "/snapshots")["count"] == 2
        store.delete(snapshot_key(oldest.id))
        assert _get(client, "/snapshots")["count"] == 1


@pytest.mark.parametrize(
    "snapshot", ["", "latest", "../x", "20261127T125705Z-3A198AC2", "20261127T125705Z-3a198ac2%00"]
)
def test_what_is_no_id_of_a_snapshot_is_refused(served_race: httpx.Client, snapshot: str) -> None:
    assert "not the id" in _get(served_race, f"/snapshot?snapshot={snapshot}", 400)["detail"]


def test_a_damaged_object_leaves_the_other_sessions(tmp_path: Path) -> None:
    store = local_store(tmp_path)
    _publish(store, 0, laps=9, keys=_KEYS[2:])
    snapshot = _publish(store, 1, keys=_KEYS[:2])
    record = next(one for one in snapshot.sessions if one.key == _KEYS[0]).tables["laps"]
    for key in (object_key(record.sha256), record.key):
        store.delete(key)
    with serving(tmp_path / "lake") as client:
        problem = _get(client, "/sessions/harbor/R1/laps", 503)
        assert "missing or damaged" in problem["detail"]
        assert "apex sync" in problem["hint"]
        for question in ("best", "positions", "gaps", "sectors"):
            assert "missing or damaged" in _get(client, f"/sessions/harbor/R1/{question}", 503)["detail"]
        assert client.get("/api/analytics/track/harbor/session/R1/best-lap").status_code == 503
        assert _get(client, "/sessions/mesa/R1/laps")["count"] == 9
        # What has a name is no less there because its file is gone.
        assert "missing or damaged" in _get(client, "/sessions/harbor/R1/best", 503)["detail"]
        seen = client.get("/api/analytics/track/harbor/session/R1/best-lap")
        assert "missing or damaged" in seen.text


def test_a_lake_that_loses_its_pointer_is_served_as_it_was(tmp_path: Path) -> None:
    store = local_store(tmp_path)
    _publish(store, 0)
    with serving(tmp_path / "lake") as client:
        assert _get(client, "/tables/laps")["count"] == 15
        store.delete(CURRENT_SNAPSHOT_KEY)
        time.sleep(2)
        assert _get(client, "/tables/cars")["count"] == 0
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert "no longer says what is published" in answer.json()["detail"]
        assert "apex_lake_unreadable 1.0" in client.get("/metrics").text
