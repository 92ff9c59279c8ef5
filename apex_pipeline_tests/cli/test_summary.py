"""The end of a sync: what it worked on, what the lake holds, and a cost that does not grow with the lake."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from apex_pipeline.cli.summary import best_lap, print_summary
from apex_pipeline.orchestration.sync import Failure, SyncOutcome
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.lake.derived import open_lake
from apex_pipeline_tests.lake.tables import NOON, publish_tables, put_raw_file, put_record, renew_roll_ups

_KEYS = [SessionKey("spa", f"R{number}") for number in range(1, 5)]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a lake with four published sessions, and one that could not be published."""
    store = open_lake(tmp_path / "lake")
    for number, key in enumerate(_KEYS):
        publish_tables(store, key, laps=number + 1, now=NOON + timedelta(hours=number))
    new = SessionKey("spa", "R9")
    put_record(store, new, "v1", [put_raw_file(store, new)])
    renew_roll_ups(store)
    return load_settings(lake_dir=tmp_path / "lake", state_dir=tmp_path / "state")


@pytest.fixture
def summary(settings: Settings, capsys: pytest.CaptureFixture[str]) -> Callable[[SyncOutcome], str]:
    def run(outcome: SyncOutcome) -> str:
        print_summary(outcome, settings)
        return capsys.readouterr().out

    return run


def _outcome(**facts: object) -> SyncOutcome:
    return SyncOutcome(Path("source"), "lake", **facts)  # type: ignore[arg-type]  # its keyword arguments


def test_a_session_without_a_valid_lap_has_no_best_lap() -> None:
    lap = {"is_valid": False, "lap_time_s": 63.6, "vehicle_id": "GR86-036-98", "car_number": "98", "lap_number": 21}
    laps = pa.Table.from_pylist([lap])
    assert best_lap(laps) == "none"


def test_only_the_sessions_of_this_sync_are_shown_and_all_are_counted(summary: Callable[[SyncOutcome], str]) -> None:
    text = summary(_outcome(derived=[_KEYS[1]], snapshot="new"))
    assert "Sessions of this sync (1)" in text
    assert "R2" in text
    assert "R3" not in text
    assert "Total   4 sessions of 1 track, 10 rows in their tables" in text


def test_after_a_sync_without_work_only_the_totals_are_shown(summary: Callable[[SyncOutcome], str]) -> None:
    text = summary(_outcome())
    assert "nothing changed, nothing was done" in text
    assert "Sessions of this sync" not in text
    assert "Total   4 sessions" in text


def test_a_session_that_failed_is_shown_as_it_is_published(summary: Callable[[SyncOutcome], str]) -> None:
    failures = [Failure("derive", "spa/R9", "no lap file can be read"), Failure("derive", "spa/R1", "disk full")]
    text = summary(_outcome(failures=failures, derived=[]))
    assert "not published" in text
    assert "spa/R9 (derive): no lap file can be read" in text
    assert "Sessions of this sync (2)" in text


def test_notes_are_printed(summary: Callable[[SyncOutcome], str]) -> None:
    assert "  spa/R1: laps was restored." in summary(_outcome(notes=["spa/R1: laps was restored."]))


def test_the_tables_of_other_sessions_are_not_read(
    summary: Callable[[SyncOutcome], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    read_with_tag = LocalStore.read_with_tag

    def record(self: LocalStore, key: str, limit: int | None = None) -> tuple[bytes, str] | None:
        read.append(key)
        return read_with_tag(self, key, limit)

    monkeypatch.setattr(LocalStore, "read_with_tag", record)
    summary(_outcome(derived=[_KEYS[0]], snapshot="new"))
    one = len([key for key in read if key.startswith("objects/")])
    read.clear()
    summary(_outcome(derived=_KEYS[:2], snapshot="new"))
    assert 0 < one < len([key for key in read if key.startswith("objects/")]) <= 2 * one


def test_an_empty_lake_has_no_sessions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lake").mkdir()
    print_summary(_outcome(), load_settings(lake_dir=tmp_path / "lake", state_dir=tmp_path / "state"))
    assert "Total" not in capsys.readouterr().out
