"""`apex race`: upload, status, list, worker, reprocess; and `apex gc` for uploads that were cut off."""

import csv
import io
import json
import os
import time
import uuid
from pathlib import Path

import pytest

from apex_pipeline.exit_codes import ExitCode
from apex_pipeline.races.queues import LocalQueue
from apex_pipeline.settings import load_settings
from apex_pipeline_tests.cli.conftest import Apex
from apex_pipeline_tests.races_service.conftest import two_laps

_SEED_KEYS = ["race_id", "status", "created_at", "updated_at", "raw_data_path", "laps_count"]


@pytest.fixture(autouse=True)
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests start the worker themselves."""
    monkeypatch.setattr(LocalQueue, "put", lambda *_: None)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "race.deflate"
    path.write_bytes(two_laps())
    return path


def _upload(apex: Apex, path: Path, *options: str) -> dict[str, str]:
    result = apex("race", "upload", str(path), "--json", *options)
    assert result.code == 0, result.error
    return json.loads(result.out)


@pytest.mark.req("C-001", "C-002", "C-007")
def test_a_race_is_uploaded_worked_on_shown_listed_and_read_again(apex: Apex, recording: Path) -> None:
    answer = _upload(apex, recording)
    assert list(answer) == ["race_id", "status", "job_id", "message"]
    race = answer["race_id"]
    noise = recording.with_name("noise")
    noise.write_bytes(b"no race")
    bad = _upload(apex, noise)["race_id"]
    assert "Processing" in apex("race", "status", race).out
    worked = apex("race", "worker", "--burst")
    assert f"{race}  Ready  3 laps" in worked.out, worked.error
    assert f"{bad}  Failed  0 laps  " in worked.out
    shown = json.loads(apex("race", "status", race, "--json").out)
    assert list(shown)[:6] == _SEED_KEYS
    assert (shown["status"], shown["laps_count"], shown["job_id"]) == ("Ready", 3, answer["job_id"])
    assert race in apex("race", "list", "--status", "ready").out
    assert [found["race_id"] for found in json.loads(apex("race", "list", "--status", "Failed", "--json").out)] == [bad]
    (row,) = csv.DictReader(io.StringIO(apex("race", "list", "--status", "Ready", "--csv").out))
    assert (row["race_id"], row["laps_count"]) == (race, "3")
    again = apex("race", "reprocess", race, bad, "--json")
    assert again.code == ExitCode.SOME_FAILED
    good, failed = json.loads(again.out)
    assert (good["status"], good["laps"], good["error"]) == ("Ready", 3, "")
    assert good["run_id"] != answer["job_id"]
    assert (failed["race_id"], failed["status"], failed["laps"]) == (bad, "Failed", 0)


def test_nothing_is_read_again_if_the_parser_is_the_same(apex: Apex) -> None:
    assert json.loads(apex("race", "reprocess", "--outdated", "--json").out) == []


def test_the_tables_are_made_by_a_command_of_their_own(apex: Apex) -> None:
    assert "has the tables of version 0001." in apex("race", "migrate").out


def test_the_same_file_is_the_same_race_unless_forced(apex: Apex, recording: Path) -> None:
    race = _upload(apex, recording)["race_id"]
    assert _upload(apex, recording)["duplicate_of"] == race
    assert _upload(apex, recording, "--force")["race_id"] != race


def test_what_cannot_be_done_is_refused_with_the_next_step(apex: Apex, tmp_path: Path) -> None:
    unknown = str(uuid.uuid4())
    for words, said in (
        (("status", "no-uuid"), "It is a UUID"),
        (("status", unknown), f"There is no race {unknown}."),
        (("reprocess", unknown), f"There is no race {unknown}."),
        (("reprocess",), "Give ids of races, or --outdated."),
        (("list", "--status", "lost"), "Use one of Processing, Ready, Failed."),
        (("upload", str(tmp_path / "nothing")), "Check the path."),
    ):
        result = apex("race", *words)
        assert result.code not in (0, ExitCode.SOME_FAILED), words
        assert said in result.error, result.error


def test_a_second_worker_on_the_same_machine_leaves_the_work_to_the_first(apex: Apex) -> None:
    with LocalQueue(load_settings().state_dir).working() as is_first:
        assert is_first
        assert "Another process on this machine" in apex("race", "worker", "--burst").out


def test_gc_sweeps_uploads_that_were_cut_off_a_day_ago(apex: Apex, recording: Path) -> None:
    race = _upload(apex, recording)["race_id"]
    folder = load_settings().lake_dir / "races"
    orphan, fresh = (folder / str(uuid.uuid4()) / "raw_data.deflate" for _ in range(2))
    for path in (orphan, fresh):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"cut off")
    old = time.time() - 25 * 3600
    os.utime(orphan, (old, old))
    listed = apex("gc")
    assert f"would remove  races/{orphan.parent.name}/raw_data.deflate, 7 bytes" in listed.out
    removed = json.loads(apex("gc", "--apply", "--json").out)
    assert [item["key"] for item in removed["race_objects"]] == [f"races/{orphan.parent.name}/raw_data.deflate"]
    assert not orphan.exists()
    assert fresh.exists()
    assert (folder / race / "raw_data.deflate").exists()


def test_gc_leaves_the_objects_of_another_database_alone(apex: Apex, recording: Path) -> None:
    _upload(apex, recording)
    database = load_settings().lake_dir.absolute().with_name("races.sqlite")
    for path in database.parent.glob("races.sqlite*"):
        path.unlink()
    database.touch()
    found = json.loads(apex("gc", "--apply", "--older-than-hours", "1", "--json").out)
    assert found["race_objects"] == []
    blobs = list(load_settings().lake_dir.glob("races/*/raw_data.deflate"))
    os.utime(blobs[0], (0, 0))
    result = apex("gc", "--apply")
    assert "Races were left out: " in result.out
    assert "Check DATABASE_URL" in result.out
    assert blobs[0].exists()
