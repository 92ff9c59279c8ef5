"""Races whose truth is known, as given next to the real race files: no lap is invented, none is a false best."""

import json
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.sources.gr_cup.laps.derivation import derive_laps
from apex_pipeline.sources.gr_cup.laps.triggers import Trigger, read_triggers
from apex_pipeline.sources.gr_cup.official_timing import official_laps_table, read_sections
from apex_pipeline_tests.sources.gr_cup.lap_builder import identity

# Lap times between two stamps are within this of the true ones, unless a stamp is late.
_RIGHT_S = 0.5
_KINDS = {"lap_start": FileKind.LAP_START, "lap_end": FileKind.LAP_END, "lap_time": FileKind.LAP_TIME}
_Laps = dict[str, list[tuple[str, float, float]]]


@pytest.fixture
def cases(real_data: Path) -> Path:
    folder = real_data.parent / "cases" / "truth"
    if not folder.is_dir():
        pytest.skip("the cases are not next to the real race files")
    return folder


def _triggers(folder: Path) -> list[Trigger]:
    triggers: list[Trigger] = []
    for path in sorted(folder.glob("*lap_*.csv")):
        kind = next(kind for name, kind in _KINDS.items() if name in path.name)
        with path.open("rb") as stream:
            triggers += read_triggers(stream, identity(kind))[0]
    return triggers


def _truth(cases: Path, name: str) -> _Laps:
    """Return the laps driven by unit: number of the car, start and end in seconds since 1970."""
    laps: _Laps = defaultdict(list)
    for unit, number, _, start_s, end_s in json.loads((cases / "truth.json").read_text())[name]["laps"]:
        laps[unit].append((number, start_s, end_s))
    return laps


def _driven(lap: dict[str, Any], truth: _Laps) -> tuple[str, float]:
    """Return the number and the time of the lap that was driven when this one ended."""
    end: datetime = lap["lap_end_utc"]
    number, start_s, end_s = min(truth[lap["vehicle_id"]], key=lambda driven: abs(driven[2] - end.timestamp()))
    return number, end_s - start_s


@pytest.mark.parametrize(("name", "least_valid"), [("late_4s_hidden", 170), ("late_lap1_hidden", 180)])
def test_late_stamps_make_no_valid_lap_wrong(cases: Path, name: str, least_valid: int) -> None:
    truth = _truth(cases, name)
    valid = [lap for lap in derive_laps("t", "s", _triggers(cases / name)).laps.to_pylist() if lap["is_valid"]]
    assert len(valid) >= least_valid
    assert max(abs(lap["lap_time_s"] - _driven(lap, truth)[1]) for lap in valid) < _RIGHT_S
    best_s = min(end_s - start_s for laps in truth.values() for _, start_s, end_s in laps)
    assert min(lap["lap_time_s"] for lap in valid) > best_s - _RIGHT_S


def test_no_stop_of_the_practice_is_a_valid_lap(cases: Path) -> None:
    laps = derive_laps("t", "s", _triggers(cases / "practice")).laps.to_pylist()
    valid_s = [lap["lap_time_s"] for lap in laps if lap["is_valid"]]
    assert len(valid_s) > 100
    # The slowest laps into the pits take 129 s, the shortest with a stop 219 s.
    assert max(valid_s) < 130


def test_no_valid_lap_is_of_the_wrong_car_after_two_units_changed_cars(cases: Path) -> None:
    folder = cases / "swap_after_11_of_16"
    truth = _truth(cases, folder.name)
    with next(folder.glob("23_*")).open("rb") as stream:
        official, _ = official_laps_table("t", "s", [read_sections(stream, identity(FileKind.SECTIONS))])
    laps = derive_laps("t", "s", _triggers(folder), official).laps.to_pylist()
    assert sum(lap["is_valid"] for lap in laps) > 180
    assert [lap for lap in laps if lap["is_valid"] and lap["car_number"] != _driven(lap, truth)[0]] == []
