"""A watch over a folder: producers of every kind, a second shipper, and the end by a signal."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import pytest

from apex_pipeline.errors import SourceError, StoreConfigError, StoreLockedError
from apex_pipeline.events.watch import watch
from apex_pipeline_tests.events.harness import KEY, NAME, XML, Harness
from apex_pipeline_tests.servers.fault_proxy import FaultProxy
from apex_pipeline_tests.servers.faults import delay_reply, refuse

# Short, so that the tests are; producers below pause for less.
_SETTLE_S = 0.6
_POLL_S = 0.1
_LIMIT_S = 20.0


@contextmanager
def _watching(harness: Harness, *, uses_notifications: bool = True, **settings: Any) -> Generator[None]:
    """Watch the folder during the block, in another thread."""
    stop = threading.Event()
    failures: list[BaseException] = []
    chosen = {"events_settle_s": _SETTLE_S, "events_poll_s": _POLL_S} | settings

    def run() -> None:
        try:
            watch(harness.config(**chosen), uses_notifications=uses_notifications, should_stop=stop)
        except BaseException as error:  # noqa: BLE001  -- raised in the test's own thread
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        if failures:
            raise failures[0]


def _until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + _LIMIT_S
    while not condition():
        assert time.monotonic() < deadline_s, "it did not happen"
        time.sleep(0.05)


def _has(harness: Harness, count: int) -> Callable[[], bool]:
    return lambda: len(list(harness.folder.glob("done/**/*.*"))) == count


@pytest.mark.parametrize("uses_notifications", [True, False], ids=["notifications", "listings only"])
def test_files_are_shipped_as_they_arrive(harness: Harness, *, uses_notifications: bool) -> None:
    with _watching(harness, uses_notifications=uses_notifications):
        for number in range(3):
            (harness.folder / f"20250729_16150{number}.xml").write_bytes(XML * (number + 1))
        _until(_has(harness, 3))
    assert len(harness.objects()) == 3


def test_a_slow_producer_never_has_half_a_file_shipped(harness: Harness) -> None:
    pieces = [b"<EVENTS>", *[b"<EVENT/>"] * 8, b"</EVENTS>"]
    with _watching(harness):
        with (harness.folder / NAME).open("wb") as file:
            for piece in pieces:
                file.write(piece)
                file.flush()
                time.sleep(_SETTLE_S / 4)
            # Longer than the settle time: the file is still open.
            time.sleep(1.5 * _SETTLE_S)
            assert harness.objects() == {}
            file.write(b"\n")
        _until(_has(harness, 1))
    assert harness.objects() == {KEY: b"".join(pieces) + b"\n"}


def test_a_producer_that_renames_is_served_at_once(harness: Harness) -> None:
    with _watching(harness, events_settle_s=60, events_poll_s=0.1):
        hidden = harness.folder / ".new"
        hidden.write_bytes(XML)
        time.sleep(0.05)  # longer than a tick of the file system's clock
        hidden.rename(harness.folder / NAME)
        _until(_has(harness, 1))
    assert harness.objects() == {KEY: XML}


def test_a_producer_that_copies_and_truncates_loses_nothing(harness: Harness) -> None:
    current = harness.folder / "current.xml"
    with _watching(harness):
        for second in range(3):
            current.write_bytes(XML * (1000 * (second + 1)))
            shutil.copyfile(current, harness.folder / f"20250729_16150{second}.xml")
            os.truncate(current, 0)
        _until(_has(harness, 3))
    assert sorted(map(len, harness.objects().values())) == [len(XML) * 1000 * (second + 1) for second in range(3)]
    assert harness.left() == ["current.xml"]


def test_a_producer_that_uses_a_name_again_within_a_second_overwrites_nothing(harness: Harness) -> None:
    contents = [XML.replace(b"lap", f"lap{number}".encode()) for number in range(4)]
    with _watching(harness, events_settle_s=60):
        for number, content in enumerate(contents):
            hidden = harness.folder / f".new{number}"
            hidden.write_bytes(content)
            time.sleep(0.02)
            _until(lambda: not (harness.folder / NAME).exists())
            hidden.rename(harness.folder / NAME)
        _until(_has(harness, 4))
    assert sorted(harness.objects().values()) == contents
    assert sorted(harness.done().values()) == contents


def test_a_folder_that_comes_back_is_shipped(harness: Harness) -> None:
    with _watching(harness):
        _until(lambda: any(harness.state_dir.glob("*.holder")))
        harness.folder.rename(harness.folder.with_name("away"))
        time.sleep(3 * _POLL_S)
        harness.folder.with_name("away").rename(harness.folder)
        (harness.folder / NAME).write_bytes(XML)
        _until(_has(harness, 1))
    assert harness.objects() == {KEY: XML}


def test_a_second_shipper_of_a_folder_is_refused_or_waits(harness: Harness) -> None:
    with _watching(harness):
        _until(lambda: any(harness.state_dir.glob("*.holder")))
        with pytest.raises(StoreLockedError, match=rf"Another process \(process {os.getpid()}\) is shipping"):
            harness.ship()
        with _watching(harness):
            (harness.folder / NAME).write_bytes(XML)
            _until(_has(harness, 1))
    assert harness.objects() == {KEY: XML}


def test_a_watch_fails_at_once_where_it_could_never_ship(harness: Harness) -> None:
    with pytest.raises(StoreConfigError, match="no such bucket"):
        watch(harness.config(event_bucket="no-such-bucket"))
    harness.folder.rmdir()
    with pytest.raises(SourceError, match="does not exist"):
        watch(harness.config())


def test_credentials_that_expire_are_told_once_and_the_file_waits(
    proxied: Harness, fault_proxy: FaultProxy, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apex_pipeline.events.watch._AFTER_FAILURE_S", 0.2)
    fault_proxy.inject(refuse(400, "ExpiredToken"), method="PUT", contains=NAME, times=3)
    with _watching(proxied):
        (proxied.folder / NAME).write_bytes(XML)
        _until(_has(proxied, 1))
    told = [record for record in caplog.records if record.name.endswith("events.watch") and record.levelname == "ERROR"]
    assert len(told) == 1
    assert "the credentials have expired" in told[0].getMessage()
    assert fault_proxy.count("PUT", NAME) == 4


@pytest.mark.parametrize(
    "number",
    [pytest.param(signal.SIGTERM, marks=pytest.mark.slow), pytest.param(signal.SIGINT, marks=pytest.mark.soak)],
)
def test_a_signal_ends_the_watch_after_the_file_in_hand(
    proxied: Harness, fault_proxy: FaultProxy, number: signal.Signals
) -> None:
    for second in range(3):
        proxied.write(f"20250729_16150{second}.xml")
    fault_proxy.inject(delay_reply(1), method="PUT", contains="xml-events", times=3)
    command = [sys.executable, "-m", "apex_pipeline", "events", "watch", str(proxied.folder)]
    environment = proxied.environment(EVENTS_SETTLE_S="0")
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    _until(lambda: fault_proxy.count("PUT", "xml-events") == 1)
    started_s = time.monotonic()
    process.send_signal(number)
    output, _ = process.communicate(timeout=30)
    assert time.monotonic() - started_s < 10
    assert process.returncode == 128 + number
    assert b"Traceback" not in output
    assert len(proxied.objects()) == len(proxied.done()) == 1
    assert not (proxied.folder / ".claimed").exists() or not any((proxied.folder / ".claimed").rglob("*.xml"))
    assert len(proxied.left()) == 2
