"""Runs another program as a child that ends together with this process."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress

# Dagster's processes end within 2 s; the rest of the ten seconds is for this process.
_PATIENCE_S = 5.0


def run_until_stopped(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a program until it ends or this process is interrupted, and return its exit code.

    The program gets a session of its own, so Ctrl+C in the terminal reaches only this process, which passes it on. A
    program that does not end in time is killed with all its children.

    Raises:
        Interrupted: This process was asked to end; the program has ended.
    """
    with subprocess.Popen(command, env=environment, start_new_session=True) as child:  # noqa: S603  -- our own commands
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
