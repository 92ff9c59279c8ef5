"""Trouble on the way: a session that fails leaves the others done and its own good tables as they were."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from apex_pipeline.demo import GroundTruth
from apex_pipeline.errors import PermanentError, StorageFullError
from apex_pipeline.lake.snapshot import read_current
from apex_pipeline.orchestration.sync import SyncEvent, SyncOutcome, sync
from apex_pipeline.settings import Settings
from apex_pipeline.sources.base import FileIdentity, Reject
from apex_pipeline.sources.gr_cup import derive
from apex_pipeline.sources.gr_cup.laps.triggers import Trigger, read_triggers
from apex_pipeline.storage.factory import open_store
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.e2e.conftest import ignore, settings_in

_RACE = "Mesa Verde Raceway/Race {n}"
_R1 = SessionKey("mesa_verde_raceway", "R1")
_R2 = SessionKey("mesa_verde_raceway", "R2")


@pytest.fixture
def source(weekend: tuple[Path, GroundTruth], tmp_path: Path) -> Path:
    """One race of the weekend, to be spoiled; its telemetry left out, as it plays no part."""
    folder = tmp_path / "source"
    shutil.copytree(weekend[0] / _RACE.format(n=1), folder / _RACE.format(n=1))
    return folder


@pytest.fixture
def settings(tmp_path: Path, source: Path) -> Settings:
    return settings_in(tmp_path, source)


def _tags(settings: Settings, prefix: str) -> dict[str, str]:
    return {item.key: item.tag for item in open_store(settings, for_writing=False).list(prefix)}


def _spoil(path: Path, change: Callable[[str], str]) -> None:
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8", newline="")


def _laps_file(source: Path, n: int = 1) -> Path:
    return source / _RACE.format(n=n) / f"mesa_lap_end_time_R{n}.csv"


def test_a_session_that_fails_keeps_its_good_tables_and_the_others_are_done(
    settings: Settings, source: Path, weekend: tuple[Path, GroundTruth], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sync(settings, ignore).exit_code == 0
    good = _tags(settings, f"tables/laps/track={_R1.track}/session=R1")
    before = read_current(open_store(settings, for_writing=False))
    assert before is not None

    def fail(stream: BinaryIO, identity: FileIdentity) -> tuple[list[Trigger], list[Reject]]:
        if identity.session == "R1":
            raise PermanentError(f"{identity.path} line 7 makes no sense.", "Export it again.")
        return read_triggers(stream, identity)

    monkeypatch.setattr(derive, "read_triggers", fail)
    _spoil(_laps_file(source), lambda text: text.replace("GR86-006-7", "GR86-006-9"))
    shutil.copytree(weekend[0] / _RACE.format(n=2), source / _RACE.format(n=2))
    told: list[SyncEvent] = []
    outcome = sync(settings, told.append)
    assert outcome.exit_code == 1
    assert outcome.derived == [_R2]
    (failure,) = outcome.failures
    assert (failure.stage, failure.session) == ("derive", str(_R1))
    assert "line 7 makes no sense. Export it again." in failure.problem
    assert any(event.message.startswith("failed: ") and event.session == str(_R1) for event in told)
    assert _tags(settings, f"tables/laps/track={_R1.track}/session=R1") == good
    after = read_current(open_store(settings, for_writing=False))
    assert after is not None
    assert after.session(_R1) == before.session(_R1)
    assert after.session(_R2) is not None

    monkeypatch.setattr(derive, "read_triggers", read_triggers)
    healed = sync(settings, ignore)
    assert (healed.exit_code, healed.derived) == (0, [_R1])


def test_a_defect_of_ours_is_told_and_not_tried_again(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []

    def break_down(*_: object) -> object:
        calls.append(1)
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(derive, "derive_laps", break_down)
    outcome = sync(settings, ignore)
    assert outcome.exit_code == 1
    assert "ZeroDivisionError: division by zero" in outcome.failures[0].problem
    assert len(calls) == 1


def test_files_that_cannot_be_used_are_set_aside_and_the_session_is_made_from_the_rest(
    settings: Settings, source: Path
) -> None:
    folder = source / _RACE.format(n=1)
    _laps_file(source).write_bytes(b"")
    (folder / "mesa_lap_start_time_R1.csv").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    header = (folder / "mesa_lap_time_R1.csv").read_text(encoding="utf-8").splitlines()[0]
    (folder / "mesa_lap_time_R1.csv").write_text(header, encoding="utf-8")
    outcome = sync(settings, ignore)
    assert (outcome.exit_code, outcome.derived) == (0, [_R1])
    assert outcome.statuses["quarantined"] == 2
    reasons = [
        json.loads(open_store(settings, for_writing=False).read_bytes(key))["reason"]
        for key in _tags(settings, "quarantine/")
    ]
    assert any("is empty (0 bytes)" in reason for reason in reasons)
    assert any("is a PNG picture" in reason for reason in reasons)


def test_a_full_disk_while_copying_is_told_with_what_to_do(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> object:
        raise StorageFullError("Writing the lake: no space left.", "Free some space.")

    monkeypatch.setattr(LocalStore, "write_file", refuse)
    outcome = sync(settings, ignore)
    assert outcome.exit_code == 1
    assert any(
        "no space left" in failure.problem and "Free some space" in failure.problem for failure in outcome.failures
    )
    assert read_current(open_store(settings, for_writing=False)) is None


def test_a_file_that_vanishes_while_it_is_copied_is_told_and_the_next_sync_is_good(
    settings: Settings, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_file, victim = LocalStore.write_file, _laps_file(source)
    content = victim.read_bytes()

    def vanish(store: LocalStore, key: str, path: Path, **rest: object) -> object:
        if path.name == victim.name:
            victim.unlink(missing_ok=True)
        return write_file(store, key, path, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(LocalStore, "write_file", vanish)
    # Dagster would wait and try a transient error twice more; what is tested is what is told.
    monkeypatch.setattr("time.sleep", lambda _: None)
    outcome = sync(settings, ignore)
    assert outcome.exit_code == 1
    assert victim.name in outcome.failures[0].problem
    monkeypatch.undo()
    victim.write_bytes(content)
    healed: SyncOutcome = sync(settings, ignore)
    assert healed.exit_code == 0
    assert read_current(open_store(settings, for_writing=False)) is not None


def test_progress_adds_up_to_the_bytes_and_sessions_announced(settings: Settings) -> None:
    told: list[SyncEvent] = []
    sync(settings, told.append)
    for stage in ("copy", "derive"):
        announced = [event.total for event in told if event.stage == stage and event.total]
        assert [sum(event.done for event in told if event.stage == stage)] == announced


def test_a_track_that_the_user_names_later_takes_over_at_the_next_sync(settings: Settings, tmp_path: Path) -> None:
    assert [str(key) for key in sync(settings, ignore).derived] == [str(_R1)]
    tracks = tmp_path / "tracks.yaml"
    tracks.write_text("tracks: [{slug: mesa_verde, name: Mesa Verde, aliases: [mesa verde raceway]}]", encoding="utf-8")
    named = settings.model_copy(update={"tracks_file": tracks})
    assert [str(key) for key in sync(named, ignore).derived] == ["mesa_verde/R1"]
    assert sync(named, ignore).is_unchanged


def test_tables_that_somebody_deleted_are_made_again(settings: Settings) -> None:
    assert sync(settings, ignore).exit_code == 0
    store = open_store(settings, for_writing=True)
    for key in _tags(settings, "tables/laps/"):
        store.delete(key)
    assert sync(settings, ignore).derived == [_R1]
    assert _tags(settings, "tables/laps/")
