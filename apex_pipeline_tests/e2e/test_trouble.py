"""Tests syncs with failures: a failed session keeps its previous tables and does not stop the others."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from apex_pipeline.demo import GroundTruth
from apex_pipeline.errors import PermanentError, StorageFullError
from apex_pipeline.lake.snapshot import read_current
from apex_pipeline.orchestration.command_sync import sync
from apex_pipeline.orchestration.sync import SyncEvent, SyncOutcome
from apex_pipeline.settings import Settings
from apex_pipeline.sources.base import FileIdentity, Reject
from apex_pipeline.sources.gr_cup import derive
from apex_pipeline.sources.gr_cup.laps.triggers import Trigger, read_triggers
from apex_pipeline.storage.factory import open_store
from apex_pipeline.storage.layout import object_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.e2e.conftest import ignore, settings_in

_RACE = "Mesa Verde Raceway/Race {n}"
_R1 = SessionKey("mesa_verde_raceway", "R1")
_R2 = SessionKey("mesa_verde_raceway", "R2")


@pytest.fixture
def source(weekend: tuple[Path, GroundTruth], tmp_path: Path) -> Path:
    """A copy of one race of the weekend without its telemetry, for tests to damage."""
    folder = tmp_path / "source"
    shutil.copytree(weekend[0] / _RACE.format(n=1), folder / _RACE.format(n=1))
    return folder


@pytest.fixture
def settings(tmp_path: Path, source: Path) -> Settings:
    return settings_in(tmp_path, source)


def _tags(settings: Settings, prefix: str) -> dict[str, str]:
    return {item.key: item.tag for item in open_store(settings, for_writing=False).list(prefix)}


def _edit(path: Path, change: Callable[[str], str]) -> None:
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8", newline="")


def _laps_file(source: Path, n: int = 1) -> Path:
    return source / _RACE.format(n=n) / f"mesa_lap_end_time_R{n}.csv"


def test_a_failed_session_keeps_its_tables_and_the_others_are_derived(
    settings: Settings, source: Path, weekend: tuple[Path, GroundTruth], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sync(settings, ignore).exit_code == 0
    tags_before = _tags(settings, f"tables/laps/track={_R1.track}/session=R1")
    before = read_current(open_store(settings, for_writing=False))
    assert before is not None

    def fail(stream: BinaryIO, identity: FileIdentity, *rest: Any) -> tuple[list[Trigger], list[Reject]]:
        if identity.session == "R1":
            raise PermanentError(f"{identity.path} line 7 makes no sense.", "Export it again.")
        return read_triggers(stream, identity, *rest)

    monkeypatch.setattr(derive, "read_triggers", fail)
    _edit(_laps_file(source), lambda text: text.replace("GR86-006-7", "GR86-006-9"))
    shutil.copytree(weekend[0] / _RACE.format(n=2), source / _RACE.format(n=2))
    events: list[SyncEvent] = []
    outcome = sync(settings, events.append)
    assert outcome.exit_code == 1
    assert outcome.derived == [_R2]
    (failure,) = outcome.failures
    assert (failure.stage, failure.session) == ("derive", str(_R1))
    assert "line 7 makes no sense. Export it again." in failure.problem
    assert any(event.message.startswith("failed: ") and event.session == str(_R1) for event in events)
    assert _tags(settings, f"tables/laps/track={_R1.track}/session=R1") == tags_before
    after = read_current(open_store(settings, for_writing=False))
    assert after is not None
    assert after.session(_R1) == before.session(_R1)
    assert after.session(_R2) is not None

    monkeypatch.setattr(derive, "read_triggers", read_triggers)
    retry = sync(settings, ignore)
    assert (retry.exit_code, retry.derived) == (0, [_R1])


def test_an_unexpected_exception_is_reported_and_not_retried(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[object] = []

    def fail(*_: object) -> object:
        calls.append(1)
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(derive, "derive_laps", fail)
    outcome = sync(settings, ignore)
    assert outcome.exit_code == 1
    assert "ZeroDivisionError: division by zero" in outcome.failures[0].problem
    assert len(calls) == 1


def test_unusable_files_are_quarantined_and_the_session_is_derived_from_the_rest(
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


def test_a_full_disk_is_reported_with_the_next_step(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> object:
        raise StorageFullError("Writing the lake: no space left.", "Free some space.")

    monkeypatch.setattr(LocalStore, "write_file", refuse)
    outcome = sync(settings, ignore)
    assert outcome.exit_code == 1
    assert any(
        "no space left" in failure.problem and "Free some space" in failure.problem for failure in outcome.failures
    )
    assert read_current(open_store(settings, for_writing=False)) is None


def _pass_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every wait move the clock on instead: Dagster waits 5 and 10 s before the retries of a transient error."""
    now, waited_s = time.time, [0.0]
    monkeypatch.setattr("time.sleep", waited_s.append)
    monkeypatch.setattr("time.time", lambda: now() + sum(waited_s))


def test_a_file_deleted_during_the_copy_fails_and_the_next_sync_succeeds(
    settings: Settings, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_file, deleted = LocalStore.write_file, _laps_file(source)
    content = deleted.read_bytes()

    def delete_and_write(store: LocalStore, key: str, path: Path, **rest: object) -> object:
        if path.name == deleted.name:
            deleted.unlink(missing_ok=True)
        return write_file(store, key, path, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(LocalStore, "write_file", delete_and_write)
    _pass_waits(monkeypatch)
    outcome = sync(settings, ignore)
    assert outcome.exit_code == 1
    assert deleted.name in outcome.failures[0].problem
    monkeypatch.undo()
    deleted.write_bytes(content)
    retry: SyncOutcome = sync(settings, ignore)
    assert retry.exit_code == 0
    assert read_current(open_store(settings, for_writing=False)) is not None


@pytest.mark.slow
def test_progress_adds_up_to_the_announced_total(settings: Settings) -> None:
    events: list[SyncEvent] = []
    sync(settings, events.append)
    for stage in ("copy", "derive"):
        totals = [event.total for event in events if event.stage == stage and event.total]
        assert [sum(event.done for event in events if event.stage == stage)] == totals


@pytest.mark.slow
def test_a_track_alias_added_by_the_user_applies_at_the_next_sync(settings: Settings, tmp_path: Path) -> None:
    assert [str(key) for key in sync(settings, ignore).derived] == [str(_R1)]
    tracks = tmp_path / "tracks.yaml"
    tracks.write_text("tracks: [{slug: mesa_verde, name: Mesa Verde, aliases: [mesa verde raceway]}]", encoding="utf-8")
    with_alias = settings.model_copy(update={"tracks_file": tracks})
    assert [str(key) for key in sync(with_alias, ignore).derived] == ["mesa_verde/R1"]
    assert sync(with_alias, ignore).is_unchanged


@pytest.mark.slow
def test_a_deleted_table_is_restored_from_its_copy_and_without_one_derived_again(settings: Settings) -> None:
    assert sync(settings, ignore).exit_code == 0
    store = open_store(settings, for_writing=True)
    (name,) = _tags(settings, "tables/laps/")
    table = store.read_bytes(name)

    store.delete(name)
    healed = sync(settings, ignore)
    assert (healed.exit_code, healed.derived, len(healed.notes)) == (0, [], 1)
    assert store.read_bytes(name) == table

    store.delete(name)
    store.delete(object_key(hashlib.sha256(table).hexdigest()))
    assert sync(settings, ignore).derived == [_R1]
    assert store.read_bytes(name) == table
