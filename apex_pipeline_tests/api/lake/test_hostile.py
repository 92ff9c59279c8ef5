"""A thousand hostile requests: each is refused with a reason and a next step, and none breaks the server."""

import http.client
import json
import random
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from apex_pipeline_tests.api.lake.conftest import API
from apex_pipeline_tests.catalog.race_lake import CAR

_COUNT = 1_000
# A longer address is refused by the parser of HTTP itself, with a sentence of its own.
_LONGEST = 65_535
# Where the analytics front end asks a track about the session and the driver of the track before.
_FRONT_END = "/api/analytics/track/test_track/session/"
_NAMES = (
    *("..", "%2e%2e", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "%00", "%ff%fe", "unknown", "x" * 300, "%F0%9F%8F%81" * 60),
    *("%E0%A4%A8%E0%A4%A6%E0%A5%80", "%3Cscript%3E", "'%20or%20'1'='1", "null", "*", "-1", "1e9", "NaN", "%20", "."),
    *("{lap}", "$(id)", "a%0d%0ab", "~", "nowhere%2FR1", "R8;R9", "con", "%25%32%65"),
)
_TABLES = ("laps", "cars", "telemetry_cars", "lapz", "..", "%2e%2e", "tables", "x" * 300, "telemetry", "%00")
_NUMBERS = (
    "-1",
    "0",
    "1e9",
    "NaN",
    "inf",
    "",
    "1.5",
    "0x10",
    "%D9%A3",
    "9" * 400,
    "1%00",
    "999999999",
    "+",
    "1 OR 1=1",
)
_QUERIES = (
    *(f"limit={number.replace(' ', '+')}" for number in _NUMBERS),
    *("cursor=", "cursor=AAAA", "cursor=%00", "cursor=..%2f..", f"cursor={'A' * 900}", f"cursor={'A' * 5_000}"),
    *("columns=nope", "columns=lap_number,%00", "sort=nope", "sort=-", "sort=flags", "sort=--lap_number"),
    *(
        "format=xml",
        "format=",
        "format=JSON",
        "snapshot=latest",
        "snapshot=..",
        "snapshot=",
        "snapshot=99999999T999999Z",
    ),
    *("nope=1", "lap_nmber<=3", "lap_number~3", "lap_number<=NaN", "lap_number<=", "lap_number<=1;drop", "is_valid<=1"),
    *("flags<3", "car=nobody", f"car={'9' * 300}", "limit=1&limit=2", "limit", "=", "&=&"),
    *(
        "a" * 9_000,
        "&".join(f"p{number}=1" for number in range(10_000)),
        "&".join(["lap_number>0"] * 90),
        "%",
        "%zz=%zz",
    ),
    "%ff=%ff",
)
_OF_A_LAP = (
    *(f"max_points={number.replace(' ', '+')}" for number in (*_NUMBERS, "1", "20001")),
    *("channels=nope", "channels=vehicle_id", "channels=speed_kph,", "channels=%00", "x=lap", "x=", "step_m=0", "a=1"),
    "channels=" + ",".join(f"c{number}" for number in range(80)),
)
# These are no mistakes: an empty entry of a list, an order without a column, no parameter at all.
_HARMLESS = {"channels=speed_kph,", "sort=-", "&=&", "columns=lap_number,"}


def _hostile(random_: random.Random) -> str:
    """Return an address in which at least one part is wrong."""
    name, query = random_.choice(_NAMES), random_.choice([one for one in _QUERIES if one not in _HARMLESS])
    lap = f"{API}/sessions/test_track/R1/cars/{CAR}/laps/1/telemetry"
    shapes = (
        f"{API}/sessions/{name}/R1/laps",
        f"{API}/sessions/test_track/{name}/laps",
        f"{API}/sessions/test_track/R1/{name}",
        f"{API}/sessions/test_track/R1/cars/{name}/laps/1/telemetry",
        f"{API}/sessions/test_track/R1/cars/{CAR}/laps/{random_.choice(_NAMES)}/telemetry",
        f"{API}/sessions/test_track/R1/laps?{query}",
        f"{API}/tables/laps?{query}",
        f"{API}/tables/{random_.choice([one for one in _TABLES if one not in {'laps', 'cars', 'telemetry_cars'}])}",
        f"{lap}?{random_.choice([one for one in _OF_A_LAP if one not in _HARMLESS])}",
        f"{API}/sessions?has={name}",
        f"{API}/sessions?track={name}",
        f"{API}/changes?since={name}",
        f"{API}/snapshot?snapshot={name}",
        f"/api/analytics/track/{name}/sessions",
        f"/api/analytics/track/test_track/session/{name}/best-lap",
        f"/api/analytics/track/test_track/session/R1/driver/{name}/performance",
        f"/api/telemetry/track/test_track/session/R1/driver/{CAR}/lap/{name}",
        f"/{name}",
    )
    return random_.choice(shapes)


@pytest.fixture
def connection(served_race: httpx.Client) -> Iterator[http.client.HTTPConnection]:
    """A connection that sends addresses as they are: httpx would put them right."""
    place = urlsplit(str(served_race.base_url))
    found = http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)
    yield found
    found.close()


@pytest.mark.slow
def test_every_hostile_request_is_refused_with_a_reason(connection: http.client.HTTPConnection) -> None:
    random_ = random.Random(18)  # noqa: S311  -- the same thousand every time
    for _ in range(_COUNT):
        address = _hostile(random_)
        connection.request("GET", address.replace(" ", "%20"))
        answer = connection.getresponse()
        body = answer.read()
        if address.startswith(_FRONT_END) and answer.status == 200:  # its panels show the reason
            assert json.loads(body).keys() == {"message", "error"}
            continue
        assert 400 <= answer.status < 500, (address[:200], answer.status, body[:300])
        if len(address) > _LONGEST:
            assert body == b"Invalid HTTP request received."
            continue
        problem = json.loads(body)
        assert answer.headers["content-type"] == "application/problem+json"
        assert (problem["status"], bool(problem["detail"]), bool(problem["hint"])) == (answer.status, True, True)
        assert len(body) < 4_000, address[:200]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "OPTIONS"])
def test_other_methods_are_refused(connection: http.client.HTTPConnection, method: str) -> None:
    connection.request(method, f"{API}/tables/laps", body=b"x" if method != "TRACE" else None)
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["status"]) == (405, 405)


def test_a_request_with_a_body_that_nobody_reads_is_answered(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", f"{API}/snapshot", body=bytes(100_000))
    assert connection.getresponse().status == 200
