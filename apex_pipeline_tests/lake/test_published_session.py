"""Tests of the published record of one session and of its entry in a shard."""

import pytest

from apex_pipeline.errors import StoreCorruptionError
from apex_pipeline.lake.published_session import PublishedSession, SessionEntry, read_published_session
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.lake.tables import publish_tables

_R1 = SessionKey("spa", "R1")


def _published(store: LocalStore) -> tuple[PublishedSession, SessionEntry]:
    published = publish_tables(store, _R1)
    session, entry = published.session(_R1), published.entry(_R1)
    assert session is not None
    assert entry is not None
    return session, entry


def test_a_published_session_has_its_raw_files(store: LocalStore) -> None:
    record, _ = _published(store)
    assert [file.path for file in record.files] == ["spa/R1_lap_start.csv"]


def test_an_entry_names_the_tables_in_the_order_of_their_names(store: LocalStore) -> None:
    session, entry = _published(store)
    assert list(entry.objects) == [session.tables[name].sha256[:12] for name in sorted(session.tables)]
    assert (entry.inputs_version, entry.rolled_back_from) == ("v1", None)


def test_the_rows_of_an_entry_are_those_of_all_its_tables(store: LocalStore) -> None:
    session, entry = _published(store)
    assert entry.rows == sum(table.rows for table in session.tables.values()) > 0


def test_a_record_is_read_by_its_digest(store: LocalStore) -> None:
    session, entry = _published(store)
    assert read_published_session(store, entry.record, str(_R1)) == session


def test_the_record_of_another_session_is_refused_although_its_digest_is_right(store: LocalStore) -> None:
    _, entry = _published(store)
    with pytest.raises(StoreCorruptionError, match="is the record of spa/R1, not of spa/R2"):
        read_published_session(store, entry.record, "spa/R2")
