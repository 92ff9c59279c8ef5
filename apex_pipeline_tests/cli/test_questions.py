"""The questions that people ask first, each answered by one command, on the lake of `apex demo`."""

import csv
import io
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from apex_pipeline.cli.commands import PANELS
from apex_pipeline_tests.cli.conftest import Apex

_TRACK = "harbor_street_circuit"
_EXAMPLES = [example for one in PANELS["Query"] if one.reads_tables for example in one.examples]


def _json(apex: Apex, *words: str) -> list[dict[str, Any]]:
    return json.loads(apex(*words, "--json").out)


@pytest.mark.parametrize("example", [one for one in _EXAMPLES if "diff" not in one])
def test_every_example_of_a_query_works_as_printed(
    demo_dir: Path, tmp_path: Path, apex: Apex, monkeypatch: pytest.MonkeyPatch, example: str
) -> None:
    monkeypatch.setenv("APEX_LAKE_DIR", str(demo_dir / "lake"))
    monkeypatch.chdir(tmp_path)
    result = apex(*shlex.split(example)[1:])
    assert (result.code, result.error) == (0, "")
    assert result.out


def test_who_won(demo_dir: Path, apex: Apex) -> None:
    results = _json(apex, "results", "harbor", "r1")
    places = [row["position"] for row in results if row["position"]]
    assert places == sorted(places)
    assert {row["is_final"] for row in results} == {True}
    assert len(_json(apex, "results", "harbor", "r1", "--all")) >= len(results)


def test_the_best_lap_of_each_car_of_a_session_of_each_session_and_of_all(demo_dir: Path, apex: Apex) -> None:
    laps = [lap for lap in _json(apex, "laps", "harbor", "r1") if lap["is_valid"]]
    best = _json(apex, "best", "harbor", "Race 1")
    assert {row["vehicle_id"]: row["lap_time_s"] for row in best} == {
        car: min(lap["lap_time_s"] for lap in laps if lap["vehicle_id"] == car)
        for car in {lap["vehicle_id"] for lap in laps}
    }
    assert [row["rank"] for row in best] == list(range(1, len(best) + 1))
    assert best[0]["gap_s"] == 0
    of_sessions = _json(apex, "best")
    assert [(row["track"], row["session"]) for row in of_sessions].count((_TRACK, "R1")) == 1
    assert len(of_sessions) == 4
    (overall,) = _json(apex, "best", "--overall")
    assert overall["lap_time_s"] == min(row["lap_time_s"] for row in of_sessions)


def test_valid_and_doubtful_laps_are_all_laps(demo_dir: Path, apex: Apex) -> None:
    every, valid, doubtful = (
        _json(apex, "laps", "harbor", "r2", *words) for words in ((), ("--valid",), ("--doubtful",))
    )
    assert len(every) == len(valid) + len(doubtful)
    assert doubtful
    assert not any(lap["is_valid"] for lap in doubtful)


def test_the_telemetry_of_the_best_lap_as_csv(demo_dir: Path, apex: Apex) -> None:
    result = apex("telemetry", "harbor", "r2", "--car", "13", "--best", "--csv")
    rows = list(csv.DictReader(io.StringIO(result.out)))
    laps = _json(apex, "laps", "harbor", "r2", "--car", "13", "--valid")
    best = min(laps, key=lambda lap: lap["lap_time_s"])
    assert {row["lap_number"] for row in rows} == {str(best["lap_number"])}
    assert apex("telemetry", "harbor", "r2", "--best", "--lap", "3").code == 2


def test_a_car_without_a_valid_lap_with_telemetry_is_an_error(
    demo_dir: Path, apex: Apex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apex_pipeline.cli.telemetry._has_samples", lambda *_: False)
    result = apex("telemetry", "harbor", "r2", "--car", "13", "--best")
    assert (result.code, "GR86-022-13 has no valid lap with telemetry" in result.error) == (2, True)


def test_the_weather_the_notes_and_the_quality_of_a_car(demo_dir: Path, apex: Apex) -> None:
    assert {"observed_utc", "air_temp_c"} <= set(_json(apex, "weather", "harbor", "r1")[0])
    notes = _json(apex, "note")
    assert len(notes) == 4
    assert all(row["note"] for row in notes)
    assert len(_json(apex, "note", "harbor")) == len([row for row in notes if row["track"] == _TRACK])
    assert {row["vehicle_id"] for row in _json(apex, "quality", "harbor", "r1", "--car", "#13")} == {"GR86-022-13"}


def test_any_table_is_listed_of_a_session_a_track_or_the_lake(demo_dir: Path, apex: Apex) -> None:
    every = _json(apex, "table", "official_laps")
    of_track = _json(apex, "table", "official_laps", "harbor")
    of_session = _json(apex, "table", "official_laps", _TRACK, "R1", "--where", "lap_number = 2")
    assert len(every) > len(of_track) > len(of_session) > 0
    assert of_session == [row for row in of_track if row["session"] == "R1" and row["lap_number"] == 2]
    assert _json(apex, "table", "tracks") == _json(apex, "tracks")
    assert _json(apex, "table", "rejects", "harbor", "r2") == _json(apex, "rejects", "harbor", "r2")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("table", "lap"), "No table is called 'lap'. Did you mean laps?"),
        (("table", "telemetry"), "Telemetry is read one session at a time."),
        (("table", "tracks", "harbor"), "tracks is one table for the whole lake."),
        (("table", "results", "harbor", "--where", "version = x"), "version cannot be 'x'"),
        (("sessions", "harbour_street"), "Did you mean harbor_street_circuit?"),
        (("files", "--status", "bogus"), "'bogus' is not one of"),
        (("best", "harbor", "r9"), "harbor_street_circuit/r9 is not published."),
        (("diff", "2001-01-01T00:00:00Z"), "No snapshot of 2001"),
    ],
)
def test_a_name_or_filter_that_can_match_nothing_is_an_error(
    demo_dir: Path, apex: Apex, words: tuple[str, ...], message: str
) -> None:
    result = apex(*words)
    assert (result.code, result.out) == (2, "")
    assert message in result.error.replace("\nNext step:", "")


def test_two_snapshots_differ_in_the_tables_of_the_sessions_between_them(demo_dir: Path, apex: Apex) -> None:
    oldest = str(_json(apex, "history")[-1]["snapshot"])
    rows = _json(apex, "diff", oldest)
    assert {row["change"] for row in rows} == {"added"}
    assert {row["rows_before"] for row in rows} == {None}
    published = {f"{row['track']}/{row['session']}" for row in _json(apex, "sessions")}
    assert {row["session"] for row in rows} == published - {f"{_TRACK}/R1"}
    assert _json(apex, "diff", oldest, oldest) == []


_PAGE = (Path(__file__).resolve().parents[2] / "docs" / "query.md").read_text(encoding="utf-8")
_PRINTED = {*re.findall(r"`(apex [a-z][^`]*)`", _PAGE), *re.findall(r"^(apex .*)$", _PAGE, re.MULTILINE)}
_NOT_HERE = ("apex demo", "SNAPSHOT")  # makes the lake; a placeholder


@pytest.mark.parametrize("line", sorted(line for line in _PRINTED if not any(one in line for one in _NOT_HERE)))
def test_every_command_of_the_page_works_as_printed(
    demo_dir: Path, tmp_path: Path, apex: Apex, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.setenv("APEX_LAKE_DIR", str(demo_dir / "lake"))
    monkeypatch.chdir(tmp_path)
    result = apex(*shlex.split(line)[1:])
    assert (result.code, result.error) == (0, "")
    assert result.out
