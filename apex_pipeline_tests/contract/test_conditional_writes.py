"""The contract of object stores: conditional writes, tested on a local folder, a real S3 server and an old S3 server.

The old server ignores conditions. There, everything holds except for writes at the very same moment, as documented in
``ObjectStore.write_if``.
"""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apex_pipeline.errors import StoreCorruptionError
from apex_pipeline.storage.base import ObjectInfo, ObjectStore
from apex_pipeline_tests.contract.harnesses import CONTENT, StoreHarness

_KEY = "catalog/current.json"


def _tag(store: ObjectStore) -> str:
    found = store.read_with_tag(_KEY)
    assert found is not None
    return found[1]


def test_an_object_is_created_only_if_there_is_none(harness: StoreHarness) -> None:
    store = harness.store
    first = store.write_if(_KEY, CONTENT, None)
    assert first is not None
    assert first == store.head(_KEY)
    assert store.write_if(_KEY, b"second", None) is None
    assert store.read_bytes(_KEY) == CONTENT
    assert harness.visible() == [_KEY]


def test_an_object_is_replaced_only_by_who_read_its_last_version(harness: StoreHarness) -> None:
    store = harness.store
    first = store.write_bytes(_KEY, b"one")
    second = store.write_if(_KEY, b"two", first.tag)
    assert second is not None
    assert second == store.head(_KEY)
    assert second.tag != first.tag
    assert store.write_if(_KEY, b"three", first.tag) is None
    assert store.write_if(_KEY, b"three", "no-such-tag") is None
    assert store.read_bytes(_KEY) == b"two"
    assert harness.visible() == [_KEY]


def test_an_object_that_was_removed_is_not_replaced(harness: StoreHarness) -> None:
    store = harness.store
    first = store.write_bytes(_KEY, b"one")
    store.delete(_KEY)
    assert store.write_if(_KEY, b"two", first.tag) is None
    assert store.head(_KEY) is None
    assert store.write_if(_KEY, b"two", None) is not None
    assert harness.visible() == [_KEY]


def test_content_and_tag_are_those_of_the_same_version(store: ObjectStore) -> None:
    assert store.read_with_tag(_KEY) is None
    written = store.write_if(_KEY, CONTENT, None)
    assert written is not None
    assert store.read_with_tag(_KEY) == (CONTENT, written.tag)
    store.write_bytes(_KEY, b"")
    assert store.read_with_tag(_KEY) == (b"", _tag(store))


def test_content_and_tag_match_while_others_write(harness: StoreHarness) -> None:
    store = harness.store
    if not harness.has_conditions:
        pytest.skip("this server replaces content and ETag in two steps")
    tags: dict[str, bytes] = {}
    is_over = threading.Event()

    def write() -> None:
        try:
            for number in range(60):
                content = f"version {number:03}".encode()
                tags[store.write_bytes(_KEY, content).tag] = content
        finally:
            is_over.set()

    read: list[tuple[bytes, str]] = []
    with ThreadPoolExecutor(1) as executor:
        writing = executor.submit(write)
        while not is_over.is_set():
            found = store.read_with_tag(_KEY)
            read += [] if found is None else [found]
        writing.result()
    assert read
    assert [content for content, tag in read if tags[tag] != content] == []


def test_an_object_above_the_limit_is_refused_by_name(store: ObjectStore) -> None:
    store.write_bytes(_KEY, CONTENT)
    assert store.read_with_tag(_KEY, len(CONTENT)) == (CONTENT, _tag(store))
    with pytest.raises(
        StoreCorruptionError, match=rf"current\.json is damaged: it has {len(CONTENT)} bytes, at most 5 "
    ):
        store.read_with_tag(_KEY, 5)


def test_a_damaged_object_is_not_read_with_its_tag(harness: StoreHarness) -> None:
    harness.store.write_bytes(_KEY, CONTENT)
    harness.damage(_KEY)
    with pytest.raises(StoreCorruptionError, match=r"current\.json is damaged"):
        harness.store.read_with_tag(_KEY)


