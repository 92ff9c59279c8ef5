"""The traces and the map: which laps are chosen, what the script gets, what is said of holes and errors."""

import json
import re
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.catalog import open_catalog
from apex_pipeline.reports.session_report import facts_of
from apex_pipeline.reports.session_report.trace_section import differences
from apex_pipeline.reports.session_report.traces import Traces
from apex_pipeline_tests.reports.session_report.conftest import report

_HARBOR = "harbor_street_circuit"


def _traces(lake: Path, track: str, session: str) -> Traces:
    found = facts_of(open_catalog(lake).session(track, session)).traces
    assert isinstance(found, Traces), found
    return found


def _data(page: str) -> dict[str, Any]:
    found = re.search(r'id="data">(.*?)</script>', page)
    assert found is not None
    return json.loads(found[1])


def test_the_best_laps_of_two_cars_with_speed_and_a_clock_are_compared(driven_lake: Path) -> None:
    traces = _traces(driven_lake, _HARBOR, "R1")
    # Car 7 has no speed, the clock of car 80 stands still, car 98 was received in part only.
    assert [lap.car_number for lap in traces.laps] == ["13", "22"]
    assert traces.laps[0].time_s is not None
    assert traces.laps[1].time_s is not None
    assert traces.laps[0].time_s < traces.laps[1].time_s
    assert traces.delta is not None
    assert traces.delta.delta_s[-1] == pytest.approx(traces.laps[1].time_s - traces.laps[0].time_s, abs=0.001)


def test_the_script_gets_the_numbers_that_were_computed(driven_lake: Path) -> None:
    traces = _traces(driven_lake, _HARBOR, "R1")
    data = _data(report(driven_lake, _HARBOR, "R1"))
    assert data["laps"] == [f"#{lap.car_number} lap {lap.number}" for lap in traces.laps]
    assert data["length"] == pytest.approx(traces.on_distance[0].distance_m[-1], abs=0.01)
    assert [panel["unit"] for panel in data["panels"]] == ["km/h", "bar", "s"]
    speed, delta = data["panels"][0]["series"], data["panels"][-1]["series"]
    assert traces.delta is not None
    for differences_of, values, digits in (
        (speed[0], traces.on_distance[0].channels["speed_kph"], 1),
        (speed[1], traces.on_distance[1].channels["speed_kph"], 1),
        (delta[0], traces.delta.delta_s, 3),
    ):
        assert _decoded(differences_of, digits) == pytest.approx(values.tolist(), abs=0.51 * 10**-digits, nan_ok=True)


def _decoded(steps: list[int | None], digits: int) -> list[float]:
    totals = accumulate((step or 0 for step in steps), lambda total, step: total + step)
    return [np.nan if step is None else total / 10**digits for step, total in zip(steps, totals, strict=True)]


@given(st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")), max_size=50), st.integers(0, 3))
def test_values_come_back_to_the_last_kept_digit_and_holes_stay_holes(values: list[float], digits: int) -> None:
    steps = differences(np.array(values), digits)
    assert [step is None for step in steps] == [bool(np.isnan(value)) for value in values]
    assert _decoded(steps, digits) == pytest.approx(values, abs=0.51 * 10**-digits, rel=1e-9, nan_ok=True)


def test_the_map_is_coloured_by_the_speed_of_the_best_lap(driven_lake: Path) -> None:
    page = report(driven_lake, _HARBOR, "R1")
    assert "Map coloured by speed" in page
    assert {f"s{colour}" for colour in range(9)} <= set(re.findall(r'class="s (s\d)"', page))
    assert ">start/finish</text>" in page
    assert ">S1</text>" in page


def test_without_positions_the_map_says_why_and_the_curves_are_there(driven_lake: Path) -> None:
    page = report(driven_lake, "mesa_verde_raceway", "R1")
    assert "There is no map: no car of mesa_verde_raceway/R1 has a lap with GPS." in page
    assert len(_data(page)["panels"]) >= 2


def test_the_note_on_the_delta_says_method_and_error(driven_lake: Path) -> None:
    page = report(driven_lake, _HARBOR, "R1")
    assert "Distance by integrated speed. The grey band is how far the delta may be off, nine times in ten: at" in page
