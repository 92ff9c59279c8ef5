"""Bars of long commands: amount, rate and remaining time on a terminal, nothing in a pipe."""

import os
import shutil
import sys
import time
from pathlib import Path

import pytest

from apex_pipeline.cli.progress import byte_progress, count_progress
from apex_pipeline.console import ProgressReporter
from apex_pipeline.ingest.source_folder import scan_folder
from apex_pipeline.orchestration.sync import SyncEvent, _Comparison  # pyright: ignore[reportPrivateUsage]  -- its events
from apex_pipeline.progress import current_progress
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline_tests.cli.conftest import Apex
from apex_pipeline_tests.cli.test_sync_progress import open_terminal


def test_bytes_are_shown_with_their_rate_within_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_terminal(monkeypatch) as terminal:
        monkeypatch.setenv("COLUMNS", "80")
        with byte_progress("verify", 2_000_000_000):
            advance = current_progress()
            assert advance is not None
            for _ in range(3):
                advance(500_000_000)
                time.sleep(0.01)  # a rate needs two moments
    assert "1,500.0 of 2,000.0 MB, " in terminal.text
    assert "MB/s" in terminal.text
    assert "verify" in terminal.text


def test_units_are_counted_with_their_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_terminal(monkeypatch) as terminal, count_progress("derive", 9, "sessions") as advance:
        for _ in range(3):
            advance(1)
            time.sleep(0.01)
    assert "3 of 9, " in terminal.text
    assert "/s" in terminal.text


def test_a_plan_shows_what_it_hashes_and_nothing_once_digests_are_cached(
    demo_dir: Path, tmp_path: Path, apex: Apex, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(demo_dir / "demo-weekend", tmp_path / "weekend")
    for path in (tmp_path / "weekend").rglob("*"):
        os.utime(path, (1.7e9, 1.7e9))
    monkeypatch.setenv("APEX_STATE_DIR", str(tmp_path / "state"))
    with open_terminal(monkeypatch) as terminal:
        assert apex("plan", str(tmp_path / "weekend")).code == 0
    assert "hash " in terminal.text
    assert " MB" in terminal.text
    with open_terminal(monkeypatch) as again:
        assert apex("plan", str(tmp_path / "weekend")).code == 0
    assert "hash" not in again.text


def test_a_sync_tells_what_it_compares_before_it_copies(demo_dir: Path, tmp_path: Path) -> None:
    events: list[SyncEvent] = []
    digests = DigestCache(progress=_Comparison(events.append, scan_folder(demo_dir / "demo-weekend")))
    sizes = [path.stat().st_size for path in (demo_dir / "demo-weekend").rglob("*.csv")]
    for path in (demo_dir / "demo-weekend").rglob("*.csv"):
        digests.sha256_of(path)
    (start, *steps) = events
    assert start.message.endswith("files to compare, unless cached")
    assert start.total is not None
    assert sum(step.done for step in steps) == sum(sizes) <= start.total


def test_in_a_pipe_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with count_progress("derive", 9, "sessions") as advance:
        advance(9)
    assert capsys.readouterr().err == ""


def test_lines_above_the_bars_cannot_act_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:

    ProgressReporter(sys.stderr).write("\x1b[2Jgone")
    assert capsys.readouterr().err == "\\x1b[2Jgone\n"
