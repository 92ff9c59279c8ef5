"""Counting what is published, and writing it for Prometheus, where something is missing or odd."""

from datetime import UTC, datetime

import pytest

from apex_pipeline.lake.snapshot import publish
from apex_pipeline.ops.metrics import LakeMetrics, SessionMetrics, measure_lake
from apex_pipeline.ops.prometheus import exposition
from apex_pipeline.session_key import SessionKey
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.storage.traffic import Traffic
from apex_pipeline_tests.lake.tables import put_catalog, put_session, sessions_table

_NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.req("A-090")
def test_a_session_without_counts_or_scores_has_its_other_numbers(store: LocalStore) -> None:
    key = SessionKey("spa", "R1")
    put_session(store, key, "v1", laps=3)
    sessions = sessions_table({key: "v1"})
    put_catalog(store, sessions)
    lake = measure_lake(store, publish(store, sessions, _NOON))
    (one,) = lake.sessions
    assert (one.laps, one.telemetry_rows, one.rejected_rows) == (3, 0, 0)
    assert (one.readings, one.quality) == (None, None)
    assert one.table_bytes == sum(item.size for item in store.list("tables/"))
    assert (lake.published_utc, lake.lake) == (_NOON, store.uri)


@pytest.mark.req("A-090")
def test_what_is_not_known_is_left_out_and_odd_names_are_escaped() -> None:
    one = SessionMetrics('a"b\\c\nd', "R1", 2, 0, None, 0, 10, None)
    text = exposition(LakeMetrics("lake", "s", _NOON, {}, 0, (one,), Traffic(4, 1, 0.2)))
    assert 'apex_laps{track="a\\"b\\\\c\\nd",session="R1"} 2\n' in text
    assert "apex_quality_score{" not in text
    assert "apex_readings{" not in text
    assert "# TYPE apex_readings gauge\n" in text
    assert "apex_look_request_average_seconds 0.05\n" in text
