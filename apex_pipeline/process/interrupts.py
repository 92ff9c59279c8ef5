"""Ends the process in an orderly way on Ctrl+C (SIGINT), SIGTERM or SIGHUP, and always within ten seconds.

The first signal raises :class:`Interrupted` in the main thread, so every ``finally`` on the way out runs: temporary
files are removed and runs are closed. Three things delay or swallow that exception: native code, which Python does not
interrupt; a wait for threads that are waiting for a network; and Dagster, which replaces the signal handlers during a
run. A thread that is woken by Python's C-level signal handler therefore keeps its own record. Code asks for it with
:func:`raise_if_interrupted`, and if the process has not ended after :data:`GRACE_S`, the thread ends it.

Ending at any point is safe, because everything must survive SIGKILL anyway; an orderly end only leaves less behind.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from types import FrameType

# Docker and Kubernetes send SIGKILL 10 and 30 s after SIGTERM. Closing a run takes 0.1 s, aborting an upload a request.
GRACE_S = 6.0
# How long the callbacks of `before_abort` may take after that.
_ABORT_S = 1.5
# A signal is often delivered twice for one key press: by the terminal, and forwarded by the parent process.
_SAME_REQUEST_S = 0.1
_EXIT_CODE_BASE = 128
_SHOW_CURSOR = b"\x1b[?25h"


class Interrupted(KeyboardInterrupt):
    """This process was asked to end.

    A ``KeyboardInterrupt``, which libraries let pass and clean up after.

    Args:
        signal_number: The signal received.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number

    def __str__(self) -> str:
        return signal_name(self.signal_number)


class _Watch:
    """Watches the signals from when it is created until it is stopped."""

    def __init__(self) -> None:
        self.received = threading.Event()
        self.has_raised = False
        self.signal_number = 0
        self.activity = ""
        self.outlook = ""
        self.abort_callbacks: list[Callable[[], None]] = []
        # Dagster redirects file descriptor 2 into a run's log.
        self._stderr = _duplicate_stderr()
        self._read_end, self._write_end = os.pipe()
        if os.name != "nt":
            os.set_blocking(self._write_end, False)
        self._previous_wakeup = signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)
        self._previous = {number: signal.signal(number, self._raise) for number in _watched_signals()}
        self._previous_hooks = sys.unraisablehook, threading.excepthook
        sys.unraisablehook, threading.excepthook = self._on_unraisable, self._on_thread_error
        threading.Thread(target=self._run, name="signals", daemon=True).start()

    def stop(self) -> None:
        """Restore the signal handlers, unless a signal was received."""
        if not self.received.is_set():
            for number, handler in self._previous.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(self._previous_wakeup)
            sys.unraisablehook, threading.excepthook = self._previous_hooks
            os.close(self._write_end)  # ends the thread

    def _record(self, number: int) -> None:
        """Record the first signal."""
        if not self.received.is_set():
            self.signal_number = number
            self.received.set()

    def _raise(self, number: int, _frame: FrameType | None) -> None:
        """Raise in the main thread, once: a second exception would interrupt the cleaning up."""
        self._record(number)
        if not self.has_raised:
            self.has_raised = True
            raise Interrupted(number)

    def _on_unraisable(self, failure: "sys.UnraisableHookArgs") -> None:
        """Print no traceback of an interruption that came where Python drops exceptions, such as in ``__del__``."""
        if not isinstance(failure.exc_value, Interrupted):
            self._previous_hooks[0](failure)

    def _on_thread_error(self, failure: threading.ExceptHookArgs) -> None:
        """Print no traceback of an interruption in a thread: the main thread reports it."""
        if not isinstance(failure.exc_value, Interrupted):
            self._previous_hooks[1](failure)

    def _run(self) -> None:
        """Record each signal as soon as it arrives, whatever the main thread is doing."""
        first_s = 0.0
        watched = set(_watched_signals())
        while numbers := os.read(self._read_end, 16):
            for number in filter(watched.__contains__, numbers):
                if not first_s:
                    first_s = time.monotonic()
                    self._record(number)
                    threading.Thread(target=self._abort_after_grace, name="abort", daemon=True).start()
                elif number == signal.SIGINT and time.monotonic() - first_s > _SAME_REQUEST_S:
                    outlook = self.outlook or "The next run cleans up what was left and continues."
                    self._end_at_once(f"Stopped at once. {outlook}")
        os.close(self._read_end)
        os.close(self._stderr)

    def _abort_after_grace(self) -> None:
        time.sleep(GRACE_S)
        callbacks = threading.Thread(target=self._run_abort_callbacks, name="abort-callbacks", daemon=True)
        callbacks.start()
        callbacks.join(_ABORT_S)
        reason = f"a step did not end within {GRACE_S:.0f} s"
        outlook = self.outlook or "The next run continues from here."
        self._end_at_once(f"Stopped by {signal_name(self.signal_number)}; {reason}. {outlook}")

    def _run_abort_callbacks(self) -> None:
        for callback in reversed(self.abort_callbacks):
            with suppress(Exception):
                callback()

    def _end_at_once(self, line: str) -> None:
        cursor = _SHOW_CURSOR if os.isatty(self._stderr) else b""  # a progress bar hides it
        with suppress(OSError):
            os.write(self._stderr, cursor + line.encode() + b"\n")
        os._exit(_EXIT_CODE_BASE + self.signal_number)


