"""What goes with an answer: tags, compression, how long it may be kept, and HEAD."""

import gzip
from dataclasses import dataclass
from pathlib import Path

import httpx
import pyarrow as pa
import pytest

from apex_pipeline_tests.api.lake.conftest import API, serving

_LAPS = f"{API}/sessions/harbor/R1/laps"


@dataclass(frozen=True)
class _Sent:
    """An answer as it was sent, still compressed."""

    status_code: int
    headers: httpx.Headers
    content: bytes


def _get(client: httpx.Client, path: str, **headers: str) -> _Sent:
    names = {"Accept-Encoding": "identity"} | {name.replace("_", "-"): value for name, value in headers.items()}
    with client.stream("GET", path, headers=names) as answer:
        return _Sent(answer.status_code, answer.headers, b"".join(answer.iter_raw()))


def test_an_answer_that_the_caller_has_is_not_sent_again(weekend: httpx.Client) -> None:
    first = _get(weekend, _LAPS)
    tag = first.headers["etag"]
    for given in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = _get(weekend, _LAPS, If_None_Match=given)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
        assert "content-type" not in again.headers
    assert _get(weekend, _LAPS, If_None_Match='"other"').status_code == 200


def test_other_bytes_have_another_tag(weekend: httpx.Client) -> None:
    answers = [
        _get(weekend, _LAPS),
        _get(weekend, f"{_LAPS}?limit=5"),
        _get(weekend, f"{_LAPS}?format=csv"),
        _get(weekend, f"{_LAPS}?format=arrow"),
        _get(weekend, _LAPS, Accept_Encoding="gzip"),
        _get(weekend, _LAPS, Accept_Encoding="zstd"),
        _get(weekend, f"{API}/sessions/harbor/R2/laps"),
    ]
    tags = [answer.headers["etag"] for answer in answers]
    assert len(set(tags)) == len(tags)
    assert all(tag.startswith('"') for tag in tags)


def test_the_tag_is_the_same_after_a_restart(weekend: httpx.Client, derived_lake: Path) -> None:
    with serving(derived_lake / "lake") as other:
        for path in (_LAPS, f"{_LAPS}?limit=3", f"{API}/tables/laps", f"{API}/tracks", f"{API}/snapshot"):
            one, two = _get(weekend, path), _get(other, path)
            assert (one.headers["etag"], one.content) == (two.headers["etag"], two.content)


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip;q=1.0, zstd;q=0.5", "gzip"),
        ("*", "zstd"),
        ("br", None),
        ("gzip;q=0", None),
        ("", None),
    ],
)
def test_the_answer_is_compressed_as_the_caller_prefers(weekend: httpx.Client, accepted: str, coding: str) -> None:
    plain = _get(weekend, _LAPS).content
    made, kept = (_get(weekend, _LAPS, Accept_Encoding=accepted) for _ in range(2))
    assert made.content == kept.content
    assert kept.headers.get("content-encoding") == coding
    assert "accept-encoding" in kept.headers["vary"].lower()
    sent = kept.content
    if coding == "gzip":
        sent = gzip.decompress(sent)
    elif coding == "zstd":
        sent = pa.input_stream(pa.BufferReader(sent), compression="zstd").read()
    assert sent == plain
    assert coding is None or len(kept.content) < len(plain) / 5


def test_a_short_answer_is_not_compressed(weekend: httpx.Client) -> None:
    assert "content-encoding" not in _get(weekend, f"{API}/snapshot", Accept_Encoding="gzip").headers


def test_an_answer_may_be_kept_for_ever_only_where_the_address_names_the_snapshot(weekend: httpx.Client) -> None:
    snapshot = weekend.get(f"{API}/snapshot").json()["id"]
    assert _get(weekend, _LAPS).headers["cache-control"] == "no-cache"
    named = _get(weekend, f"{_LAPS}?snapshot={snapshot}")
    assert named.headers["cache-control"] == "max-age=31536000, immutable"
    assert named.content == _get(weekend, _LAPS).content
    cursor = weekend.get(f"{_LAPS}?limit=3").json()["next"]
    assert "immutable" in _get(weekend, f"{_LAPS}?limit=3&cursor={cursor}").headers["cache-control"]
    # These tables also list what is not published yet.
    assert _get(weekend, f"{API}/sessions?snapshot={snapshot}").headers["cache-control"] == "no-cache"
    assert _get(weekend, f"{API}/sessions/nowhere/R1/laps").headers["cache-control"] == "no-store"


def test_head_has_the_headers_of_get_and_no_body(weekend: httpx.Client) -> None:
    asked, got = weekend.head(_LAPS, headers={"Accept-Encoding": "identity"}), _get(weekend, _LAPS)
    assert (asked.status_code, asked.content) == (200, b"")
    assert asked.headers["content-length"] == str(len(got.content))
    assert asked.headers["etag"] == got.headers["etag"]


def test_other_methods_and_addresses_are_problems(weekend: httpx.Client) -> None:
    assert weekend.post(_LAPS).status_code == 405
    for path in ("/api/v1/nothing", "/nothing", "/api/v1", "/api/v1/sessions//R1/laps"):
        answer = weekend.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
