"""Contains the exit codes of every command, as the README documents them."""

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ends.

    Attributes:
        OK: Everything was done.
        SOME_FAILED: Some sessions, files or objects failed; the rest was done.
        BAD_INPUT: A setting or an argument is wrong; the message names the fix.
    """

    OK = 0
    SOME_FAILED = 1
    BAD_INPUT = 2