def test_an_object_is_removed_only_with_its_tag(store: ObjectStore) -> None:
    assert not store.delete_if(_KEY, "no-such-tag")
    first = store.write_bytes(_KEY, b"one")
    second = store.write_bytes(_KEY, b"two")
    assert not store.delete_if(_KEY, first.tag)
    assert store.read_bytes(_KEY) == b"two"
    assert store.delete_if(_KEY, second.tag)
    assert store.head(_KEY) is None
    assert not store.delete_if(_KEY, second.tag)


def test_the_support_is_known_and_the_test_leaves_nothing(harness: StoreHarness) -> None:
    assert harness.store.has_conditional_writes is harness.has_conditions
    assert harness.visible() == []
    assert harness.store.incomplete_uploads() == []


def test_of_many_writers_at_once_exactly_one_wins(harness: StoreHarness) -> None:
    store = harness.store
    if not harness.has_conditions:
        pytest.skip("this server ignores conditions")
    start = threading.Barrier(16)

    # A writer of what is there already would not be noticed: in a bucket the tag depends on the content alone.
    def write(attempt: int, number: int, expected: str | None) -> ObjectInfo | None:
        start.wait()
        return store.write_if(_KEY, f"attempt {attempt}, writer {number}".encode(), expected)

    expected: str | None = None
    for attempt in range(5):
        with ThreadPoolExecutor(16) as executor:
            futures = [executor.submit(write, attempt, number, expected) for number in range(16)]
            written = [future.result() for future in futures]
        winners = [number for number, info in enumerate(written) if info is not None]
        assert len(winners) == 1
        content, expected = store.read_with_tag(_KEY) or (b"", None)
        assert content == f"attempt {attempt}, writer {winners[0]}".encode()


def test_no_update_is_lost_when_many_add_to_the_same_object(harness: StoreHarness) -> None:
    store = harness.store
    if not harness.has_conditions:
        pytest.skip("this server ignores conditions")

    def add(number: int) -> None:
        while True:
            content, tag = store.read_with_tag(_KEY) or (b"[]", None)
            if store.write_if(_KEY, json.dumps([*json.loads(content), number]).encode(), tag) is not None:
                return

    with ThreadPoolExecutor(6) as executor:
        for future in [executor.submit(add, number) for number in range(24)]:
            future.result()
    assert sorted(json.loads(store.read_bytes(_KEY))) == list(range(24))


# -- any order of operations ----------------------------------------------------------------------------------------

_STEPS: dict[str, Callable[[ObjectStore, bytes, str | None], object]] = {
    "write_bytes": lambda store, content, _: store.write_bytes(_KEY, content).tag,
    "write_if": lambda store, content, tag: store.write_if(_KEY, content, tag) is not None,
    "delete_if": lambda store, _, tag: tag is not None and store.delete_if(_KEY, tag),
    "delete": lambda store, *_: store.delete(_KEY),
}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.sampled_from(sorted(_STEPS)), st.integers(0, 3)), max_size=8))
def test_a_condition_holds_exactly_for_the_present_version(store: ObjectStore, steps: list[tuple[str, int]]) -> None:
    store.delete(_KEY)
    present: tuple[bytes, str] | None = None
    seen: list[str | None] = [None]
    for number, (step, age) in enumerate(steps):
        content = f"{number}".encode()
        tag = seen[-1 - age % len(seen)]
        result = _STEPS[step](store, content, tag)
        holds = tag == (None if present is None else present[1])
        if step == "write_if":
            assert result is holds
        if step == "delete_if":
            assert result is (holds and present is not None)
        expected = {
            "write_bytes": content,
            "write_if": content if holds else (present and present[0]),
            "delete_if": None if holds else (present and present[0]),
            "delete": None,
        }[step]
        present = store.read_with_tag(_KEY)
        assert (present and present[0]) == expected
        seen.append(None if present is None else present[1])
