"""Ends the process without shutting the interpreter down."""

import atexit
import os
import sys
from contextlib import suppress
from typing import NoReturn


def end_process(code: object) -> NoReturn:
    """Run what is registered with ``atexit``, write out what is buffered, and end the process.

    When the interpreter shuts down (before Python 3.14), a thread of Arrow that releases its last Python object is
    ended in a way that aborts the process: 11 of 560 ``apex tracks`` on a busy machine ended with "terminate called
    without an active exception" and exit code 134, after they had done their work.

    Args:
        code: As for ``sys.exit``.
    """
    if code is not None and not isinstance(code, int):
        sys.stderr.write(f"{code}\n")
    with suppress(Exception):
        atexit._run_exitfuncs()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  -- there is no public name
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))
