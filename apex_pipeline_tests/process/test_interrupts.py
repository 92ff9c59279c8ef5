"""Signals end a process in order, and within seconds whatever it is doing. Every process here is a real one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from apex_pipeline.process import interrupts
from apex_pipeline.process.interrupts import (
    Interrupted,
    before_abort,
    interruption,
    pause,
    raise_if_interrupted,
    report_interruption,
    signals_watched,
    watch_signals,
)

_HEAD = """
import os, sys, threading, time
from apex_pipeline.process import interrupts
interrupts.watch_signals()
def ready():
    print("ready", flush=True)
def run(body):
    try:
        body()
        interrupts.raise_if_interrupted()
    except KeyboardInterrupt as error:
        sys.exit(interrupts.report_interruption(error))
"""
_SLEEP = """
def body():
    ready(); time.sleep(60)
"""
_PYTHON_LOOP = """
def body():
    ready()
    while True: pass
"""
# Returns to Python after minutes; releases the interpreter lock.
_NATIVE = """
def body():
    import hashlib
    threading.Timer(0.2, ready).start()
    hashlib.pbkdf2_hmac("sha256", b"a", b"b", 1_000_000_000)
"""
_THREADS = """
def body():
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(time.sleep, 60); ready(); work.result()
"""
# What Dagster does during a run: its own handlers, which only note the signal.
_HANDLERS_REPLACED = """
def body():
    import signal
    signal.signal(signal.SIGTERM, lambda *_: None); signal.signal(signal.SIGINT, lambda *_: None)
    ready(); time.sleep(1)
"""
_CLEANING_UP = """
def body():
    try:
        ready(); time.sleep(60)
    finally:
        print("cleaned up", flush=True)
"""


class _Child:
    """A Python process that runs a script and has printed "ready"."""

    def __init__(self, script: str, *prefix: str) -> None:
        # The tests themselves may run under nohup, and a process inherits which signals are ignored.
        command = [*(prefix or ("env", "--default-signal=HUP")), sys.executable, "-c", script]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        self.code: int | None = None
        self.out = self.error = ""

    def send(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self) -> float:
        """Wait for the end, and return the seconds it took."""
        started_s = time.monotonic()
        try:
            self.out, self.error = self._process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()  # or the loop would keep a core busy after the tests
            self._process.communicate()
            raise
        self.code = self._process.returncode
        return time.monotonic() - started_s


def _script(body: str, *, grace_s: float = 60) -> str:
    return f"{_HEAD}interrupts.GRACE_S = {grace_s}\n{body}\nrun(body)\n"


def _with_callback(callback: str) -> str:
    return f"""{_NATIVE}
inner = body
def body():
    with interrupts.before_abort(lambda: {callback}):
        inner()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
@pytest.mark.parametrize("body", [_SLEEP, _PYTHON_LOOP], ids=["sleep", "loop"])
def test_a_signal_ends_the_process_with_its_code_and_one_line(body: str, number: signal.Signals, code: int) -> None:
    child = _Child(_script(body))
    child.send(number)
    child.wait()
    assert child.code == code
    assert child.error.startswith("Stopped by ")
    assert child.error.count("\n") == 1


def test_what_is_in_progress_is_cleaned_up() -> None:
    child = _Child(_script(_CLEANING_UP))
    child.send(signal.SIGTERM)
    child.wait()
    assert (child.code, child.out) == (143, "cleaned up\n")


@pytest.mark.parametrize("body", [_NATIVE, _THREADS], ids=["native code", "threads"])
def test_a_step_that_cannot_be_interrupted_ends_after_the_grace_period(body: str) -> None:
    child = _Child(_script(body, grace_s=0.3))
    child.send(signal.SIGTERM)
    assert child.wait() < 10
    assert child.code == 143
    assert "did not end within" in child.error
    assert "Traceback" not in child.error


def test_callbacks_run_before_the_process_is_ended() -> None:
    body = _with_callback("print('lease', flush=True)")
    child = _Child(_script(body, grace_s=0.3))
    child.send(signal.SIGTERM)
    child.wait()
    assert (child.code, child.out) == (143, "lease\n")


def test_a_callback_that_hangs_does_not_keep_the_process_alive() -> None:
    body = _with_callback("time.sleep(60)")
    child = _Child(_script(body, grace_s=0.3))
    child.send(signal.SIGTERM)
    assert child.wait() < 10
    assert child.code == 143


