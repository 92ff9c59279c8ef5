"""``apex share``: an address that anyone can read for a time, and nobody after it."""

import json
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


def _status(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=60) as reply:  # noqa: S310  -- the test's own server
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, b""


@pytest.mark.req("A-099")
@pytest.mark.req("A-137")
def test_an_address_can_be_read_at_once_and_not_after_its_time(bucket_lake: S3Bucket, synced: Path, apex: Apex) -> None:
    said = apex("share", _RAW, "--expires", "600")
    assert _status(said.out.strip()) == (200, (synced / "lake" / "data" / _RAW).read_bytes())
    with signed_ago(timedelta(seconds=602)):  # servers count in whole seconds
        late = apex("share", _RAW, "--expires", "600").out.strip()
    assert _status(late)[0] == _FORBIDDEN
    assert said.out.count("\n") == 1
    assert f"data/{_RAW}, until 20" in said.error


@pytest.mark.req("A-099")
def test_without_the_signature_nobody_reads_anything(bucket_lake: S3Bucket, apex: Apex) -> None:
    url = apex("share", f"data/{_RAW}").out.strip()
    assert _status(url.partition("?")[0])[0] == _FORBIDDEN


def test_a_table_of_a_session_is_shared_as_one_json_document(bucket_lake: S3Bucket, apex: Apex) -> None:
    facts = json.loads(apex("share", "harbor_street_circuit/R1/laps", "--json").out)
    assert facts["key"] == "tables/laps/track=harbor_street_circuit/session=R1/laps.parquet"
    assert (facts["expires_s"], facts["is_public"]) == (3600, False)
    end = datetime.fromisoformat(facts["expires_utc"])
    assert timedelta(minutes=58) < end - datetime.now(UTC) < timedelta(minutes=61)
    assert bucket_lake.server.secret_access_key not in facts["url"]
    status, content = _status(facts["url"])
    assert (status, content[:4]) == (200, b"PAR1")


@pytest.mark.req("A-135")
def test_the_public_address_is_given_where_one_is_set(
    bucket_lake: S3Bucket, apex: Apex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUBLIC_BASE_URL", "https://cdn.example.com/races")
    said = apex("share", _RAW, "--public")
    assert said.out == f"https://cdn.example.com/races/data/{_RAW}\n"
    assert "for as long as the bucket's policy makes it public" in said.error
    assert json.loads(apex("share", _RAW, "--public", "--json").out) == {
        "key": f"data/{_RAW}",
        "is_public": True,
        "url": f"https://cdn.example.com/races/data/{_RAW}",
    }


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("nothing.csv",), "has no object nothing.csv"),
        ((_RAW, "--public"), "PUBLIC_BASE_URL is not set"),
        ((_RAW, "--expires", "0"), "cannot be shared for 0 s"),
        ((_RAW, "--expires", "604801"), "cannot be shared for 604801 s"),
    ],
)
def test_what_cannot_be_shared_is_told_with_the_next_step(
    bucket_lake: S3Bucket, apex: Apex, words: tuple[str, ...], problem: str
) -> None:
    said = apex("share", *words)
    assert (said.code, said.out) == (2, "")
    assert problem in said.error
    assert "Next step:" in said.error


@pytest.mark.parametrize("words", [(_RAW,), (_RAW, "--public")])
def test_a_lake_on_this_machine_has_nothing_to_share(
    here: Path, apex: Apex, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("PUBLIC_BASE_URL", "https://cdn.example.com")
    said = apex("share", *words)
    assert (said.code, said.out) == (2, "")
    assert "is a file on this machine" in said.error
    assert "USE_S3_DATA=true" in said.error
