"""Publication while others publish at every possible moment, replies get lost, and processes lose their lease."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.errors import LeaseLostError, StoreUnavailableError
from apex_pipeline.lake.publication import Change, publish, publish_session
from apex_pipeline.lake.published_session import PublishedSession, SessionEntry
from apex_pipeline.lake.records import require_record
from apex_pipeline.lake.snapshot import Snapshot, read_current
from apex_pipeline.storage.base import ObjectInfo
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.layout import CURRENT_SNAPSHOT_KEY, derived_key, object_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.contract.publishing_process import publish_version
from apex_pipeline_tests.lake.derived import open_lake
from apex_pipeline_tests.lake.tables import NOON, derive_tables, publish_tables

_R1 = SessionKey("spa", "R1")
_KEYS = tuple(SessionKey(track, "R1") for track in ("imola", "monza", "spa"))


class _Meddled(LocalStore):
    """A lake in which something happens before and after the swaps of the pointer.

    Attributes:
        before: Called before a swap, the last one first.
        after: Called after a swap that succeeded; returns what the store replies, or raises.
        swaps: For every swap that succeeded, the session that this store was publishing, and what is published then.
    """

    def __init__(self, root: Path, swaps: list[tuple[SessionKey, Mapping[SessionKey, SessionEntry]]]) -> None:
        super().__init__(root, DigestCache())
        self.publishing = _R1
        self.swaps = swaps
        self.before: list[Callable[[], None]] = []
        self.after: list[Callable[[ObjectInfo], ObjectInfo | None]] = []

    def write_if(self, key: str, content: bytes, expected_tag: str | None) -> ObjectInfo | None:
        if key != CURRENT_SNAPSHOT_KEY:
            return super().write_if(key, content, expected_tag)
        if self.before:
            self.before.pop()()
        written = super().write_if(key, content, expected_tag)
        if written is None:
            return None
        self.swaps.append((self.publishing, _current(self).entries))
        return self.after.pop()(written) if self.after else written

    def publish(self, key: SessionKey, version: int) -> None:
        self.publishing = key
        publish_version(self, key, version)

    def other(self) -> "_Meddled":
        """Return the same lake as another process sees it."""
        return _Meddled(Path(self.uri), self.swaps)


def _current(store: LocalStore) -> Snapshot:
    snapshot = read_current(store)
    assert snapshot is not None
    return snapshot


def _published(store: LocalStore, key: SessionKey = _R1) -> PublishedSession:
    session = _current(store).session(key)
    assert session is not None
    return session


_Publication = tuple[SessionKey, int]
_publication = st.tuples(st.sampled_from(_KEYS), st.integers(1, 6))
_publications = st.lists(_publication, max_size=2)
_replies = st.sampled_from(["arrives", "says that nothing was written", "says that the store is unavailable"])


@given(
    own=st.lists(_publication, min_size=1, max_size=3),
    before=st.lists(_publications, max_size=4),
    after=st.lists(st.tuples(_publications, _replies), max_size=3),
)
def test_a_publication_changes_its_own_session_only_whatever_happens_around_the_swaps(
    own: list[_Publication], before: list[list[_Publication]], after: list[tuple[list[_Publication], str]]
) -> None:
    with TemporaryDirectory() as folder:
        open_lake(Path(folder))
        store = _Meddled(Path(folder), [])

        def publish_others(publications: list[_Publication]) -> None:
            for key, version in publications:
                store.other().publish(key, version)

        def reply(written: ObjectInfo, publications: list[_Publication], how: str) -> ObjectInfo | None:
            publish_others(publications)
            if how == "says that the store is unavailable":
                raise StoreUnavailableError("The reply was lost.", "Run it again.")
            # After a lost reply, the second attempt finds another pointer only if another process has replaced it.
            return None if publications and how == "says that nothing was written" else written

        store.before = [lambda publications=publications: publish_others(publications) for publications in before]
        store.after = [lambda written, one=one: reply(written, *one) for one in after]
        for key, version in own:
            try:
                store.publish(key, version)
            except StoreUnavailableError:
                store.publish(key, version)
        for (_, earlier), (key, later) in zip(store.swaps, store.swaps[1:], strict=False):
            assert {one: entry for one, entry in later.items() if one != key} == {
                one: entry for one, entry in earlier.items() if one != key
            }
            assert key in later


def _stale_process(store: LocalStore) -> _Meddled:
    """Return a process that published version 1 of a session and has derived version 2."""
    stale = _Meddled(Path(store.uri), [])
    publish_tables(stale, _R1, "v1", laps=1)
    return stale


def _take_over(store: _Meddled) -> None:
    """Publish version 3 as the process does that has taken over the lease."""
    publish_tables(store.other(), _R1, "v3", laps=3, now=NOON + timedelta(minutes=3))


def _assert_version_3(store: LocalStore) -> None:
    session = _published(store)
    assert session.inputs_version == "v3"
    assert require_record(store, _R1).inputs_version == "v3"
    for table in session.tables.values():
        assert store.read_bytes(table.key) == store.read_bytes(object_key(table.sha256))


def test_a_process_that_lost_its_lease_before_the_swap_replaces_nothing(store: LocalStore) -> None:
    stale = _stale_process(store)
    record = derive_tables(stale, _R1, "v2", laps=2)
    stale.before = [lambda: _take_over(stale)]
    with pytest.raises(LeaseLostError, match="has been published by another process"):
        publish_session(stale, record, NOON)
    _assert_version_3(store)


def test_a_process_that_lost_its_lease_after_the_swap_leaves_the_stable_names_of_what_is_published(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = _stale_process(store)
    record = derive_tables(stale, _R1, "v2", laps=2)
    original, is_taken = stale.copy, list[bool]()

    def copy(source: str, target: str, **options: ObjectInfo | None) -> ObjectInfo:
        if not is_taken:
            is_taken.append(True)
            _take_over(stale)
        return original(source, target, **options)

    monkeypatch.setattr(stale, "copy", copy)
    publish_session(stale, record, NOON)
    _assert_version_3(store)


def test_a_session_that_was_taken_out_while_its_names_were_written_has_none(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = _stale_process(store)
    record = derive_tables(stale, _R1, "v2", laps=2)
    original = stale.copy

    def copy(source: str, target: str, **options: ObjectInfo | None) -> ObjectInfo:
        if _R1 in _current(store).keys:
            publish(store, {_R1: Change(None)}, NOON, "forgotten")
        return original(source, target, **options)

    monkeypatch.setattr(stale, "copy", copy)
    publish_session(stale, record, NOON)
    assert _current(store).keys == ()
    assert not list(store.list("tables/"))


def test_the_lease_is_required_before_anything_is_published_and_before_the_list_is_removed(store: LocalStore) -> None:
    record = derive_tables(store, _R1, "v1")

    def refuse() -> None:
        raise LeaseLostError("This process no longer holds spa/R1.", "Run it again.")

    with pytest.raises(LeaseLostError):
        publish_session(store, record, NOON, refuse)
    assert read_current(store) is None
    asked: list[bool] = []

    def refuse_at_the_third_time() -> None:
        asked.append(True)
        if len(asked) == 3:
            refuse()

    with pytest.raises(LeaseLostError):
        publish_session(store, record, NOON, refuse_at_the_third_time)
    assert store.head(derived_key(str(_R1))) is not None
    publish_session(store, record, NOON)
    assert store.head(derived_key(str(_R1))) is None
