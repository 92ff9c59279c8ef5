"""Who may ask: programs on this machine, or whoever has the token; pages of listed web sites only."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from apex_pipeline_tests.api.lake.conftest import API, serving


@pytest.fixture(scope="module")
def with_token(derived_lake: Path) -> Iterator[httpx.Client]:
    with serving(derived_lake / "lake", api_token="secret", api_origins="https://app.example") as client:  # noqa: S106  -- of this test
        yield client


def test_without_a_token_only_this_machine_is_answered(weekend: httpx.Client) -> None:
    assert weekend.get(f"{API}/snapshot").status_code == 200
    answer = weekend.get(f"{API}/snapshot", headers={"Host": "races.example"})
    assert (answer.status_code, answer.headers["content-type"]) == (403, "application/problem+json")
    assert "APEX_API_TOKEN" in answer.json()["hint"]


def test_with_a_token_everything_but_health_needs_it(with_token: httpx.Client) -> None:
    for path in (f"{API}/snapshot", "/metrics", "/openapi.json", "/api/analytics/tracks"):
        answer = with_token.get(path)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert with_token.get(path, headers={"Authorization": "Bearer secret"}).status_code == 200
    for path in ("/healthz", "/readyz", "/health"):
        assert with_token.get(path).status_code == 200
    assert with_token.get(f"{API}/snapshot", headers={"Authorization": "Bearer Secret"}).status_code == 401


def test_pages_of_other_web_sites_are_refused_unless_they_are_listed(
    weekend: httpx.Client, with_token: httpx.Client
) -> None:
    other = {"Origin": "https://other.example"}
    assert weekend.get(f"{API}/snapshot", headers=other).status_code == 403
    assert "access-control-allow-origin" not in weekend.options(f"{API}/snapshot", headers=other).headers
    listed = {"Origin": "https://app.example", "Authorization": "Bearer secret"}
    answer = with_token.get(f"{API}/snapshot", headers=listed)
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert "Apex-Next" in answer.headers["access-control-expose-headers"]
    assert with_token.get(f"{API}/snapshot", headers={**listed, **other}).status_code == 403
