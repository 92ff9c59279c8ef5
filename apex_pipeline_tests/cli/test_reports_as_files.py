"""Reports such as `apex verify` and `apex plan` give their rows as CSV and Parquet, as commands that list do."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from apex_pipeline.cli.app import load_command
from apex_pipeline.cli.commands import PANELS
from apex_pipeline_tests.cli.conftest import Apex

_REPORTS: dict[str, tuple[str, ...]] = {
    "verify": ("verify",),
    "metrics": ("metrics",),
    "cost": ("cost", "--storage-gb", "5", "--gets", "20000"),
    "plan": ("plan", "demo-weekend"),
}


@pytest.mark.parametrize("words", _REPORTS.values(), ids=_REPORTS)
def test_csv_and_parquet_of_a_report_have_the_same_rows(
    demo_dir: Path, tmp_path: Path, apex: Apex, words: tuple[str, ...]
) -> None:
    rows = list(csv.DictReader(io.StringIO(apex(*words, "--csv").out)))
    target = tmp_path / "rows.parquet"
    assert f"{target}: {len(rows)} rows" in apex(*words, "--parquet", str(target)).out
    stored = pq.read_table(target).to_pylist()
    assert [list(row) for row in stored] == [list(row) for row in rows]
    assert [row[next(iter(row))] for row in stored] == [row[next(iter(row))] for row in rows]
    refused = apex(*words, "--csv", "--json")
    assert refused.code == 2
    assert "cannot be combined" in refused.error


def test_the_rows_of_a_report_are_what_its_json_says(demo_dir: Path, apex: Apex) -> None:
    def both(name: str) -> tuple[list[dict[str, str]], dict[str, Any]]:
        words = _REPORTS[name]
        return list(csv.DictReader(io.StringIO(apex(*words, "--csv").out))), json.loads(apex(*words, "--json").out)

    rows, document = both("verify")
    assert len(rows) == len(document["findings"]) + 4 * len(document["sessions"]) + len(document["notes"])
    rows, document = both("metrics")
    assert [int(row["laps"]) for row in rows] == [one["laps"] for one in document["sessions"]]
    assert all(
        int(row["readings_in"]) == sum(int(row[name]) for name in ("cells_out", "exact_duplicates", "rejected"))
        for row in rows
    )
    rows, document = both("cost")
    assert sum(float(row["usd"]) for row in rows) == pytest.approx(document["total_usd"])
    rows, document = both("plan")
    states = ("new", "changed", "unchanged", "gone", "ignored")
    assert {state: sum(row["state"] == state for row in rows) for state in states} == {
        state: document[state]["files"] for state in states
    }


def test_rows_of_a_report_can_be_chosen_on_a_screen_too(demo_dir: Path, apex: Apex) -> None:
    shown = apex("plan", "demo-weekend", "--where", "state == 'ignored'", "--columns", "path,state").out
    assert "What a sync would do with each file" in shown
    assert "ignored" in shown
    assert "unchanged" not in shown


def test_prometheus_is_not_combined_with_another_format(demo_dir: Path, apex: Apex) -> None:
    result = apex("metrics", "--prometheus", "--csv")
    assert result.code == 2
    assert "cannot be combined" in result.error


# They do something, or describe one thing: there are no rows to list.
_WITHOUT_ROWS = {
    *("sync", "backfill", "schedule", "demo", "upload", "rollback", "forget", "gc", "migrate", "doctor"),
    *("report", "export", "map", "motec", "bundle", "downsample", "share", "trace laps"),
    *(f"events {name}" for name in ("ship", "watch", "records", "bundle")),
    *(f"race {name}" for name in ("upload", "status", "reprocess")),
}


def test_every_other_command_with_json_has_csv_and_parquet() -> None:
    without = {path for path, options in _options() if "--json" in options and not {"--csv", "--parquet"} <= options}
    assert without == _WITHOUT_ROWS


def _options() -> Iterator[tuple[str, set[str]]]:
    """Yield each command, and each of a group, with the names of its options."""
    for command in (command for commands in PANELS.values() for command in commands):
        loaded = load_command(command)
        for name, one in getattr(loaded, "commands", {"": loaded}).items():
            yield f"{command.name} {name}".strip(), {option for field in one.params for option in field.opts}