_watch: _Watch | None = None


def watch_signals() -> None:
    """Watch the signals until this process ends. Does nothing outside the main thread, where no signal arrives."""
    global _watch  # noqa: PLW0603  -- signals concern the whole process
    if _watch is None and threading.current_thread() is threading.main_thread():
        _watch = _Watch()


@contextmanager
def signals_watched() -> Generator[None]:
    """Watch the signals during the block, or longer if they are being watched already."""
    global _watch  # noqa: PLW0603  -- as above
    if _watch is not None:
        yield
        return
    watch_signals()
    watch = _watch
    try:
        yield
    finally:
        if watch is not None and not watch.received.is_set():
            watch.stop()
            _watch = None


def interruption() -> Interrupted | None:
    """Return the interruption of this process, if it was asked to end."""
    return Interrupted(_watch.signal_number) if _watch is not None and _watch.received.is_set() else None


def raise_if_interrupted() -> None:
    """Raise if this process was asked to end; may be called from any thread.

    Raises:
        Interrupted: A signal was received.
    """
    if _watch is not None and _watch.received.is_set():
        _watch.has_raised |= threading.current_thread() is threading.main_thread()
        raise Interrupted(_watch.signal_number)


def pause(seconds: float) -> None:
    """Sleep in any thread, but no longer than until this process is asked to end.

    Raises:
        Interrupted: A signal was received.
    """
    if _watch is None:
        time.sleep(seconds)
    elif _watch.received.wait(seconds):
        raise_if_interrupted()


def set_activity(activity: str) -> None:
    """Set what the message after an interruption says this process was doing, such as ``derive sebring/R1``."""
    if _watch is not None:
        _watch.activity = activity


def set_outlook(sentence: str) -> None:
    """Set what the message after an interruption says about what follows; by default that the next run continues."""
    if _watch is not None:
        _watch.outlook = sentence


@contextmanager
def before_abort(callback: Callable[[], None]) -> Generator[None]:
    """Call ``callback`` in another thread if the process has to be ended inside the block without cleaning up."""
    if _watch is None:
        yield
        return
    callbacks = _watch.abort_callbacks
    callbacks.append(callback)
    try:
        yield
    finally:
        callbacks.remove(callback)


def report_interruption(interrupted: KeyboardInterrupt) -> int:
    """Print one line about what ended this process and what happens next, and return the exit code.

    Returns:
        128 plus the number of the signal, as in shells: 130 for Ctrl+C, 143 for SIGTERM.
    """
    number = interrupted.signal_number if isinstance(interrupted, Interrupted) else signal.SIGINT
    activity = f" during {_watch.activity}" if _watch is not None and _watch.activity else ""
    outlook = _watch.outlook if _watch is not None else ""
    outlook = outlook or "Nothing is left half done; the next run continues from here."
    line = f"Stopped by {signal_name(number)}{activity}. {outlook}"
    with suppress(OSError, AttributeError):  # closed before this process started
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
    return _EXIT_CODE_BASE + number


def signal_name(number: int) -> str:
    """Return the name of a signal; for SIGINT, the key that sends it."""
    return "Ctrl+C" if number == signal.SIGINT else signal.Signals(number).name


def _watched_signals() -> list[int]:
    hang_up = getattr(signal, "SIGHUP", None)  # not on Windows
    # `nohup` ignores SIGHUP on purpose.
    if hang_up is None or signal.getsignal(hang_up) is signal.SIG_IGN:
        return [signal.SIGINT, signal.SIGTERM]
    return [signal.SIGINT, signal.SIGTERM, hang_up]


def _duplicate_stderr() -> int:
    try:
        return os.dup(2)
    except OSError:  # closed
        return os.open(os.devnull, os.O_WRONLY)


__all__ = [
    "GRACE_S",
    "Interrupted",
    "before_abort",
    "interruption",
    "pause",
    "raise_if_interrupted",
    "report_interruption",
    "set_activity",
    "set_outlook",
    "signal_name",
    "signals_watched",
    "watch_signals",
]
