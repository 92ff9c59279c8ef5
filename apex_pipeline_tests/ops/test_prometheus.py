"""Metrics in Prometheus' text format, parsed with the client library."""

from datetime import UTC, datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families

from apex_pipeline.ops.metrics import LakeMetrics, Readings, SessionMetrics
from apex_pipeline.ops.prometheus import prometheus_text
from apex_pipeline.storage.request_stats import RequestStats

pytestmark = pytest.mark.req("A-090")

_NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
_ODD = 'a"b\\c\nd'
_NAMES = [
    "apex_sessions",
    "apex_published_timestamp_seconds",
    "apex_files",
    "apex_raw_bytes",
    "apex_table_bytes",
    "apex_laps",
    "apex_telemetry_rows",
    "apex_rejected_rows",
    "apex_quality_score",
    "apex_readings",
    "apex_look_requests",
    "apex_look_request_errors",
    "apex_look_request_average_seconds",
]


def _text(one: SessionMetrics) -> str:
    return prometheus_text(LakeMetrics("lake", "s", _NOON, {"ready": 3}, 123_456_789, (one,), RequestStats(4, 1, 0.2)))


def _samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families(text)
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


def test_unknown_values_are_omitted_and_special_characters_are_escaped() -> None:
    text = _text(SessionMetrics(_ODD, "R1", 2, 0, None, 0, 10, None))
    assert 'apex_laps{session="R1",track="a\\"b\\\\c\\nd"} 2.0\n' in text
    assert _samples(text)["apex_laps", frozenset({("track", _ODD), ("session", "R1")})] == 2
    assert "apex_quality_score{" not in text
    assert "apex_readings{" not in text
    assert "# TYPE apex_readings gauge\n" in text
    assert "apex_look_request_average_seconds 0.05\n" in text


def test_large_numbers_keep_every_digit() -> None:
    samples = _samples(_text(SessionMetrics("spa", "R1", 2, 2_345_678_901, Readings(9, 4, 3, 2), 0, 10, 87.25)))
    where = {("track", "spa"), ("session", "R1")}
    assert samples["apex_raw_bytes", frozenset()] == 123_456_789
    assert samples["apex_published_timestamp_seconds", frozenset()] == _NOON.timestamp()
    assert samples["apex_telemetry_rows", frozenset(where)] == 2_345_678_901
    assert samples["apex_quality_score", frozenset(where)] == 87.25
    assert samples["apex_readings", frozenset({*where, ("outcome", "rejected")})] == 2


def test_metric_names_are_stable_and_every_metric_is_a_gauge() -> None:
    text = _text(SessionMetrics("spa", "R1", 2, 0, None, 0, 10, None))
    assert [line.split()[2:] for line in text.splitlines() if line.startswith("# TYPE")] == [
        [name, "gauge"] for name in _NAMES
    ]
