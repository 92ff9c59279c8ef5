"""A lake's numbers as Prometheus reads them: the text format 0.0.4, written by hand because that is all it takes.

Here belong the names of the metrics, which dashboards and alarms rely on, and the format.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field

from apex_pipeline.ops.metrics import LakeMetrics, SessionMetrics


@dataclass(frozen=True)
class Sample:
    """One value with its labels."""

    value: float
    labels: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Metric:
    """A name with its meaning and all its values; every one is a gauge, because a new sync may lower it."""

    name: str
    meaning: str
    samples: tuple[Sample, ...]


def exposition(lake: LakeMetrics) -> str:
    """Return the metrics of a lake in Prometheus' text format."""
    return "".join(line + "\n" for metric in _metrics(lake) for line in _lines(metric))


def _metrics(lake: LakeMetrics) -> Iterator[Metric]:
    def per_session(name: str, meaning: str, values: Iterable[float | None]) -> Metric:
        pairs = zip(lake.sessions, values, strict=True)
        return Metric(name, meaning, tuple(Sample(value, _labels(one)) for one, value in pairs if value is not None))

    def single(name: str, meaning: str, value: float) -> Metric:
        return Metric(name, meaning, (Sample(value),))

    sessions, traffic = lake.sessions, lake.traffic
    yield single("apex_sessions", "Published sessions.", len(sessions))
    yield single("apex_published_timestamp_seconds", "Time of the last publication.", lake.published_utc.timestamp())
    by_status = tuple(Sample(number, {"status": status}) for status, number in lake.files.items())
    yield Metric("apex_files", "Raw files by status.", by_status)
    yield single("apex_raw_bytes", "Size of the raw files in the lake.", lake.raw_bytes)
    yield per_session("apex_table_bytes", "Size of the published tables.", (one.table_bytes for one in sessions))
    yield per_session("apex_laps", "Published laps.", (one.laps for one in sessions))
    yield per_session("apex_telemetry_rows", "Published telemetry rows.", (one.telemetry_rows for one in sessions))
    yield per_session("apex_rejected_rows", "Raw rows listed as rejected.", (one.rejected_rows for one in sessions))
    yield per_session("apex_quality_score", "Overall quality, 0 to 100.", (one.quality for one in sessions))
    yield _readings(sessions)
    yield single("apex_look_requests", "Requests sent for these figures.", traffic.requests)
    yield single("apex_look_request_errors", "Those of them that failed.", traffic.errors)
    yield single("apex_look_request_average_seconds", "Mean time to an answer.", traffic.average_ms / 1000)


def _readings(sessions: Iterable[SessionMetrics]) -> Metric:
    samples = [
        Sample(number, {**_labels(one), "outcome": name})
        for one in sessions
        if one.readings is not None
        for name, number in asdict(one.readings).items()
    ]
    return Metric("apex_readings", "Telemetry readings: in, and what became of them.", tuple(samples))


def _labels(session: SessionMetrics) -> dict[str, str]:
    return {"track": session.track, "session": session.session}


def _lines(metric: Metric) -> Iterator[str]:
    yield f"# HELP {metric.name} {metric.meaning}"
    yield f"# TYPE {metric.name} gauge"
    for sample in metric.samples:
        labels = ",".join(f'{name}="{_escape(value)}"' for name, value in sample.labels.items())
        yield f"{metric.name}{{{labels}}} {sample.value}" if labels else f"{metric.name} {sample.value}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


__all__ = ["Metric", "Sample", "exposition"]
