"""Defines the exit codes shared by all commands, as documented in the README."""

from enum import IntEnum


class ExitCode(IntEnum):
    """A command's exit code.

    A command stopped by a signal ends with 128 plus its number: 130 for Ctrl+C, 143 for SIGTERM; see
    ``process/interrupts.py``.

    Attributes:
        OK: Everything succeeded.
        SOME_FAILED: Some sessions, files or objects failed, the others succeeded; or the result could not be printed.
        BAD_INPUT: A setting, an argument or this machine is wrong; the message names the fix.
        BUG: An unexpected error.
        CLOSED_PIPE: The reader of standard output stopped reading; the code of a process that SIGPIPE ended.
    """

    OK = 0
    SOME_FAILED = 1
    BAD_INPUT = 2
    BUG = 70
    CLOSED_PIPE = 141
