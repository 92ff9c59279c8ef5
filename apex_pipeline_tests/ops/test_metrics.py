"""Metrics of a snapshot with missing tables."""

from datetime import UTC, datetime

import pytest

from apex_pipeline.lake.snapshot import publish
from apex_pipeline.ops.metrics import measure_lake
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.lake.tables import put_catalog, put_session, sessions_table

_NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.req("A-090")
def test_a_session_without_counts_or_scores_has_its_other_metrics(store: LocalStore) -> None:
    key = SessionKey("spa", "R1")
    put_session(store, key, "v1", laps=3)
    sessions = sessions_table({key: "v1"})
    put_catalog(store, sessions)
    lake = measure_lake(store, publish(store, sessions, _NOON))
    (session,) = lake.sessions
    assert (session.laps, session.telemetry_rows, session.rejected_rows) == (3, 0, 0)
    assert (session.readings, session.quality) == (None, None)
    assert session.table_bytes == sum(item.size for item in store.list("tables/"))
    assert (lake.published_utc, lake.lake) == (_NOON, store.uri)
