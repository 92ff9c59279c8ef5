"""Whether a process is still alive, judged later by its identity."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from apex_pipeline.process import identity
from apex_pipeline.process.identity import ProcessIdentity, this_process

_SAY_WHO = """
from apex_pipeline.process.identity import this_process
own = this_process(); print(own.pid, own.started, flush=True); input()
"""


@contextmanager
def _child() -> Generator[tuple[subprocess.Popen[str], ProcessIdentity]]:
    with subprocess.Popen(
        [sys.executable, "-c", _SAY_WHO], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        pid, _, started = process.stdout.readline().strip().partition(" ")
        yield process, replace(this_process(), pid=int(pid), started=started)
        process.kill()


def test_this_process_is_alive() -> None:
    assert this_process().pid == os.getpid()
    assert this_process().is_local
    assert not this_process().is_dead


def test_another_process_is_alive_until_it_is_killed() -> None:
    with _child() as (process, known):
        assert not known.is_dead
        process.send_signal(signal.SIGSTOP)
        assert not known.is_dead
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # leaves a zombie
        assert known.is_dead
        process.wait()
        assert known.is_dead


def test_a_reused_process_id_is_another_process() -> None:
    assert replace(this_process(), started="1").is_dead


def test_a_process_without_a_known_start_is_judged_by_its_id() -> None:
    assert not replace(this_process(), started="").is_dead


@pytest.mark.parametrize("change", [{"host": "elsewhere"}, {"namespace": "pid:[1]"}])
def test_processes_of_other_machines_and_containers_are_never_called_dead(change: dict[str, str]) -> None:
    other = replace(this_process(), pid=2**22 + 1, **change)
    assert not other.is_local
    assert not other.is_dead


def test_two_machines_of_one_name_are_told_apart_by_their_boot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    elsewhere = replace(this_process(), pid=2**22 + 1)  # would be dead here
    assert elsewhere.is_dead
    boot = tmp_path / "sys" / "kernel" / "random" / "boot_id"
    boot.parent.mkdir(parents=True)
    boot.write_text("6f0fc1d2-0000-4000-8000-000000000001\n")
    (tmp_path / "self" / "ns").mkdir(parents=True)
    (tmp_path / "self" / "ns" / "pid").symlink_to("/proc/self/ns/pid")  # the same PID namespace
    monkeypatch.setattr(identity, "_PROC", tmp_path)
    assert not elsewhere.is_local
    assert not elsewhere.is_dead


def test_without_proc_the_start_is_asked_of_ps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(identity, "_PROC", tmp_path)
    own = this_process()
    assert not own.is_dead
    if own.started:  # ps is not installed everywhere
        assert replace(own, started="Thu Jan  1 00:00:00 1970").is_dead


def test_a_process_hidden_by_proc_is_not_called_dead(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = this_process()
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "stat").touch()
    monkeypatch.setattr(identity, "pid_namespace", lambda: own.namespace)
    monkeypatch.setattr(identity, "_PROC", tmp_path)
    assert not own.is_dead
