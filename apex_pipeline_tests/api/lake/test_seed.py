"""The calls of the analytics front end, with every field that its page reads of them, and its further routes."""

import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest

from apex_pipeline.api.lake import seed_laps, seed_routes, seed_telemetry
from apex_pipeline.catalog import open_catalog
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.api.lake.conftest import serving
from apex_pipeline_tests.catalog.race_lake import CAR
from apex_pipeline_tests.reports.session_report.race_tables import publish, race

_TRACK = "harbor_street_circuit"
_SESSION = f"/api/analytics/track/{_TRACK}/session/R1"
_DRIVER = "GR86-022-13"


def _get(client: httpx.Client, path: str) -> Any:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def _times(lake: Path) -> list[float]:
    laps = open_catalog(lake / "lake").table_arrow("laps", _TRACK, "R1").to_pylist()
    return [lap["lap_time_s"] for lap in laps if lap["vehicle_id"] == _DRIVER and lap["is_valid"] and lap["lap_time_s"]]


def test_the_first_screen_chooses_track_session_and_driver(weekend: httpx.Client) -> None:
    assert _TRACK in _get(weekend, "/api/analytics/tracks")
    assert _get(weekend, f"/api/analytics/track/{_TRACK}/sessions") == ["R1", "R2"]
    best = _get(weekend, f"{_SESSION}/best-lap")
    assert best.keys() == {"best_lap_time", "driver_id", "lap_number", "track", "session"}
    assert (best["track"], best["session"]) == (_TRACK, "R1")
    drivers = _get(weekend, f"{_SESSION}/drivers")
    assert best["driver_id"] in drivers
    rows = weekend.get("/api/v1/sessions/harbor/R1/best?limit=1").json()["rows"]
    assert best["best_lap_time"] == rows[0]["lap_time_s"]


def test_the_drivers_panel_has_its_figures(weekend: httpx.Client, derived_lake: Path) -> None:
    times = _times(derived_lake)
    found = _get(weekend, f"{_SESSION}/driver/{_DRIVER}/performance")
    assert found == {
        "driver_id": _DRIVER,
        "best_lap": min(times),
        "average_lap": pytest.approx(np.mean(times), abs=1e-3),
        "std_deviation": pytest.approx(np.std(times), abs=1e-3),
        "consistency_score": pytest.approx(100 - 100 * np.std(times) / np.mean(times), abs=1e-3),
        "total_laps": len(times),
        "lap_times": times,
    }
    even = _get(weekend, f"/api/strategy/track/{_TRACK}/session/R1/driver/{_DRIVER}/consistency")
    names = {"consistency_score", "coefficient_of_variation", "best_lap", "average_lap", "std_deviation", "total_laps"}
    assert names <= even.keys()
    close = sum(time_s <= min(times) + 0.5 for time_s in times)
    assert (even["laps_within_05s"], even["consistency_score"]) == (
        close,
        pytest.approx(100 * close / len(times), 1e-3),
    )


def test_the_detailed_panel_reads_numbers_wherever_it_formats_them(weekend: httpx.Client) -> None:
    found = _get(weekend, f"{_SESSION}/driver/{_DRIVER}/detailed-performance")
    assert found["track"] == "Harbor Street Circuit"
    assert isinstance(found["consistency"]["score"], float)
    assert found["performance"]["delta_to_record"] >= 0
    assert 0 < found["performance"]["theoretical_best"] <= found["performance"]["best_lap"]
    pace = found["pace_analysis"]
    for stint in ("early_stint", "mid_stint", "late_stint"):
        assert pace[stint]["best_lap"] <= pace[stint]["avg_lap_time"]
    assert isinstance(pace["degradation"]["early_to_late_delta"], float)
    length_m = weekend.get("/api/v1/sessions/harbor/R1/map").json()["features"][0]["properties"]["length_m"]
    # Turns and elevation stand in no file, nor do power and weight.
    assert found["track_info"] == {"length_km": pytest.approx(length_m / 1000, abs=5e-4)}
    assert "vehicle_specs" not in found


@pytest.mark.parametrize(
    ("models", "shown"),
    [(["Toyota GR86", "Porsche 992"], "Porsche 992"), ([None, None], None), (["Toyota GR86", None], None)],
)
def test_the_cars_model_is_that_of_the_classification(
    tmp_path: Path, models: list[str | None], shown: str | None
) -> None:
    tables = race(2, 3)
    tables["results"] = [{**row, "vehicle": model} for row, model in zip(tables["results"], models, strict=True)]
    car = {"vehicle_id": "GR86-001-2", "car_number": "2", "method": "suffix", "confidence": 1.0, "has_started": True}
    tables["cars"] = [{**car, "candidates": [], "evidence": "Its id says so."}]
    lake = publish(tmp_path, {SessionKey("spa", "R1"): tables})
    with serving(lake) as client:
        second = _get(client, "/api/analytics/track/spa/session/R1/driver/GR86-001-2/detailed-performance")
        assert second.get("vehicle") == shown
        # Nothing says how long the track is.
        assert "track_info" not in second


