"""Contains the exit codes of every command, as the README documents them."""

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit code of a command.

    Attributes:
        OK: Everything succeeded.
        SOME_FAILED: Some sessions, files or objects failed; the others succeeded.
        BAD_INPUT: A setting or an argument is wrong; the message names the fix.
    """

    OK = 0
    SOME_FAILED = 1
    BAD_INPUT = 2
