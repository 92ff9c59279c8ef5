"""`apex history`, `apex rollback`, `apex forget` and --as-of, as a user runs them."""

import json
import shutil
from pathlib import Path

import pytest

from apex_pipeline_tests.cli.conftest import Apex

_TRACK = "harbor_street_circuit"


@pytest.fixture
def lake(demo_dir: Path, tmp_path: Path) -> str:
    """A copy of the demo lake, in which each of four sessions was published by a snapshot of its own."""
    shutil.copytree(demo_dir / "lake", tmp_path / "copy")
    return str(tmp_path / "copy")


def _history(apex: Apex, lake: str, *words: str) -> list[dict[str, object]]:
    return json.loads(apex("history", *words, "--lake", lake, "--json").out)


def test_the_history_lists_the_newest_snapshot_first_within_80_columns(
    lake: str, apex: Apex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    found = _history(apex, lake)
    assert [entry["snapshot"] for entry in found] == sorted((str(entry["snapshot"]) for entry in found), reverse=True)
    assert sum(len(list(entry["added"])) for entry in found) == 4  # type: ignore[call-overload]
    text = apex("history", "--lake", lake).out
    assert all(str(entry["snapshot"]) in text for entry in found)
    assert "…" not in text


def test_the_history_of_one_session_and_as_csv(lake: str, apex: Apex) -> None:
    (entry,) = _history(apex, lake, "harbor/r1")
    assert entry["added"] == [f"{_TRACK}/R1"]
    lines = apex("history", "--lake", lake, "--csv").out.splitlines()
    assert lines[0] == "snapshot,published_utc,added,changed,removed,is_known,note"
    assert len(lines) == 5
    assert len(_history(apex, lake, "--limit", "2")) == 2


def test_a_query_as_of_an_earlier_snapshot_shows_what_was_published_then(lake: str, apex: Apex) -> None:
    oldest = str(_history(apex, lake)[-1]["snapshot"])
    rows = json.loads(apex("sessions", "--as-of", oldest, "--lake", lake, "--json").out)
    assert len(rows) == 1
    assert apex("sessions", "--as-of", "2001-01-01T00:00:00Z", "--lake", lake).code == 2
    assert "has no time zone" in apex("laps", _TRACK, "R1", "--as-of", "2026-01-01T10:00", "--lake", lake).error


def test_a_rollback_asks_and_can_be_undone(lake: str, apex: Apex, monkeypatch: pytest.MonkeyPatch) -> None:
    oldest, newest = (str(_history(apex, lake)[place]["snapshot"]) for place in (-1, 0))
    refused = apex("rollback", oldest, "--lake", lake)
    assert (refused.code, "Add --yes" in refused.error) == (2, True)
    facts = json.loads(apex("rollback", oldest, "--yes", "--lake", lake, "--json").out)
    assert (facts["restored"], len(facts["removed"])) == ([], 3)
    report = json.loads(apex("verify", "--lake", lake, "--json").out)
    assert {finding["problem"] for finding in report["findings"]} == {None}
    assert [row["session"] for row in report["sessions"] if row["is_good"]] == [f"{_TRACK}/R1"]
    listed = json.loads(apex("sessions", "--lake", lake, "--json").out)
    assert [row["session"] for row in listed if row["is_published"]] == ["R1"]
    assert len(listed) == 4
    monkeypatch.setenv("COLUMNS", "80")
    text = apex("sessions", "--lake", lake).out
    assert sum(line.endswith("  no") for line in text.splitlines()) == 3
    assert "…" not in text
    again = apex("rollback", oldest, "--yes", "--lake", lake)
    assert "Nothing to do" in again.out
    forward = apex("rollback", newest, "--yes", "--lake", lake)
    assert "3 sessions as in" in forward.out
    assert "keeps the restored sessions until their files change" in forward.out
    assert apex("verify", "--deep", "--lake", lake).code == 0


def test_forget_lists_asks_takes_out_and_brings_back(lake: str, apex: Apex) -> None:
    listed = json.loads(apex("forget", "harbor/r1", "--dry-run", "--lake", lake, "--json").out)
    assert (listed["sessions"], len(listed["files"]), listed["is_taken_out"]) == ([f"{_TRACK}/R1"], 11, False)
    assert apex("forget", "harbor/r1", "--lake", lake).code == 2
    text = apex("forget", "harbor/r1", "--yes", "--lake", lake).out
    assert f"{_TRACK}/R1 is no longer published." in text
    assert "earlier snapshots still show them" in text
    assert len(json.loads(apex("sessions", "--lake", lake, "--json").out)) == 3
    returned = json.loads(apex("forget", "--undo", "harbor/r1", "--yes", "--lake", lake, "--json").out)
    assert (len(returned["present"]), returned["gone"]) == (11, [])


def test_undo_and_dry_run_cannot_be_combined(lake: str, apex: Apex) -> None:
    result = apex("forget", "harbor", "--undo", "--dry-run", "--lake", lake)
    assert (result.code, "cannot be combined" in result.error) == (2, True)
