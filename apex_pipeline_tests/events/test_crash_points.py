"""Kills a shipper before each single thing it does to a disk, the network or the journal, one after the other.

``test_crashes.py`` names the steps; this enumerates what the operating system sees of them, so that a step that is
added later is killed, too.
"""

import os
import sys
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from apex_pipeline.events.journal import EntryState, Journal
from apex_pipeline.events.ship import ship_once
from apex_pipeline_tests.events.harness import XML, Harness

_KILLED = 9
# What changes something that another process can see, told by the interpreter before it happens.
_CHANGES = frozenset({"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.utime", "http.client.send"})
# More than a pass over three files has; beyond it, something repeats for ever.
_MOST_POINTS = 200


def _die_at(point: int) -> None:
    """End this process without cleaning up before its n-th change, entries of the journal included."""
    left = point

    def step() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os._exit(_KILLED)

    def audit(event: str, _: tuple[Any, ...]) -> None:
        if event in _CHANGES:
            step()

    real_put: Callable[..., None] = Journal.put

    def put(*arguments: Any) -> None:
        step()
        real_put(*arguments)
        step()

    setattr(Journal, "put", put)  # noqa: B010  -- in a process that ends in a moment
    sys.addaudithook(audit)


def _is_killed_at(harness: Harness, point: int, **settings: Any) -> bool:
    """Ship in a child process that is killed at a point; ``False`` if it ended before."""
    child = os.fork()
    if not child:
        try:
            _die_at(point)
            ship_once(harness.config(**settings))
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, _KILLED)
    return code == _KILLED


def _check_every_point(harness: Harness, files: int, **settings: Any) -> int:
    """Ship new files once per point, kill there, complete it, and return the number of points."""
    harness.ship()  # the fork inherits what importing boto3 takes
    stored: dict[str, bytes] = {}
    for point in count(1):
        assert point < _MOST_POINTS
        names = [f"20250729_16{point // 60:02}{point % 60:02}_{number}.xml" for number in range(files)]
        for name in names:
            harness.write(name, XML + name.encode().join((b"<!--", b"-->")))
            stored[f"xml-events/{name}"] = (harness.folder / name).read_bytes()
        was_killed = _is_killed_at(harness, point, **settings)
        report = harness.ship(**settings)
        assert report.exit_code == 0, (point, report.summary)
        assert harness.bucket.object_keys() == sorted(stored), point
        assert [name for name in harness.left() if name.startswith(".")] == [], point
        if not was_killed:
            assert harness.objects() == stored
            return point - 1
    raise AssertionError("unreachable: there is no end to the points")


def _assert_done_once(harness: Harness, stored: dict[str, bytes]) -> None:
    done = {f"xml-events/{path.rpartition('/')[2]}": content for path, content in harness.done().items()}
    assert len(harness.done()) == len(stored)
    assert done == stored
    assert harness.left() == []
    assert {entry.state for entry in harness.entries()} == {EntryState.DONE}


@pytest.mark.soak
@pytest.mark.req("B-020")
def test_a_file_is_there_once_whatever_the_shipper_was_about_to_do(harness: Harness) -> None:
    # Claim, four changes of the journal, headers and body of two requests, link, unlink: more than ten.
    assert _check_every_point(harness, files=1) > 10
    _assert_done_once(harness, harness.objects())


@pytest.mark.soak
@pytest.mark.parametrize("on_success", ["move", "delete", "keep"])
def test_three_files_are_there_once_whatever_the_shipper_was_about_to_do(harness: Harness, on_success: str) -> None:
    assert _check_every_point(harness, files=3, events_on_success=on_success) > 15
    if on_success == "move":
        _assert_done_once(harness, harness.objects())
    else:
        assert len(harness.left()) == (len(harness.objects()) if on_success == "keep" else 0)
