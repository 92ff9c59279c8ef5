"""Defines the exit codes shared by all commands, as documented in the README."""

from enum import IntEnum


class ExitCode(IntEnum):
    """A command's exit code.

    Attributes:
        OK: Everything succeeded.
        SOME_FAILED: Some sessions, files or objects failed; the others succeeded.
        BAD_INPUT: A setting or an argument is wrong; the message names the fix.
    """

    OK = 0
    SOME_FAILED = 1
    BAD_INPUT = 2
