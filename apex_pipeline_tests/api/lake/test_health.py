"""Health and metrics."""

import httpx
from prometheus_client.parser import text_string_to_metric_families

from apex_pipeline_tests.api.lake.conftest import API


def _metric(client: httpx.Client, name: str, **labels: str) -> float:
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return sample.value
    return 0.0


def test_the_service_lives_and_is_ready(weekend: httpx.Client) -> None:
    assert weekend.get("/healthz").json() == {"status": "ok"}
    ready = weekend.get("/readyz").json()
    assert ready["snapshot"] == weekend.get(f"{API}/snapshot").json()["id"]


def test_answers_are_counted_by_route_and_by_where_they_came_from(weekend: httpx.Client) -> None:
    route = "session_routes.laps"
    before = _metric(weekend, "apex_http_requests_total", route=route, status="200")
    kept = _metric(weekend, "apex_http_answers_total", **{"from": "kept"})
    for _ in range(3):
        weekend.get(f"{API}/sessions/harbor/R2/laps?columns=lap_number")
    assert _metric(weekend, "apex_http_requests_total", route=route, status="200") == before + 3
    assert _metric(weekend, "apex_http_answers_total", **{"from": "kept"}) >= kept + 2
    assert _metric(weekend, "apex_http_kept_bytes") > 0
    assert _metric(weekend, "process_resident_memory_bytes") > 10_000_000
    assert _metric(weekend, "apex_lake_unreadable") == 0


def test_addresses_that_do_not_exist_are_counted_as_one(weekend: httpx.Client) -> None:
    for number in range(3):
        weekend.get(f"/no/such/{number}")
    assert _metric(weekend, "apex_http_requests_total", route="none", status="404") >= 3