def test_speed_and_brakes_are_those_of_the_telemetry(served_race: httpx.Client) -> None:
    of_car = f"/api/analytics/track/test_track/session/R1/driver/{CAR}"
    speed = _get(served_race, f"{of_car}/speed-analysis")
    metrics = speed["speed_metrics"]
    assert metrics.keys() == {"vmax_kmh", "vmin_kmh", "vavg_kmh", "speed_range_kmh"}
    assert metrics["vmin_kmh"] < metrics["vavg_kmh"] < metrics["vmax_kmh"]
    assert sum(speed["speed_distribution"].values()) == pytest.approx(100, abs=0.02)
    assert speed["speed_distribution"].keys() == {"high_speed_pct", "mid_speed_pct", "low_speed_pct"}
    brakes = _get(served_race, f"{of_car}/braking-analysis")
    assert brakes["braking_metrics"].keys() == {
        *("brake_applications", "max_front_pressure_bar", "avg_front_pressure_bar", "consistency_bar"),
        *("max_rear_pressure_bar", "avg_rear_pressure_bar", "brake_bias_front_pct"),
    }
    assert brakes["g_forces"].keys() == {"max_braking_g", "avg_braking_g"}
    assert brakes["technique"].keys() == {"trail_braking_pct"}
    short = f"/api/telemetry/track/test_track/session/R1/driver/{CAR}"
    assert _get(served_race, f"{short}/speed-analysis")["vmax"] == metrics["vmax_kmh"]
    assert _get(served_race, f"{short}/braking-analysis")["driver_id"] == CAR
    lap = _get(served_race, f"{short}/lap/2")
    assert lap.keys() == {"lap_number", "driver_id", "speed", "throttle_avg", "data_points"}
    assert lap["speed"]["min"] < lap["speed"]["avg"] < lap["speed"]["max"]


@pytest.mark.parametrize(
    "path",
    [
        f"{_SESSION}/driver/{_DRIVER}/speed-analysis",
        f"{_SESSION}/driver/{_DRIVER}/braking-analysis",
        f"{_SESSION}/driver/{_DRIVER}/amicos-analysis",
        f"/api/telemetry/track/{_TRACK}/session/R1/driver/{_DRIVER}/lap/2",
        f"/api/telemetry/track/{_TRACK}/session/R1/driver/{_DRIVER}/speed-analysis",
        f"/api/telemetry/track/{_TRACK}/session/R1/driver/{_DRIVER}/braking-analysis",
        f"/api/strategy/track/{_TRACK}/session/R1/driver/{_DRIVER}/tire-degradation",
    ],
)
def test_where_nothing_can_be_said_the_page_gets_a_message(weekend: httpx.Client, path: str) -> None:
    found = _get(weekend, path)
    assert found["message"].endswith(".")
    # By these the page decides whether it shows a panel.
    assert not {"corners_detected", "speed_metrics", "braking_metrics"} & found.keys()


def test_a_session_without_a_valid_lap_has_messages(served_race: httpx.Client) -> None:
    base = "/api/analytics/track/test_track/session/R1"
    for path in ("best-lap", f"driver/{CAR}/performance", f"driver/{CAR}/detailed-performance", "sector-analysis"):
        assert _get(served_race, f"{base}/{path}").keys() == {"message", "error"}
    strategy = f"/api/strategy/track/test_track/session/R1/driver/{CAR}"
    assert _get(served_race, f"{strategy}/consistency").keys() == {"message", "error"}
    assert _get(served_race, f"{strategy}/tire-degradation").keys() == {"message", "error"}


def test_the_pit_strategy_takes_four_numbers_and_says_why_it_advises_nothing(weekend: httpx.Client) -> None:
    path = f"/api/strategy/track/{_TRACK}/session/R1/driver/{_DRIVER}/pit-strategy"
    body = {"current_lap": 5, "total_laps": 20, "tire_age": 5, "fuel_level": 50.0}
    answer = weekend.post(path, json=body)
    assert (answer.status_code, answer.json().keys()) == (200, {"message", "error", "avg_lap_time"})
    for wrong in (b"", b"{", b"[]", b'{"current_lap": "soon"}', b" " * 70_000):
        refused = weekend.post(path, content=wrong)
        assert (refused.status_code, refused.headers["content-type"]) == (400, "application/problem+json")


def test_a_body_that_does_not_arrive_is_not_waited_for(weekend: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seed_routes, "BODY_TIMEOUT_S", 0.1)
    place = urlsplit(str(weekend.base_url))
    head = f"POST /api/strategy/track/{_TRACK}/session/R1/driver/{_DRIVER}/pit-strategy HTTP/1.1"
    with socket.create_connection((place.hostname or "", place.port or 0), timeout=10) as client:
        client.sendall(f"{head}\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n{{".encode())
        assert client.recv(4_096).startswith(b"HTTP/1.1 400")


