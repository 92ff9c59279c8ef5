"""The telemetry of a lap over HTTP: the samples of the catalog, thinned as asked, with holes and reasons."""

from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest

from apex_pipeline_tests.api.lake.conftest import API
from apex_pipeline_tests.catalog.race_lake import CAR, LAP_MS, Race, lap_start_ms, number_of

_LAP = f"{API}/sessions/test_track/R1/cars/{number_of(CAR)}/laps/2/telemetry"


def _lap(client: httpx.Client, query: str = "", path: str = _LAP) -> dict[str, Any]:
    answer = client.get(f"{path}?{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def _problem(client: httpx.Client, path: str, status: int) -> dict[str, Any]:
    answer = client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    return answer.json()


def test_every_sample_of_the_lap_is_answered_from_the_line_on(served_race: httpx.Client, race: Race) -> None:
    found = _lap(served_race, "channels=brake_front_bar,speed_kph")
    samples = race.catalog.telemetry_arrow(
        "test_track", "R1", vehicle_id=CAR, lap_number=2, channels=["brake_front_bar", "speed_kph"]
    )
    assert list(found["channels"]) == ["brake_front_bar", "speed_kph"]
    times_ms = samples["sample_time_utc"].cast(pa.int64()).to_numpy() - lap_start_ms(2)
    brake, speed = found["channels"]["brake_front_bar"], found["channels"]["speed_kph"]
    assert brake["time_s"] == pytest.approx(times_ms / 1000)
    assert brake["value"] == samples["brake_front_bar"].to_pylist()
    assert (brake["unit"], brake["holes"]) == ("bar", 0)
    assert speed["value"] == [value for value in samples["speed_kph"].to_pylist() if value is not None]
    assert 0 <= brake["time_s"][0] < 0.05
    assert LAP_MS / 1000 - 0.05 < brake["time_s"][-1] < LAP_MS / 1000
    assert found["count"] == len(brake["value"]) + len(speed["value"])
    assert (found["x"], found["limit"], found["next"], found["note"]) == ("time_s", None, None, "")
    assert found["lap"]["vehicle_id"] == CAR


def test_a_thinned_lap_has_the_extremes_and_no_more_points_than_asked_for(served_race: httpx.Client) -> None:
    whole, thin = _lap(served_race), _lap(served_race, "max_points=50")
    assert thin["limit"] == 50
    assert list(thin["channels"]) == list(whole["channels"])
    for name, curve in thin["channels"].items():
        full = whole["channels"][name]
        assert len(curve["value"]) <= 50
        for pick in (min, max):
            assert pick(curve["value"]) == pick(full["value"])
        for end in (0, -1):
            assert (curve["time_s"][end], curve["value"][end]) == (full["time_s"][end], full["value"][end])


@pytest.mark.parametrize("form", ["csv", "arrow"])
def test_other_forms_have_a_row_for_each_point(served_race: httpx.Client, form: str) -> None:
    expected = _lap(served_race, "max_points=20&channels=gear,speed_kph")["channels"]
    answer = served_race.get(f"{_LAP}?max_points=20&channels=gear,speed_kph&format={form}")
    if form == "csv":
        header, *lines = answer.text.splitlines()
        assert header == "channel,time_s,value"
        found = [(name.strip('"'), float(x), float(y)) for name, x, y in (line.split(",") for line in lines)]
    else:
        found = [tuple(row.values()) for row in pa.ipc.open_stream(answer.content).read_all().to_pylist()]
    assert found == [
        (name, x, y) for name, curve in expected.items() for x, y in zip(curve["time_s"], curve["value"], strict=True)
    ]
    assert answer.headers["apex-count"] == str(len(found))


def test_a_lap_without_telemetry_says_why(served_race: httpx.Client) -> None:
    found = _lap(served_race, "channels=gear", _LAP.replace("laps/2", "laps/99"))
    assert found["channels"]["gear"]["value"] == []
    assert found["note"]
    assert served_race.get(_LAP.replace("laps/2", "laps/99") + "?format=csv").text == "channel,time_s,value\n"


@pytest.mark.parametrize(
    ("change", "status", "part"),
    [
        (("laps/2", "laps/77"), 404, "no lap 77"),
        (("laps/2", "laps/32768"), 404, "no lap 32768"),
        (("laps/2", "laps/best"), 400, "whole number"),
        (("laps/2", "laps/" + "9" * 40), 400, "whole number"),
        ((f"cars/{number_of(CAR)}", "cars/1" + "0" * 300), 404, "200 characters"),
        ((f"cars/{number_of(CAR)}", "cars/51"), 404, "51"),
        (("R1", "R7"), 404, "R7"),
        (("?", "?channels=speed_kp&"), 400, "Did you mean speed_kph?"),
        (("?", "?channels=vehicle_id&"), 400, "no channel"),
        (("?", "?channels=" + ",".join(f"c{n}" for n in range(99)) + "&"), 400, "channel"),
        (("?", "?max_points=1&"), 400, "max_points"),
        (("?", "?max_points=20001&"), 400, "max_points"),
        (("?", "?max_points=NaN&"), 400, "max_points"),
        (("?", "?x=lap&"), 400, "x cannot be"),
        (("?", "?speed_kph>200&"), 400, "parameter"),
    ],
)
def test_what_the_lap_cannot_have_is_refused(
    served_race: httpx.Client, change: tuple[str, str], status: int, part: str
) -> None:
    problem = _problem(served_race, f"{_LAP}?".replace(*change), status)
    assert part in f"{problem['detail']} {problem['hint']}"


def test_more_points_than_an_answer_may_have_are_refused(
    served_race: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apex_pipeline.api.lake.curves.MAX_ROWS", 100)
    problem = _problem(served_race, f"{_LAP}?channels=steering_deg", 400)
    assert "Add max_points" in problem["hint"]


def test_a_hole_is_null_between_two_pieces() -> None:
    from apex_pipeline.api.lake.curves import time_curves  # noqa: PLC0415

    times = pa.array([0, 100, 900, 1_000], pa.timestamp("ms", "UTC"))
    samples = pa.table({"sample_time_utc": times, "unit_lap": [1] * 4, "gear": [1.0, 2.0, np.nan, 3.0]})
    found = time_curves(samples, None, None, None)
    assert found.curves["gear"].x.tolist() == [0.0, 0.1, 0.55, 1.0]
    assert found.rows().to_pylist()[2] == {"channel": "gear", "time_s": 0.55, "value": None}
