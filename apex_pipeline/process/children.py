"""Runs another program as a child that ends together with this process."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

# Dagster's processes end within 2 s; the rest of the ten seconds is for this process.
_PATIENCE_S = 5.0


def run_until_stopped(command: Sequence[str], environment: Mapping[str, str], log: Path | None = None) -> int:
    """Run a program until it ends or this process is interrupted, and return its exit code.

    The program gets a session of its own, so Ctrl+C in the terminal reaches only this process, which passes it on. A
    program that does not end in time is killed with all its children.

    Args:
        command: The program and its arguments.
        environment: Its variables.
        log: File to which its output is appended; ``None`` leaves it on the terminal.

    Raises:
        Interrupted: This process was asked to end; the program has ended.
    """
    with ExitStack() as stack:
        output = None if log is None else stack.enter_context(log.open("ab"))
        child = stack.enter_context(
            subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)  # noqa: S603  -- our own commands
        )
        try:
            return child.wait()
        except KeyboardInterrupt:
            _end(child)
            raise


def _end(child: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGTERM)
    try:
        child.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
