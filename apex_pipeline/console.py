"""Prints errors and progress: bars on a terminal, JSON lines elsewhere.

Results go to standard output; progress and errors go to standard error, so a pipe gets results only. See
``cli/emit.py`` for results, ``cli/sync_progress.py`` and ``upload/command.py`` for the commands that report progress.
"""

import json
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from apex_pipeline.errors import ApexError

# Output width without a terminal: wide enough to keep each file on one line.
_PIPE_WIDTH = 160


def console() -> Console:
    """Return the console for results."""
    return Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def error_console() -> Console:
    """Return the console for progress and errors."""
    return Console(stderr=True, width=None if sys.stderr.isatty() else _PIPE_WIDTH)


def print_error(error: ApexError) -> None:
    """Print an error and its next step to standard error."""
    out = error_console()
    # Text is not parsed as markup: brackets and colons in file names must not become colours and emoji.
    out.print(Text.assemble(("Problem:", "bold red"), " ", error.problem), soft_wrap=True)
    out.print(Text.assemble(("Next step:", "bold"), " ", error.hint), soft_wrap=True)


class ProgressReporter:
    """Reports the progress of a job: lines of text and, on a terminal, bars below them; or one JSON object per line.

    Use it as a context manager: the bars are shown while it is open. Safe to call from several threads.

    Args:
        stream: Where to write.
        as_json: Write JSON objects and no bars.
        is_transient: Draw the bars without names and remove them when done.
    """

    def __init__(self, stream: TextIO, *, as_json: bool = False, is_transient: bool = False) -> None:
        self._stream = stream
        self._encoding = stream.encoding or "ascii"
        self.as_json = as_json
        self.is_terminal = stream.isatty()
        self.is_utf8 = self._encoding.lower().replace("-", "") == "utf8"
        names = () if is_transient else (TextColumn("{task.description:<10}"),)
        self._bars = Progress(
            *names,
            BarColumn(),
            TextColumn("{task.fields[amount]}"),
            TimeElapsedColumn(),
            console=Console(file=stream),
            disable=as_json or not self.is_terminal,
            transient=is_transient,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def start(self, stage: str, total: float | None, unit: str = "") -> None:
        """Add a stage's progress bar, or update its total; pass ``None`` while the total is unknown."""
        if stage in self._tasks:
            self._bars.update(self._tasks[stage], total=total)
        else:
            self._tasks[stage] = self._bars.add_task(stage, total=total, amount="", unit=unit)

    def has_bar(self, stage: str) -> bool:
        """Return whether the stage has been started."""
        return stage in self._tasks

    def advance(self, stage: str, done: float, amount: str | None = None) -> None:
        """Advance a stage's progress bar.

        Args:
            stage: The name of a started stage.
            done: Units of work done since the last call.
            amount: Text after the bar; by default, how much of the total is done.
        """
        task = self._tasks[stage]
        self._bars.advance(task, done)
        if amount is None:
            state = self._bars.tasks[task]
            amount = _amount(state.completed, state.total or 0, state.fields["unit"])
        self._bars.update(task, amount=amount)

    def write(self, line: str, style: str = "", *, soft_wrap: bool = True) -> None:
        """Write a line of text above the bars."""
        # A file name may be invalid Unicode, or have characters that the stream cannot encode.
        text = line.encode(self._encoding, "backslashreplace").decode(self._encoding)
        self._bars.console.print(Text(text, style), soft_wrap=soft_wrap)

    def write_json(self, facts: Mapping[str, object]) -> None:
        """Write one JSON object, in ASCII."""
        self._stream.write(json.dumps(facts) + "\n")
        self._stream.flush()


def _amount(done: float, total: float, unit: str) -> str:
    if unit == "bytes":
        return f"{done / 1e6:,.1f} of {total / 1e6:,.1f} MB"
    return f"{done:.0f} of {total:.0f}"