def test_a_second_ctrl_c_ends_the_process_at_once() -> None:
    child = _Child(_script(_NATIVE))
    child.send(signal.SIGINT)
    time.sleep(0.5)
    child.send(signal.SIGINT)
    assert child.wait() < 10
    assert child.code == 130
    assert child.error.startswith("Stopped at once")


def test_a_signal_is_not_lost_if_a_library_replaces_the_handlers() -> None:
    child = _Child(_script(_HANDLERS_REPLACED))
    child.send(signal.SIGTERM)
    child.wait()
    assert child.code == 143


def test_an_ignored_hang_up_stays_ignored() -> None:
    child = _Child(_script(_SLEEP), "nohup")
    child.send(signal.SIGHUP)
    time.sleep(0.3)
    child.send(signal.SIGTERM)
    child.wait()
    assert child.code == 143


def test_a_stopped_process_continues() -> None:
    child = _Child(_script("def body():\n    ready(); time.sleep(0.5)\n"))
    child.send(signal.SIGTSTP)
    child.send(signal.SIGCONT)
    child.wait()
    assert (child.code, child.error) == (0, "")


def test_a_pause_ends_with_the_signal_in_every_thread() -> None:
    body = """
def body():
    def work():
        try: interrupts.pause(60)
        except interrupts.Interrupted: print("woken", flush=True)
    threading.Thread(target=work).start()
    ready(); time.sleep(60)
"""
    child = _Child(_script(f"{body}\n"))
    child.send(signal.SIGTERM)
    assert child.wait() < 10
    assert (child.code, child.out) == (143, "woken\n")


def test_a_signal_during_the_import_of_the_commands_prints_no_traceback(tmp_path: Path) -> None:
    # Stands for the slow imports: a module that says when it is being imported.
    (tmp_path / "slow_import.py").write_text(
        "import sys, importlib.abc, time\n"
        "class Slow(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'apex_pipeline.cli': print('ready', flush=True); time.sleep(60)\n"
        "sys.meta_path.insert(0, Slow())\n"
    )
    script = f"""
import sys; sys.path.insert(0, {str(tmp_path)!r})
import slow_import, runpy
runpy.run_module("apex_pipeline", run_name="__main__")
"""
    child = _Child(script)
    child.send(signal.SIGINT)
    child.wait()
    assert child.code == 130
    assert child.error.startswith("Stopped by Ctrl+C")
    assert "Traceback" not in child.error


def test_without_a_signal_nothing_is_interrupted() -> None:
    before = signal.getsignal(signal.SIGTERM), sys.unraisablehook
    with signals_watched(), before_abort(lambda: pytest.fail("nothing ends here")):
        assert signal.getsignal(signal.SIGTERM) is not before[0]
        assert interruption() is None
        raise_if_interrupted()
        pause(0)
        with signals_watched():
            pass
        assert signal.getsignal(signal.SIGTERM) is not before[0]
    assert (signal.getsignal(signal.SIGTERM), sys.unraisablehook) == before
    pause(0)
    raise_if_interrupted()


def test_a_watched_signal_is_raised_once_and_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Without the thread that would end this process.
    monkeypatch.setattr("apex_pipeline.process.interrupts._Watch._run", lambda _: None)
    monkeypatch.setattr(interrupts, "_watch", None)
    watch_signals()
    watch = interrupts._watch  # pyright: ignore[reportPrivateUsage]
    assert watch is not None
    interrupts.set_activity("the stage copy")
    with pytest.raises(Interrupted) as caught:
        signal.raise_signal(signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)  # while cleaning up
    assert str(interruption()) == "SIGTERM"
    assert report_interruption(caught.value) == 143
    assert capsys.readouterr().err.startswith("Stopped by SIGTERM during the stage copy. Nothing is left half done;")
    interrupts.set_outlook("It only reads.")
    report_interruption(caught.value)
    assert capsys.readouterr().err == "Stopped by SIGTERM during the stage copy. It only reads.\n"
    with pytest.raises(Interrupted):
        pause(10)
    watch.received.clear()
    watch.stop()


def test_a_keyboard_interrupt_without_a_signal_counts_as_ctrl_c(capsys: pytest.CaptureFixture[str]) -> None:
    assert report_interruption(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err.startswith("Stopped by Ctrl+C.")