def test_sectors_and_the_start_page(weekend: httpx.Client) -> None:
    drivers = _get(weekend, f"{_SESSION}/sector-analysis")["sector_analysis"]
    assert drivers[_DRIVER]["best_sector"] <= drivers[_DRIVER]["avg_sector_time"]
    assert _get(weekend, "/health") == {"status": "healthy"}
    assert _get(weekend, "/")["api"] == "/api/v1"


@pytest.mark.parametrize("session", ["R1", "R9"])
@pytest.mark.parametrize(
    "path",
    [
        "analytics/track/{}/session/{}/driver/GR86-999-9/performance",
        "analytics/track/{}/session/{}/driver/GR86-999-9/detailed-performance",
        "analytics/track/{}/session/{}/driver/GR86-999-9/speed-analysis",
        "analytics/track/{}/session/{}/driver/GR86-999-9/braking-analysis",
        "analytics/track/{}/session/{}/driver/GR86-999-9/amicos-analysis",
        "strategy/track/{}/session/{}/driver/GR86-999-9/consistency",
    ],
)
def test_a_track_is_asked_about_the_driver_of_the_track_before(weekend: httpx.Client, path: str, session: str) -> None:
    found = _get(weekend, f"/api/{path.format(_TRACK, session)}")
    assert found.keys() == {"message", "error"}
    assert ("GR86-999-9" if session == "R1" else "R9") in found["error"]


def test_a_track_is_asked_about_the_session_of_the_track_before(weekend: httpx.Client) -> None:
    base = f"/api/analytics/track/{_TRACK}/session/R9"
    assert _get(weekend, f"{base}/best-lap").keys() == {"message", "error"}
    assert _get(weekend, f"{base}/drivers") == []


def test_a_car_without_a_unit_has_a_message(served_race: httpx.Client) -> None:
    found = _get(served_race, "/api/analytics/track/test_track/session/R1/driver/51/performance")
    assert "no unit" in found["error"]


@pytest.mark.parametrize("path", ["/api/analytics/track/x/sessions", "/api/analytics/track/x/session/R1/drivers"])
def test_an_unknown_track_is_a_problem(weekend: httpx.Client, path: str) -> None:
    answer = weekend.get(path)
    assert answer.status_code == 404
    assert answer.json()["hint"]


def test_a_few_laps_have_no_pace() -> None:
    found = seed_laps.detailed("a", [90.0, 91.0], 89.5, None)
    assert found["pace_analysis"].keys() == {"message"}
    assert found["performance"] == {
        "best_lap": 90.0,
        "average_lap": 90.5,
        "std_deviation": 0.5,
        "delta_to_record": 0.5,
        "theoretical_best": 90.0,
    }


@pytest.mark.parametrize(("sectors_s", "best_s"), [(89.9, 89.9), (90.4, 90.0), (None, 90.0)])
def test_nobody_could_be_slower_than_his_best_lap(sectors_s: float | None, best_s: float) -> None:
    assert seed_laps.detailed("a", [90.0, 91.0], 89.5, sectors_s)["performance"]["theoretical_best"] == best_s


def test_shares_of_time_are_never_minus_nothing() -> None:
    speeds = np.repeat([50.0, 160.0], [646, 354])
    shares = seed_telemetry.speed_analysis("a", {"speed_kph": speeds})["speed_distribution"]
    assert str(shares["mid_speed_pct"]) == "0.0"


def test_half_a_second_is_close_although_floats_say_more() -> None:
    assert seed_laps.consistency("a", [97.428, 97.928, 97.929])["laps_within_05s"] == 2


def test_a_brake_application_is_a_press_after_a_release() -> None:
    front = np.array([0, 3, 20, 1.5, 3, 0.5, np.nan, 4, 0, 0], dtype=float)
    assert seed_telemetry.brake_applications(front) == 2
    assert seed_telemetry.brake_applications(front[1:]) == 2  # on the brake when the lap begins
    assert seed_telemetry.brake_applications(np.array([np.nan])) == 0


def test_a_car_without_rear_pressure_and_accelerations_has_what_is_left() -> None:
    nothing = np.full(4, np.nan)
    samples = dict.fromkeys(("brake_rear_bar", "accel_long_g", "accel_lat_g"), nothing)
    found = seed_telemetry.braking_analysis("a", {"brake_front_bar": np.array([0.0, 10, 20, 0]), **samples})
    assert found["braking_metrics"]["avg_front_pressure_bar"] == 15
    # By the message, the page leaves out the panel: it computes the rear's share from the bias.
    assert "brake_bias_front_pct" not in found["braking_metrics"]
    assert "rear brake pressure" in found["message"]
    assert found["g_forces"] == {}
    assert "technique" not in found
