"""Metrics of a snapshot with missing tables."""

import pytest

from apex_pipeline.ops.metrics import measure_lake
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.lake.tables import NOON, publish_tables


@pytest.mark.req("A-090")
def test_a_session_without_counts_or_scores_has_its_other_metrics(store: LocalStore) -> None:
    lake = measure_lake(store, publish_tables(store, SessionKey("spa", "R1"), laps=3))
    (session,) = lake.sessions
    assert (session.laps, session.telemetry_rows, session.rejected_rows) == (3, 0, 0)
    assert (session.readings, session.quality) == (None, None)
    assert session.table_bytes == sum(item.size for item in store.list("tables/"))
    assert (lake.published_utc, lake.lake) == (NOON, store.uri)
