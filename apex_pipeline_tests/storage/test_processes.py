"""Tests of process identities; see contract/test_leases.py for takeovers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from apex_pipeline.process import identity
from apex_pipeline.process.identity import pid_namespace
from apex_pipeline.storage import processes
from apex_pipeline.storage.processes import has_ended, is_alive, process_scope, this_process


def test_a_process_knows_itself_and_is_alive() -> None:
    found = this_process()
    assert found.pid == os.getpid()
    assert found.started > 0
    assert not has_ended(found)
    assert this_process() == found


def test_a_child_is_another_process_until_it_has_ended() -> None:
    program = "from apex_pipeline.storage.processes import *; print(tuple(this_process()), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    ) as child:
        assert child.stdout is not None
        line = child.stdout.readline()
        host, namespace, pid, started = eval(line)  # noqa: S307  -- printed by this test's own child
        found = processes.ProcessId(host, namespace, pid, started)
        assert (found.host, found.namespace) == this_process()[:2]
        assert not has_ended(found)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, but still in the list of processes
        assert has_ended(found)
        child.wait()
        assert has_ended(found)


def test_a_process_hidden_from_this_user_counts_as_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_read_stat", lambda _: None)
    assert not has_ended(this_process()._replace(started=5))


def test_nothing_is_concluded_on_a_system_that_reports_no_namespaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "_PROC", tmp_path)
    assert pid_namespace() == ""
    assert not has_ended(this_process()._replace(pid=2**22 + 1))
    assert process_scope()


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 1, 2**31, 2**64])
def test_an_impossible_process_id_is_not_alive(pid: int) -> None:
    assert not is_alive(pid)
