"""A folder that several machines ship: whoever renames a file has it, and the files of dead machines are taken over."""

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from apex_pipeline.events.claims import Claims
from apex_pipeline.events.folder import EventFile, list_folder
from apex_pipeline.events.report import ShipStatus
from apex_pipeline.events.watch import watch
from apex_pipeline_tests.events.harness import KEY, NAME, XML, Harness, only

_OTHER = "pit-wall-2"


def _claimed_by_other(harness: Harness, *, seconds_ago: float) -> Path:
    """Let another machine claim a file, of which the last sign of life is so old."""
    folder = harness.folder / ".claimed" / _OTHER
    folder.mkdir(parents=True)
    harness.write(NAME).rename(folder / NAME)
    sign, then_s = folder / ".alive", time.time() - seconds_ago
    sign.touch()
    os.utime(sign, (then_s, then_s))
    return folder


def _file(folder: Path) -> EventFile:
    (file,) = list_folder(folder).files
    return file


def test_files_that_a_living_machine_has_claimed_are_left_alone(harness: Harness) -> None:
    claims = _claimed_by_other(harness, seconds_ago=60)
    report = harness.ship(events_shared_folder=True)
    assert (report.files, report.exit_code) == ((), 0)
    assert (claims / NAME).read_bytes() == XML
    assert harness.objects() == {}


def test_files_of_a_machine_without_a_sign_for_two_minutes_are_taken_over(harness: Harness) -> None:
    claims = _claimed_by_other(harness, seconds_ago=121)
    assert only(harness.ship(events_shared_folder=True)).status is ShipStatus.SHIPPED
    assert harness.objects() == {KEY: XML}
    assert list(harness.done().values()) == [XML]
    assert not claims.exists()


def test_a_folder_of_one_machine_has_leftovers_of_any_name(harness: Harness) -> None:
    _claimed_by_other(harness, seconds_ago=0)
    assert only(harness.ship()).status is ShipStatus.SHIPPED
    assert harness.left() == []


def test_one_of_two_machines_gets_a_file(harness: Harness) -> None:
    harness.write(NAME)
    file = _file(harness.folder)
    first, second = (Claims(harness.folder, is_shared=True, host=host) for host in ("a", "b"))
    claimed = first.claim(file)
    assert claimed is not None
    assert claimed.path == harness.folder / ".claimed" / "a" / NAME
    assert second.claim(file) is None
    first.put_back(claimed)
    assert (harness.folder / NAME).read_bytes() == XML


def test_a_machine_gives_a_sign_of_life_when_it_claims(harness: Harness) -> None:
    claims = Claims(harness.folder, is_shared=True, host="a")
    claims.mark_alive()
    assert (harness.folder / ".claimed" / "a" / ".alive").exists()
    claims.clean_up()
    assert harness.left() == []


def test_a_folder_that_is_not_shared_gets_no_signs_of_life(harness: Harness) -> None:
    Claims(harness.folder, is_shared=False, host="a").mark_alive()
    assert harness.left() == []


def test_two_machines_ship_each_file_once(harness: Harness, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Two machines that mount one folder do not see each other's locks.
    monkeypatch.setattr("apex_pipeline.events.folder_lock.fcntl.flock", lambda *_: None)
    hosts = iter(("a", "b"))
    monkeypatch.setattr("apex_pipeline.events.claims.socket.gethostname", lambda: next(hosts))
    names = [f"20250729_1615{second:02}.xml" for second in range(24)]
    stop = threading.Event()
    failures: list[BaseException] = []

    def run(**settings: Any) -> None:
        try:
            config = harness.config(events_shared_folder=True, events_settle_s=0.2, events_poll_s=0.05, **settings)
            watch(config, uses_notifications=False, should_stop=stop)
        except BaseException as error:  # noqa: BLE001  -- raised in the test's own thread
            failures.append(error)

    machines = [threading.Thread(target=run, kwargs={"state_dir": tmp_path / host}) for host in "ab"]
    for machine in machines:
        machine.start()
    for number, name in enumerate(names):
        (harness.folder / name).write_bytes(XML * (number + 1))
    deadline_s = time.monotonic() + 20
    while len(harness.done()) < len(names) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    stop.set()
    for machine in machines:
        machine.join()
    assert failures == []
    expected = {name: XML * (number + 1) for number, name in enumerate(names)}
    assert harness.objects() == {f"xml-events/{name}": content for name, content in expected.items()}
    assert {path.rpartition("/")[2]: content for path, content in harness.done().items()} == expected
    assert harness.left() == []
