"""`apex accuracy`: laps derived without official timing, compared with it; invented laps fail the command."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from apex_pipeline.sources.accuracy import pool_reports
from apex_pipeline_tests.cli.conftest import Apex

pytestmark = pytest.mark.req("A-117")


def test_accuracy_prints_a_row_per_session_and_the_totals(demo_dir: Path, apex: Apex) -> None:
    result = apex("accuracy")
    assert result.code == 0
    reports = json.loads(apex("accuracy", "--json").out)
    sessions = [name for name in reports if "/" in name]
    assert len(sessions) == 4
    assert all(name in result.out for name in reports)
    for count in ("official", "listed", "comparable", "matched", "within_100ms"):
        assert reports["all"][count] == sum(reports[name][count] for name in sessions)


def test_a_lake_without_official_laps_has_no_accuracy(
    demo_dir: Path, apex: Apex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apex_pipeline.cli.accuracy.measure_session", lambda *_: None)
    result = apex("accuracy")
    assert (result.code, result.out.strip()) == (0, "No session has official laps for comparison.")


def test_an_invented_lap_is_listed_and_sets_exit_code_1(
    demo_dir: Path, apex: Apex, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = replace(pool_reports([]), official=4, of_known_cars=4, listed=4, comparable=3, matched=3, jumping=1)
    wrong = replace(right, jumping=0, invented=("GR86-022-13 lap 3 (39.000 s)",))
    reports = iter([right, right, right, wrong])
    monkeypatch.setattr("apex_pipeline.cli.accuracy.measure_session", lambda *_: next(reports))
    result = apex("accuracy")
    assert result.code == 1
    assert "invented: GR86-022-13 lap 3 (39.000 s)" in result.out
    assert "all without field jumps" in result.out
