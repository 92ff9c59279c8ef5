"""Laps on the distance of their track over HTTP: one, two compared, and the map."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import pyarrow as pa
import pytest

from apex_pipeline import Lap, open_catalog
from apex_pipeline.api.lake import distance_routes
from apex_pipeline_tests.api.lake.conftest import API, serving
from apex_pipeline_tests.catalog.race_lake import CAR
from apex_pipeline_tests.distance.driven_lake import publish_lake


@pytest.fixture(scope="module")
def driven_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish_lake(tmp_path_factory.mktemp("driven"))


@pytest.fixture(scope="module")
def laps(driven_lake: Path) -> tuple[Lap, Lap]:
    """A lap of each of two cars."""
    race = open_catalog(driven_lake).session("harbor_street_circuit", "R1")
    return race.lap(car="13", number=2), race.lap(car="22", number=2)


@pytest.fixture(scope="module")
def client(driven_lake: Path) -> Iterator[httpx.Client]:
    with serving(driven_lake) as found:
        yield found


def _name(lap: Lap) -> str:
    return f"harbor/R1/{lap.vehicle_id}/{lap.number}"


def _compared(client: httpx.Client, laps: tuple[Lap, Lap], query: str = "") -> httpx.Response:
    return client.get(f"{API}/compare?a={_name(laps[0])}&b={_name(laps[1])}&{query}")


def test_two_laps_are_compared_as_the_catalog_does(client: httpx.Client, laps: tuple[Lap, Lap]) -> None:
    expected = laps[0].compare(laps[1], step_m=10, channels=["speed_kph"])
    answer = _compared(client, laps, "step_m=10&channels=speed_kph")
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["method"] == expected.method
    assert found["distance_m"] == expected.distance_m.tolist()
    rows = expected.frame(frame="arrow", channels=["speed_kph"])
    for name in ("a_speed_kph", "b_speed_kph", "delta_s", "error_s"):
        assert found[name] == rows[name].to_pylist()
    assert found["delta_at_line_s"] == round(laps[1].time_s - laps[0].time_s, 3)  # type: ignore[operator]  # both are timed
    assert (found["a"]["lap_number"], found["b"]["vehicle_id"]) == (laps[0].number, laps[1].vehicle_id)
    table = list(csv.DictReader(io.StringIO(_compared(client, laps, "step_m=10&channels=gear&format=csv").text)))
    assert len(table) == found["count"]
    arrow = _compared(client, laps, "step_m=10&channels=speed_kph&format=arrow")
    assert pa.ipc.open_stream(arrow.content).read_all().to_pylist() == rows.to_pylist()


def test_a_comparison_is_refused_beyond_the_limit_of_an_answer(
    client: httpx.Client, laps: tuple[Lap, Lap], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _compared(client, laps, "step_m=500").status_code == 200
    monkeypatch.setattr(distance_routes, "MAX_JSON_BYTES", 10_000)
    answer = _compared(client, laps, "step_m=1")
    assert answer.status_code == 400
    assert "10,000 can be answered" in answer.json()["detail"]
    assert "step_m" in answer.json()["hint"]
    assert _compared(client, laps, "step_m=1&format=arrow").status_code == 200


def test_a_lap_is_given_along_its_distance(client: httpx.Client, laps: tuple[Lap, Lap]) -> None:
    lap = laps[0]
    path = f"{API}/sessions/harbor/R1/cars/{lap.vehicle_id}/laps/{lap.number}/telemetry?x=distance"
    found = client.get(f"{path}&step_m=5&channels=speed_kph").json()
    assert (found["x"], found["method"]) == ("distance_m", "integrated_speed")
    assert list(found["channels"]) == ["time_s", "error_s", "speed_kph"]
    times = found["channels"]["time_s"]
    assert times["value"][-1] == pytest.approx(lap.time_s)
    assert times["unit"] == "s"
    thin = client.get(f"{path}&channels=speed_kph&max_points=30").json()
    assert all(len(curve["value"]) <= 30 for curve in thin["channels"].values())


def test_another_length_of_the_track_gives_another_tag_because_other_bytes(
    client: httpx.Client, driven_lake: Path, laps: tuple[Lap, Lap], tmp_path: Path
) -> None:
    lap = laps[0]
    length_m = client.get(f"{API}/sessions/harbor/R1/map").json()["features"][0]["properties"]["length_m"]
    own = tmp_path / "lengths.yaml"
    own.write_text(f"tracks:\n- {{slug: harbor_street_circuit, length_m: {length_m * 1.005}, evidence: measured}}\n")
    path = f"{API}/sessions/harbor/R1/cars/{lap.vehicle_id}/laps/{lap.number}/telemetry?x=distance&channels=speed_kph"
    with serving(driven_lake, track_lengths_file=own) as other:
        one, two = client.get(path), other.get(path)
        assert one.content != two.content
        assert one.headers["etag"] != two.headers["etag"]
        snapshot = one.headers["apex-snapshot"]
        assert "immutable" not in other.get(f"{path}&snapshot={snapshot}").headers["cache-control"]


@pytest.mark.parametrize(
    "content", ["missing", "folder", b"\xff\xfe", b"tracks: [", b"tracks: 2025-13-01", b"[" * 1_000]
)
def test_a_broken_file_of_track_lengths_is_named_and_nothing_else_stops(
    driven_lake: Path, laps: tuple[Lap, Lap], tmp_path: Path, content: bytes | str
) -> None:
    own = tmp_path / "lengths.yaml"
    if content == "folder":
        own.mkdir()
    elif isinstance(content, bytes):
        own.write_bytes(content)
    race = f"{API}/sessions/harbor/R1"
    lap = f"{race}/cars/{laps[0].vehicle_id}/laps/{laps[0].number}/telemetry"
    compared = "&".join(f"{side}=harbor/R1/{one.vehicle_id}/{one.number}" for side, one in zip("ab", laps, strict=True))
    need_lengths = [f"{race}/map", f"{race}/report", f"{lap}?x=distance", f"{API}/compare?{compared}"]
    with serving(driven_lake, track_lengths_file=own) as other:
        for path in need_lengths:
            problem = other.get(path)
            assert (problem.status_code, problem.headers["retry-after"]) == (503, "5"), problem.text
            assert str(own) in problem.json()["detail"]
            assert problem.json()["hint"]
        for path in (f"{race}/laps", f"{race}/positions", lap, f"{API}/sessions", "/readyz"):
            assert other.get(path).status_code == 200, path
        driver = f"/api/analytics/track/harbor_street_circuit/session/R1/driver/{laps[0].vehicle_id}"
        assert "track_info" not in other.get(f"{driver}/detailed-performance").json()
        if content == "folder":
            own.rmdir()
        own.write_text("tracks: []\n")
        assert [other.get(path).status_code for path in need_lengths] == [200] * 4


def test_a_broken_file_of_track_names_is_no_fault_of_the_request(driven_lake: Path, tmp_path: Path) -> None:
    own = tmp_path / "tracks.yaml"
    own.write_text("tracks: 2025-13-01\n")
    with serving(driven_lake, tracks_file=own) as other:
        problem = other.get(f"{API}/sessions/harbor/R1/laps")
        assert problem.status_code == 503
        assert str(own) in problem.json()["detail"]
        assert other.get(f"{API}/sessions/harbor_street_circuit/R1/laps").status_code == 200


def test_the_map_is_geojson(client: httpx.Client) -> None:
    found = client.get(f"{API}/sessions/harbor/R1/map").json()
    assert found["type"] == "FeatureCollection"
    assert set(found) == {"type", "features"}
    assert found["features"][0]["properties"]["length_m"] > 1_000


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("a=harbor/R1/13", 400),
        ("a=harbor/R1/13/x&b=harbor/R1/13/2", 400),
        ("a=harbor/R1/13/99&b=harbor/R1/13/2", 404),
        ("a=harbor/R1/99/1&b=harbor/R1/13/2", 404),
        ("a=nowhere/R1/13/1&b=harbor/R1/13/2", 404),
        ("a=harbor/R1/13/2&b=mesa/R1/13/2", 400),
        ("a=../../../..&b=/", 400),
    ],
)
def test_what_does_not_name_two_laps_of_one_track_is_refused(client: httpx.Client, query: str, status: int) -> None:
    answer = client.get(f"{API}/compare?{query}")
    assert answer.status_code in {status, 404}, answer.text
    assert answer.json()["hint"]


@pytest.mark.parametrize("step", ["0", "-1", "NaN", "0.01", "1e3", "1001", ""])
def test_a_step_that_makes_no_grid_is_refused(client: httpx.Client, laps: tuple[Lap, Lap], step: str) -> None:
    assert _compared(client, laps, f"step_m={step}").status_code == 400
    path = f"{API}/sessions/harbor/R1/cars/{laps[0].vehicle_id}/laps/{laps[0].number}/telemetry"
    assert client.get(f"{path}?x=distance&step_m={step}").status_code == 400
    assert "x=distance" in client.get(f"{path}?step_m=2").json()["hint"]


def test_unknown_channels_are_refused(client: httpx.Client, laps: tuple[Lap, Lap]) -> None:
    answer = _compared(client, laps, "channels=speed_kp")
    assert (answer.status_code, answer.json()["suggestion"]) == (400, "speed_kph")


def test_a_track_of_unknown_length_has_no_distance(served_race: httpx.Client) -> None:
    lap = f"test_track/R1/{CAR}/2"
    for path in (f"compare?a={lap}&b={lap}", "sessions/test_track/R1/map"):
        answer = served_race.get(f"{API}/{path}")
        assert answer.status_code == 404
        assert "length" in answer.json()["detail"]
