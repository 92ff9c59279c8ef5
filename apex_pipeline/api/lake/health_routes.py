"""Answers whether the service lives and whether it can answer, and counts what it did for Prometheus."""

import time
from collections.abc import Iterator
from typing import Any, Final

from fastapi import APIRouter
from prometheus_client import CollectorRegistry, Counter, Histogram, Metric, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from apex_pipeline.api.lake.documented import problems
from apex_pipeline.api.lake.encoding import json_document
from apex_pipeline.api.lake.service import LakeService

router = APIRouter(tags=["health"])

# From an answer that is kept to one that reads a season over S3.
_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
_OBJECT: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "It does.", "content": {"application/json": {"schema": {"type": "object"}}}}
}


@router.get("/healthz", response_model=None, responses=_OBJECT)
async def healthz() -> Response:
    """Answer that the process lives."""
    return Response(json_document({"status": "ok"}), media_type="application/json")


@router.get("/readyz", response_model=None, responses={**_OBJECT, **problems(503)})
async def readyz(request: Request) -> Response:
    """Answer whether the lake can be read, and which snapshot is served."""
    service: LakeService = request.app.state.lake
    catalog = await service.lake.current()
    if service.lake.failure is not None:
        raise service.lake.failure
    document = {"status": "ready", "lake": catalog.uri, "snapshot": catalog.snapshot.id}
    return Response(json_document(document), media_type="application/json")


@router.get(
    "/metrics",
    response_model=None,
    responses={200: {"description": "The metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request) -> Response:
    """Return the metrics of this process in Prometheus' text format."""
    found: ServiceMetrics = request.app.state.metrics
    return Response(found.text(), headers={"Content-Type": _TEXT})


class ServiceMetrics:
    """The metrics of one process.

    Args:
        service: What is counted.
    """

    def __init__(self, service: LakeService) -> None:
        self._registry = CollectorRegistry()
        # Memory, processor time and open files, under the usual names.
        ProcessCollector(registry=self._registry)
        self._registry.register(_Present(service))
        self._requests = Counter(
            "apex_http_requests", "Requests answered.", ("route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "apex_http_request_seconds", "Time to the end of the answer.", buckets=_BUCKETS, registry=self._registry
        )

    def count(self, route: str, status: int, seconds: float) -> None:
        """Count one answer.

        Args:
            route: Name of its route.
            status: Its status.
            seconds: How long it took.
        """
        self._requests.labels(route, str(status)).inc()
        self._seconds.observe(seconds)

    def text(self) -> bytes:
        """Return all metrics."""
        return generate_latest(self._registry)


class _Present(Collector):
    """Yields what is asked for when it is asked for."""

    def __init__(self, service: LakeService) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        kept, lake = self._service.kept, self._service.lake
        counts = kept.counts
        answers = CounterMetricFamily("apex_http_answers", "Answers by where they came from.", labels=["from"])
        for name, number in (("kept", counts.hits), ("made", counts.made), ("shared", counts.shared)):
            answers.add_metric([name], number)
        yield answers
        yield CounterMetricFamily("apex_http_answers_dropped", "Kept answers dropped for room.", counts.dropped)
        yield GaugeMetricFamily("apex_http_kept_bytes", "Size of the kept answers.", kept.size)
        yield GaugeMetricFamily("apex_lake_looked_seconds", "Time since the last look at the lake.", lake.looked_s)
        failed = float(lake.failure is not None)
        yield GaugeMetricFamily("apex_lake_unreadable", "1 if the last look at the lake failed.", failed)
        uptime_s = time.monotonic() - self._service.started_s
        yield GaugeMetricFamily("apex_http_uptime_seconds", "Time since the start.", uptime_s)
