"""A shipper that dies between any two steps: the next one completes its work, and nothing is lost or doubled."""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from apex_pipeline.events.claims import Claims
from apex_pipeline.events.journal import EntryState, Journal
from apex_pipeline.events.ship import ship_once
from apex_pipeline.storage.s3.once import WriteOnceStore
from apex_pipeline_tests.events.harness import KEY, NAME, XML, Harness

_KILLED = 9


def _dies_in(harness: Harness, patch: Callable[[], None], **settings: Any) -> None:
    """Ship in a child process that ends at once, without cleaning up, where ``patch`` makes it."""
    child = os.fork()
    if not child:
        try:
            patch()
            ship_once(harness.config(**settings))
        finally:
            sys.stderr.flush()
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert abs(os.waitstatus_to_exitcode(status)) == _KILLED


def _die_if_there(path: str) -> None:
    if os.path.lexists(path):
        os._exit(_KILLED)
    raise FileNotFoundError


def _die_after(owner: type, name: str, *, when: Callable[[tuple[Any, ...]], bool] = lambda _: True) -> None:
    original = getattr(owner, name)

    def dying(*arguments: Any, **options: Any) -> Any:
        result = original(*arguments, **options)
        if when(arguments):
            os._exit(_KILLED)
        return result

    setattr(owner, name, dying)


def _is_put_of(state: EntryState) -> Callable[[tuple[Any, ...]], bool]:
    return lambda arguments: arguments[1].state is state


_STEPS: dict[str, Callable[[], None]] = {
    "claimed": lambda: _die_after(Claims, "_take"),
    "recorded as being sent": lambda: _die_after(Journal, "put", when=_is_put_of(EntryState.SENDING)),
    "looked up": lambda: _die_after(WriteOnceStore, "find"),
    "sent": lambda: _die_after(WriteOnceStore, "write_once"),
    "recorded as delivered": lambda: _die_after(Journal, "put", when=_is_put_of(EntryState.DELIVERED)),
    "linked to done": lambda: setattr(os, "unlink", _die_if_there),
    "moved": lambda: _die_after(Claims, "move_to_done"),
    "recorded as done": lambda: _die_after(Journal, "put", when=_is_put_of(EntryState.DONE)),
}


@pytest.mark.req("B-020")
@pytest.mark.parametrize("step", _STEPS)
def test_a_file_is_there_once_wherever_the_shipper_died(harness: Harness, step: str) -> None:
    harness.ship()  # the fork inherits what importing boto3 takes
    harness.write(NAME)
    _dies_in(harness, _STEPS[step])
    report = harness.ship()
    assert report.exit_code == 0
    assert harness.objects() == {KEY: XML}
    assert harness.done() == {f"2025/07/29/{NAME}": XML}
    assert harness.left() == []
    (entry,) = harness.entries()
    assert (entry.state, entry.moved_to) == (EntryState.DONE, harness.folder / "done/2025/07/29" / NAME)


def test_a_file_is_there_once_if_the_journal_died_with_the_shipper(harness: Harness) -> None:
    harness.write(NAME)
    _dies_in(harness, _STEPS["sent"])
    for path in harness.state_dir.glob("events*"):
        path.unlink()
    assert harness.ship()
    assert (harness.objects(), harness.done(), harness.left()) == ({KEY: XML}, {f"2025/07/29/{NAME}": XML}, [])


def _die_in_the_copy() -> None:
    def copy(reader: BinaryIO, writer: BinaryIO, _: int) -> None:
        writer.write(reader.read(len(XML) // 2))
        writer.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(shutil, "copyfileobj", copy)  # noqa: B010  -- in a process that ends in a moment


@pytest.mark.parametrize(
    "patch", [_die_in_the_copy, _STEPS["linked to done"]], ids=["half a copy", "linked to its name"]
)
def test_a_kill_while_a_file_is_copied_to_another_file_system_leaves_nothing_behind(
    harness: Harness, done_elsewhere: Path, patch: Callable[[], None]
) -> None:
    harness.ship()
    harness.write(NAME)
    _dies_in(harness, patch)
    (unfinished,) = done_elsewhere.rglob(".*.part")
    assert unfinished.exists()
    assert harness.ship().exit_code == 0
    assert [path.name for path in done_elsewhere.rglob("*") if path.is_file()] == [NAME]
    assert (harness.objects(), harness.done(), harness.left()) == ({KEY: XML}, {f"2025/07/29/{NAME}": XML}, [])
