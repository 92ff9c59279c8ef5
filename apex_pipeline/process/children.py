"""Runs another program as a child that ends together with this process.

:func:`run_until_stopped` waits for it; :func:`running_beside` lets it serve this process for a while.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
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


@contextmanager
def running_beside(
    module: str, arguments: Sequence[str], environment: Mapping[str, str]
) -> Generator[subprocess.Popen[bytes]]:
    """Run a Python module as a program until the end of the block, or of this process if that is killed.

    Args:
        module: Module with a ``__main__``, such as ``dagster_webserver``.
        arguments: Its command line.
        environment: Its variables.
    """
    command = [sys.executable, "-m", "apex_pipeline.process.tethered", module, *arguments]
    with subprocess.Popen(  # noqa: S603  -- our own commands
        command, env=environment, stdin=subprocess.PIPE, start_new_session=True
    ) as child:
        try:
            yield child
        finally:
            _end(child)


def _end(child: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGTERM)
    try:
        child.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
