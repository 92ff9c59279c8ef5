"""Shows the progress of commands that take long; see ``console.py`` for the reporter."""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

from apex_pipeline.console import ProgressReporter
from apex_pipeline.progress import progress_to
from apex_pipeline.settings import load_settings


@contextmanager
def count_progress(stage: str, total: float, unit: str) -> Generator[Callable[[int], None]]:
    """Show a bar on a terminal, with its rate and the remaining time; nothing elsewhere.

    Args:
        stage: What is done, in a word.
        total: Units of work.
        unit: ``bytes``, or a word for the units.

    Yields:
        A function to call with the units done since its last call; any thread may call it.
    """
    with ProgressReporter(sys.stderr, as_json=not sys.stderr.isatty()) as reporter:
        reporter.start(stage, total, unit)
        yield lambda done: reporter.advance(stage, done)


@contextmanager
def byte_progress(stage: str, total: int) -> Generator[None]:
    """Show a bar of the bytes that the work in the block reports; see ``progress.py``."""
    with count_progress(stage, total, "bytes") as advance, progress_to(advance):
        yield


@contextmanager
def hashing_progress(total: int) -> Generator[Callable[[int], None]]:
    """Show a bar of the bytes of files that are hashed, once one is: most have a cached digest, and need no bar.

    Args:
        total: Size of all files in bytes.

    Yields:
        A function to call with the number of bytes hashed since its last call.
    """
    with ProgressReporter(sys.stderr, as_json=not sys.stderr.isatty()) as reporter:

        def count(done: int) -> None:
            if not reporter.has_bar("hash"):
                reporter.start("hash", total, "bytes")
            reporter.advance("hash", done)

        yield count


def writes_json_lines() -> bool:
    """Return whether progress and log are JSON objects: where ``APEX_LOG_FORMAT`` is json, and nowhere else."""
    return load_settings().log_format == "json"
