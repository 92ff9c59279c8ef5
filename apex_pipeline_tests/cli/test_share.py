"""``apex share``: a link anyone can open until it expires."""

import json
import re
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from apex_pipeline_tests.cli.conftest import Apex
from apex_pipeline_tests.servers.presigning import signed_ago
from apex_pipeline_tests.servers.seaweed import S3Bucket

_RAW = "harbor_street_circuit/R1_harbor_lap_end.csv"
_FORBIDDEN = 403


def _get(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=60) as reply:  # noqa: S310  -- the test's own server
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, b""


@pytest.mark.req("A-099")
@pytest.mark.req("A-137")
def test_a_shared_url_works_until_it_expires(bucket_lake: S3Bucket, synced: Path, apex: Apex) -> None:
    result = apex("share", _RAW, "--expires", "600")
    assert _get(result.out.strip()) == (200, (synced / "lake" / "data" / _RAW).read_bytes())
    with signed_ago(timedelta(seconds=602)):  # servers count in whole seconds
        expired = apex("share", _RAW, "--expires", "600").out.strip()
    assert _get(expired)[0] == _FORBIDDEN
    assert result.out.count("\n") == 1
    assert f"data/{_RAW}, until 20" in " ".join(result.error.split())


@pytest.mark.req("A-099")
def test_a_url_without_its_signature_is_forbidden(bucket_lake: S3Bucket, apex: Apex) -> None:
    url = apex("share", f"data/{_RAW}").out.strip()
    assert _get(url.partition("?")[0])[0] == _FORBIDDEN


def test_share_json_describes_the_url_of_a_session_table(bucket_lake: S3Bucket, apex: Apex) -> None:
    facts = json.loads(apex("share", "harbor_street_circuit/R1/laps", "--json").out)
    assert re.fullmatch(r"objects/[0-9a-f]{64}\.parquet", facts["key"])
    assert (facts["expires_s"], facts["is_public"]) == (3600, False)
    end = datetime.fromisoformat(facts["expires_utc"])
    assert timedelta(minutes=58) < end - datetime.now(UTC) < timedelta(minutes=61)
    assert bucket_lake.server.secret_access_key not in facts["url"]
    status, content = _get(facts["url"])
    assert (status, content[:4]) == (200, b"PAR1")


@pytest.mark.req("A-135")
def test_share_public_prints_the_url_at_public_base_url(
    bucket_lake: S3Bucket, apex: Apex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUBLIC_BASE_URL", "https://cdn.example.com/races")
    monkeypatch.setenv("APEX_LAKE_PREFIX", "public/season")
    bucket_lake.client.put_object(Bucket=bucket_lake.name, Key=f"public/season/data/{_RAW}", Body=b"lap")
    result = apex("share", _RAW, "--public")
    assert result.out == f"https://cdn.example.com/races/public/season/data/{_RAW}\n"
    assert "for as long as the bucket's policy makes it public" in " ".join(result.error.split())
    assert json.loads(apex("share", _RAW, "--public", "--json").out) == {
        "key": f"data/{_RAW}",
        "is_public": True,
        "url": f"https://cdn.example.com/races/public/season/data/{_RAW}",
    }


@pytest.mark.req("A-135")
def test_share_public_gives_no_address_that_the_shipped_policies_keep_private(
    bucket_lake: S3Bucket, apex: Apex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUBLIC_BASE_URL", "https://cdn.example.com/races")
    result = apex("share", "harbor_street_circuit/R1/laps", "--public")
    assert (result.code, result.out) == (2, "")
    assert "only what is below public/ in the bucket is" in " ".join(result.error.split())


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("nothing.csv",), "has no object nothing.csv"),
        ((_RAW, "--public"), "PUBLIC_BASE_URL is not set"),
        ((_RAW, "--expires", "0"), "cannot be shared for 0 s"),
        ((_RAW, "--expires", "604801"), "cannot be shared for 604801 s"),
    ],
)
def test_an_object_that_cannot_be_shared_is_an_error_with_a_next_step(
    bucket_lake: S3Bucket, apex: Apex, words: tuple[str, ...], problem: str
) -> None:
    result = apex("share", *words)
    assert (result.code, result.out) == (2, "")
    assert problem in " ".join(result.error.split())
    assert "Next step:" in " ".join(result.error.split())


@pytest.mark.parametrize("words", [(_RAW,), (_RAW, "--public")])
def test_a_local_lake_cannot_be_shared(
    demo_dir: Path, apex: Apex, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("PUBLIC_BASE_URL", "https://cdn.example.com")
    result = apex("share", *words)
    assert (result.code, result.out) == (2, "")
    assert "is a file on this machine" in " ".join(result.error.split())
    assert "USE_S3_DATA=true" in " ".join(result.error.split())
