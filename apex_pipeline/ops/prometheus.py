"""Formats a lake's metrics as Prometheus text; see metrics.py for how they are computed.

The names and labels are an interface: dashboards and alerts rely on them. Every metric is a gauge, because the next
sync may lower it. ``prometheus_client`` writes the format; no server is started and its process metrics are omitted.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from apex_pipeline.ops.metrics import LakeMetrics, SessionMetrics

_SESSION_LABELS = ("track", "session")


def prometheus_text(lake: LakeMetrics) -> str:
    """Return the metrics of a lake in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_LakeCollector(lake))
    return generate_latest(registry).decode()


class _LakeCollector(Collector):
    """Yields metrics that were computed before."""

    def __init__(self, lake: LakeMetrics) -> None:
        self._lake = lake

    def collect(self) -> Iterator[Metric]:
        lake, requests = self._lake, self._lake.traffic
        published = lake.published_utc.timestamp()
        yield GaugeMetricFamily("apex_sessions", "Published sessions.", len(lake.sessions))
        yield GaugeMetricFamily("apex_published_timestamp_seconds", "Time of the last publication.", published)
        yield self._files()
        yield GaugeMetricFamily("apex_raw_bytes", "Size of the raw files in the lake.", lake.raw_bytes)
        yield self._per_session("apex_table_bytes", "Size of the published tables.", lambda one: one.table_bytes)
        yield self._per_session("apex_laps", "Published laps.", lambda one: one.laps)
        yield self._per_session("apex_telemetry_rows", "Published telemetry rows.", lambda one: one.telemetry_rows)
        yield self._per_session("apex_rejected_rows", "Raw rows listed as rejected.", lambda one: one.rejected_rows)
        yield self._per_session("apex_quality_score", "Overall quality, 0 to 100.", lambda one: one.quality)
        yield self._readings()
        yield GaugeMetricFamily("apex_look_requests", "Requests sent for these figures.", requests.requests)
        yield GaugeMetricFamily("apex_look_request_errors", "Those of them that failed.", requests.errors)
        average_s = requests.average_ms / 1000
        yield GaugeMetricFamily("apex_look_request_average_seconds", "Mean time to an answer.", average_s)

    def _files(self) -> Metric:
        family = GaugeMetricFamily("apex_files", "Raw files by status.", labels=["status"])
        for status, number in self._lake.files.items():
            family.add_metric([status], number)
        return family

    def _per_session(self, name: str, help_text: str, value_of: Callable[[SessionMetrics], float | None]) -> Metric:
        """Return a metric with one value per session; sessions without a value are omitted."""
        family = GaugeMetricFamily(name, help_text, labels=_SESSION_LABELS)
        for one in self._lake.sessions:
            value = value_of(one)
            if value is not None:
                family.add_metric([one.track, one.session], value)
        return family

    def _readings(self) -> Metric:
        help_text = "Telemetry readings: in, and what became of them."
        family = GaugeMetricFamily("apex_readings", help_text, labels=(*_SESSION_LABELS, "outcome"))
        for one in self._lake.sessions:
            if one.readings is not None:
                for outcome, number in asdict(one.readings).items():
                    family.add_metric([one.track, one.session, outcome], number)
        return family
