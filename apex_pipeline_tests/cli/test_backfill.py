"""Tests ``apex backfill`` as a user runs it."""

import json
import shutil
from pathlib import Path

import pytest

from apex_pipeline_tests.cli.conftest import Apex


def test_a_dry_run_lists_the_sessions_and_makes_no_run(apex: Apex, demo_dir: Path) -> None:
    assert apex("backfill", "--dry-run").out == "Would derive 0 sessions.\n"
    everything = json.loads(apex("backfill", "--all", "--dry-run", "--json").out)
    assert set(everything["due"].values()) == {"asked for"}
    assert f"Would derive {len(everything['due'])} sessions." in apex("backfill", "--all", "--dry-run").out


def test_an_unknown_name_is_refused_with_a_suggestion(apex: Apex, demo_dir: Path) -> None:
    result = apex("backfill", "nowhere", "--all")
    assert result.code == 2
    assert "The lake has no track 'nowhere'" in result.error


@pytest.mark.slow
def test_a_backfill_derives_and_publishes(
    apex: Apex, synced: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(synced / "lake", tmp_path / "lake")
    monkeypatch.chdir(tmp_path)
    due = list(json.loads(apex("backfill", "--all", "--dry-run", "--json").out)["due"])
    result = apex("backfill", due[0], "--all")
    assert (result.code, result.out) == (0, "Derived and published: 1 session.\n"), result.error
    assert f"1 of 1  {due[0]}: asked for" in result.error
