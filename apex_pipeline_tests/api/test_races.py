"""The HTTP interface of races on a laptop: uploads, errors, and what the routes answer while nothing is processed."""

import base64
import json
import uuid

import httpx
import pytest

from apex_pipeline_tests.races_service.conftest import two_laps


def _upload(api: httpx.Client, blob: bytes) -> httpx.Response:
    return api.post("/race/upload", json={"data": base64.b64encode(blob).decode()})


@pytest.mark.parametrize(
    ("body", "error_class"),
    [
        (b"", "malformed upload"),
        (b"{}", "malformed upload"),
        (b'{"data": null}', "malformed upload"),
        (b'{"data": 7}', "malformed upload"),
        (b'{"data": "!!!!"}', "not base64"),
        (b'{"data": "abc"}', "not base64"),
        (b'{"data": ""}', "empty"),
    ],
)
def test_a_bad_upload_is_refused_with_class_message_and_remedy(
    api: httpx.Client, body: bytes, error_class: str
) -> None:
    answer = api.post("/race/upload", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert list(answer.json()) == ["error_class", "message", "remedy"]
    assert answer.json()["error_class"] == error_class
    assert api.get("/race/list_ids").json() == []


def test_an_upload_that_is_too_large_is_refused(api: httpx.Client) -> None:
    announced = _upload(api, bytes(3_000_000))
    assert (announced.status_code, announced.json()["error_class"]) == (413, "too large")
    blocks = (bytes(100_000) for _ in range(40))
    streamed = api.post("/race/upload", content=blocks, headers={"Content-Type": "application/octet-stream"})
    assert streamed.status_code == 413


def test_unknown_and_malformed_ids(api: httpx.Client) -> None:
    unknown = uuid.uuid4()
    for path in ("status", "laps", "laps/1", "download", "download/raw", "compare/1/2", "fuel/1", "fuel/compare/1/2"):
        assert api.get(f"/race/{unknown}/{path}").status_code == 404, path
        assert api.get(f"/race/no-uuid/{path}").status_code == 422, path
    assert api.delete(f"/race/{unknown}").status_code == 204
    assert api.get("/nowhere").json()["error_class"] == "invalid request"


def test_a_page_of_another_site_is_refused(api: httpx.Client) -> None:
    assert api.get("/race/list_ids", headers={"Origin": "https://example.org"}).status_code == 403
    assert api.get("/race/list_ids", headers={"Host": "example.org"}).status_code == 403


def test_the_documentation_lists_the_routes(api: httpx.Client) -> None:
    assert api.get("/docs").status_code == 200
    paths = api.get("/openapi.json").json()["paths"]
    assert {"/race/upload", "/race/{race_id}/status", "/race/list_ids"} <= set(paths)


def test_health_and_readiness(api: httpx.Client) -> None:
    assert api.get("/health").json() == {"status": "ok"}
    assert api.get("/ready").json()["status"] == "ready"


def test_all_three_forms_of_an_upload_are_the_same_race(api: httpx.Client) -> None:
    blob = two_laps(2)
    first = _upload(api, blob)
    assert first.status_code == 200, first.text
    assert list(first.json()) == ["race_id", "status", "job_id", "message"]
    assert first.json()["message"] == "Race data uploaded successfully. Processing in background."
    race = first.json()["race_id"]
    stream = api.post("/race/upload", content=blob, headers={"Content-Type": "application/octet-stream"})
    form = api.post("/race/upload", files={"data": blob})
    assert [answer.json().get("duplicate_of", answer.text) for answer in (stream, form)] == [race, race]
    assert api.get(f"/race/{race}/download/raw").content == blob
    keys = list(json.loads(api.get(f"/race/{race}/status").text))
    assert keys[:6] == ["race_id", "status", "created_at", "updated_at", "raw_data_path", "laps_count"]
    assert api.delete(f"/race/{race}").status_code == 204
    assert api.get(f"/race/{race}/status").status_code == 404
