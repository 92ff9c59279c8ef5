"""Uploads that no recorder makes: each is refused or ends `Failed` with its class, the API answers, nothing hangs."""

import base64
import gzip
import socket
import struct
import time
import zlib
from collections.abc import Iterator

import httpx
import pytest

from apex_pipeline_tests.api.conftest import running_api
from apex_pipeline_tests.races_service.conftest import two_laps

_JSON = {"Content-Type": "application/json"}
_INNER = zlib.decompress(two_laps())
_ENDED_WITHIN_S = 120


def _framed(*datagrams: bytes) -> bytes:
    return zlib.compress(b"".join(struct.pack("<I", len(datagram)) + datagram for datagram in datagrams))


# What is accepted, because only reading it tells, and what becomes of it: the class, or a part of the detail.
_ACCEPTED = {
    "not compressed": (b"no compressed data", "not compressed"),
    "text of a page": (b"<html>not found</html>" * 100, "not compressed"),
    "bomb": (zlib.compress(bytes(200_000_000), 9), "inflated size limit"),
    "bomb in gzip": (gzip.compress(bytes(200_000_000), mtime=0), "inflated size limit"),
    "nothing, compressed": (zlib.compress(b""), "no packets"),
    "length 0": (zlib.compress(bytes(4)), "no packets"),
    "length 3": (_framed(b"abc"), "no packets"),
    "largest length": (zlib.compress(b"\xff\xff\xff\xff" + b"x" * 100), "no packets"),
    "packets of an unknown type": (_framed(*[bytes(10) + b"\x63\x02" + bytes(20)] * 50), None),
    "cut": (two_laps()[: len(two_laps()) * 3 // 4], "truncated at byte"),
    "checksum wrong": (two_laps()[:-4] + b"\x00\x00\x00\x00", None),
    "garbage behind it": (two_laps() + b"garbage" * 100, None),
    "two streams joined": (two_laps() + two_laps(1), None),
    "length out of range in the middle": (zlib.compress(_INNER[:200_000] + b"\xff" * 4 + _INNER[200_000:]), None),
}
_REFUSED = {
    "nothing": (b"", "malformed upload"),
    "null": (b"null", "malformed upload"),
    "number": (b"7", "malformed upload"),
    "list": (b'["data"]', "malformed upload"),
    "empty object": (b"{}", "malformed upload"),
    "data null": (b'{"data": null}', "malformed upload"),
    "data number": (b'{"data": 1e400}', "malformed upload"),
    "data object": (b'{"data": {"data": "AAAA"}}', "malformed upload"),
    "data twice": (b'{"data": "AAAA", "data": "AAAA"}', "malformed upload"),
    "deep": (b"[" * 60_000, "malformed upload"),
    "deeper": (b"[" * 1_000_000, "too large"),
    "no end": (b'{"data": "AAAA', "malformed upload"),
    "base64 of nothing": (b'{"data": ""}', "empty"),
    "not base64": (b'{"data": "!!!!"}', "not base64"),
    "base64 and more": (b'{"data": "AAAA=AAA"}', "not base64"),
    "not text": (b'{"data": "\xff\xfe\x00"}', "not base64"),
    "surrogate": (b'{"data": "\\ud800"}', "not base64"),
    "unknown escape": (b'{"data": "\\x"}', "malformed upload"),
    "force is a word": (b'{"data": "AAAA", "force": "no"}', "malformed upload"),
    "large name": (b'{"' + b"a" * 100_000 + b'": "AAAA"}', "too large"),
}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """The API of a laptop, which processes what it accepts."""
    folder = tmp_path_factory.mktemp("hostile")
    environment = {name: str(folder / name) for name in ("APEX_LAKE_DIR", "APEX_STATE_DIR", "DAGSTER_HOME")}
    with running_api(environment, folder) as client:
        yield client


@pytest.mark.soak
@pytest.mark.parametrize("name", _REFUSED)
def test_what_is_no_upload_is_refused_and_nothing_is_registered(api: httpx.Client, name: str) -> None:
    body, error_class = _REFUSED[name]
    answer = api.post("/race/upload", content=body, headers=_JSON)
    assert answer.status_code in (413, 422), answer.text
    assert answer.json()["error_class"] == error_class
    assert answer.json()["remedy"]


@pytest.mark.soak
def test_300_mb_are_refused_by_their_announced_size_and_by_their_real_one(api: httpx.Client) -> None:
    with socket.create_connection(("127.0.0.1", api.base_url.port or 80), timeout=10) as connection:
        head = "POST /race/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 400000000\r\n\r\n"
        connection.sendall(head.encode())  # and no byte of the body
        assert connection.recv(1_000).startswith(b"HTTP/1.1 413 ")
    blocks = (b'{"data": "' if number == 0 else b"A" * 1_000_000 for number in range(400))
    answer = api.post("/race/upload", content=blocks, headers=_JSON)
    assert (answer.status_code, answer.json()["error_class"]) == (413, "too large")


@pytest.mark.soak
def test_every_accepted_upload_ends_with_its_class_or_says_what_was_saved(api: httpx.Client) -> None:
    races: dict[str, str] = {}
    for name, (blob, _) in _ACCEPTED.items():
        body = b'{"data": "' + base64.b64encode(blob) + b'"}'
        answer = api.post("/race/upload", content=body, headers=_JSON)
        assert answer.status_code == 200, (name, answer.text)
        races[name] = answer.json()["race_id"]
    deadline = time.monotonic() + _ENDED_WITHIN_S
    while api.get("/race/list", params={"status": "Processing"}).json():
        assert time.monotonic() < deadline
        time.sleep(0.5)
    for name, (_, expected) in _ACCEPTED.items():
        found = api.get(f"/race/{races[name]}/status").json()
        assert found["status"] == "Failed" or found["laps_count"] > 0, (name, found)
        assert (found["status"] == "Failed") == bool(found["error_class"] and found["error"]), (name, found)
        if expected is not None:
            assert expected in f"{found['error_class']} {found['detail']}", (name, found)
    assert api.get("/health").status_code == 200
