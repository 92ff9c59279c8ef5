"""Tests that published tables are readable, whether still current or in the history."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from apex_pipeline.errors import ObjectMissingError
from apex_pipeline.lake.snapshot import SessionRecord, publish
from apex_pipeline.lake.tables import read_published, require_session, require_snapshot, session_table
from apex_pipeline.storage.layout import history_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables import CARS, LAPS
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.lake.tables import put_catalog, put_session, sessions_table

_R1 = SessionKey("spa", "R1")


def _published(store: LocalStore) -> SessionRecord:
    put_session(store, _R1, "v1", laps=3)
    sessions = sessions_table({_R1: "v1"})
    put_catalog(store, sessions)
    publish(store, sessions, datetime(2026, 11, 21, 12, tzinfo=UTC))
    return require_session(require_snapshot(store), _R1)


def test_a_published_table_is_read_completely(store: LocalStore) -> None:
    table = session_table(store, _published(store), LAPS)
    assert (table.num_rows, LAPS.violations(table)) == (3, [])


def test_a_replaced_table_is_read_from_the_history(store: LocalStore) -> None:
    record = _published(store).tables["laps"]
    store.copy(record.key, history_key(record.sha256))
    put_session(store, _R1, "v2", laps=5, only=["laps"])
    assert read_published(store, record).num_rows == 3


@pytest.mark.parametrize("is_replaced", [True, False])
def test_a_table_that_is_no_longer_in_the_lake_raises(store: LocalStore, *, is_replaced: bool) -> None:
    record = _published(store).tables["laps"]
    if is_replaced:
        put_session(store, _R1, "v2", laps=5, only=["laps"])
    else:
        store.delete(record.key)
    with pytest.raises(ObjectMissingError, match=r"laps\.parquet is not the published file.*Run a sync"):
        read_published(store, record)


def test_a_session_published_without_the_table_raises(store: LocalStore) -> None:
    session = _published(store)
    older = replace(session, tables={name: record for name, record in session.tables.items() if name != "cars"})
    with pytest.raises(ObjectMissingError, match=r"spa/R1 was published without the table cars\. Run a sync"):
        session_table(store, older, CARS)


def test_an_empty_lake_raises(store: LocalStore) -> None:
    with pytest.raises(ObjectMissingError, match=r"Nothing is published .*apex sync"):
        require_snapshot(store)


def test_the_error_for_an_unpublished_session_lists_the_published_ones(store: LocalStore) -> None:
    _published(store)
    with pytest.raises(ObjectMissingError, match=r"spa/R2 is not published\. Published sessions: spa/R1"):
        require_session(require_snapshot(store), SessionKey("spa", "R2"))


def test_the_error_lists_none_if_no_session_is_published(store: LocalStore) -> None:
    put_catalog(store, sessions_table({}))
    snapshot = publish(store, sessions_table({}), datetime(2026, 11, 21, 12, tzinfo=UTC))
    with pytest.raises(ObjectMissingError, match=r"Published sessions: none"):
        require_session(snapshot, _R1)
