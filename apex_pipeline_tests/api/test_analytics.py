"""What an application asks a deployment first, over HTTP."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Router

from apex_pipeline.api.analytics import analytics_routes
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline_tests.ingest.lake_in_step import lap_csv
from apex_pipeline_tests.servers.asgi import running_asgi
from apex_pipeline_tests.servers.s3_server import S3Bucket

_FILES = {
    "barber/R1_barber_lap_start.csv": lap_csv("R1"),
    "barber/R2_barber_lap_start.csv": lap_csv("R2"),
    "sonoma/R1_sonoma_lap_start.csv": lap_csv("R1", lap=2),
}


def _ask(settings: Settings, path: str) -> tuple[int, Any]:
    with running_asgi(Router(analytics_routes(settings))) as port:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)


@pytest.fixture(params=["folder", "s3"])
def settings(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    if request.param == "folder":
        for path, content in _FILES.items():
            (tmp_path / "data" / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "data" / path).write_text(content)
        yield load_settings(lake_dir=tmp_path, state_dir=tmp_path / "state")
        return
    bucket: S3Bucket = request.getfixturevalue("s3_bucket")
    for name, value in bucket.environment.items():
        monkeypatch.setenv(name, value)
    for path, content in _FILES.items():
        bucket.client.put_object(Bucket=bucket.name, Key=f"data/{path}", Body=content.encode())
    yield load_settings(state_dir=tmp_path / "state")


@pytest.mark.req("A-117")
def test_the_tracks_and_sessions_are_those_of_the_loader(settings: Settings) -> None:
    status, tracks = _ask(settings, "/api/analytics/tracks")
    assert (status, len(tracks)) == (200, 2)
    assert [name.split("_")[0] for name in tracks] == ["barber", "sonoma"]
    assert _ask(settings, f"/api/analytics/track/{tracks[0]}/sessions") == (200, ["R1", "R2"])


def test_a_store_that_does_not_answer_is_an_error_and_not_an_empty_list(tmp_path: Path) -> None:
    settings = load_settings(
        use_s3_data=True,
        s3_endpoint_url="http://127.0.0.1:1",
        aws_access_key_id="key",
        aws_secret_access_key="never-shown",  # noqa: S106  -- of this test
        state_dir=tmp_path,
        bucket="no-such-bucket",
    )
    status, answer = _ask(settings, "/api/analytics/tracks")
    assert status == 503
    assert answer.keys() == {"error"}
    assert "never-shown" not in answer["error"]
