"""Runs a command line so that it ends with a message and an exit code, never with a traceback.

Used by ``apex`` and by ``python -m apex_pipeline.upload``. See ``library_errors.py`` for errors that arrive
here as they were raised by a library.
"""

import os
import sys
from collections.abc import Callable

from apex_pipeline.console import print_error
from apex_pipeline.errors import ApexError
from apex_pipeline.exit_codes import ExitCode
from apex_pipeline.library_errors import DEBUG_HINT, first_line_of, translate_library_error
from apex_pipeline.process.interrupts import raise_if_interrupted, report_interruption, signals_watched
from apex_pipeline.process.standard_streams import OutputError, flush_output, make_streams_safe


def run_command_line(body: Callable[[], object]) -> None:
    """Run the body of a command line and exit with one of the codes in :class:`ExitCode`, or with that of a signal.

    Raises:
        SystemExit: Always.
    """
    make_streams_safe()
    with signals_watched():
        sys.exit(_run(body))


def _run(body: Callable[[], object]) -> int | str | None:
    code: int | str | None = ExitCode.OK
    try:
        try:
            body()
        except SystemExit as ended:
            code = ended.code
        raise_if_interrupted()  # typer and Dagster both end normally when they are interrupted
        flush_output()
    except KeyboardInterrupt as interrupted:
        return report_interruption(interrupted)
    except OutputError as error:
        return _report_lost_output(error)
    except Exception as error:
        if os.environ.get("APEX_DEBUG"):
            raise
        return _report(error)
    return code


def _report_lost_output(error: OutputError) -> int:
    if error.is_broken_pipe:
        return ExitCode.CLOSED_PIPE
    print_error(
        ApexError(
            f"Standard output cannot be written to: {error.reason}.",
            "The work of the command is done; send its output somewhere else to see it.",
        )
    )
    return ExitCode.SOME_FAILED


def _report(error: Exception) -> int:
    known = error if isinstance(error, ApexError) else translate_library_error(error)
    if known is not None:
        print_error(known)
        return ExitCode.BAD_INPUT
    problem = f"{type(error).__name__}: {first_line_of(error)}"
    print_error(ApexError(f"Unexpected error: {problem}", f"This is a bug, please report it. {DEBUG_HINT}"))
    return ExitCode.BUG
