"""Prints errors and progress: bars on a terminal, lines elsewhere; of JSON only where ``APEX_LOG_FORMAT`` is json.

Results go to standard output; progress and errors go to standard error, so a pipe gets results only. See
``cli/emit.py`` for results, ``cli/progress.py`` and ``upload/command.py`` for the commands that report progress.
"""

import json
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from apex_pipeline.errors import ApexError
from apex_pipeline.terminal import fit, printable, styled, width_of

if TYPE_CHECKING:  # takes 0.05 s, and most commands draw no bars
    from rich.progress import Progress, TaskID


def print_error(error: ApexError) -> None:
    """Print an error and its next step to standard error."""
    for label, text in (("Problem:", error.problem), ("Next step:", error.hint)):
        print_message(f"{label} {text}", label=label, style="red" if label == "Problem:" else "bold")


def print_message(text: str, *, label: str = "", style: str = "bold") -> None:
    """Print a message to standard error, with its label, if any, in bold or red."""
    first, *rest = fit(text, width_of(sys.stderr))
    if first.startswith(label):
        first = styled(label, style, sys.stderr) + first.removeprefix(label)
    sys.stderr.write("\n".join([first, *rest]) + "\n")


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
        # Without bars, nothing of rich is imported, which takes 0.05 s, and 0.1 ms for each line.
        self._bars = progress_bars(stream, is_transient=is_transient) if self.is_terminal and not as_json else None
        self._tasks: dict[str, TaskID | None] = {}

    def __enter__(self) -> Self:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def start(self, stage: str, total: float | None, unit: str = "") -> None:
        """Add a stage's progress bar, or update its total; pass ``None`` while the total is unknown."""
        task = self._tasks.setdefault(stage, None)
        if self._bars is None:
            return
        if task is None:
            self._tasks[stage] = self._bars.add_task(stage, total=total, amount="", unit=unit)
        else:
            self._bars.update(task, total=total)

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
        if self._bars is None or task is None:
            return
        self._bars.advance(task, done)
        if amount is None:
            state = self._bars.tasks[task]
            amount = _amount(state.completed, state.total or 0, state.fields["unit"], state.speed)
        self._bars.update(task, amount=amount)

    def write(self, line: str, style: str = "", *, soft_wrap: bool = True) -> None:
        """Write a line of text above the bars; without bars, it is neither styled nor wrapped."""
        # A file name may be invalid Unicode, or have characters that the stream cannot encode.
        text = line.encode(self._encoding, "backslashreplace").decode(self._encoding)
        parts = [printable(part) for part in text.split("\n")]
        if self._bars is None:
            self._stream.write("".join(f"{part}\n" for part in parts))
            self._stream.flush()
            return
        from rich.text import Text  # noqa: PLC0415  -- only on a terminal

        for part in parts:
            self._bars.console.print(Text(part, style), soft_wrap=soft_wrap)

    def write_json(self, facts: Mapping[str, object]) -> None:
        """Write one JSON object, in ASCII."""
        self._stream.write(json.dumps(facts) + "\n")
        self._stream.flush()


def progress_bars(stream: TextIO, *, is_transient: bool) -> "Progress":
    """Return bars with their amount, rate and remaining time."""
    from rich.console import Console  # noqa: PLC0415  -- takes 0.05 s, and most commands draw no bars
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415  -- as above

    names = () if is_transient else (TextColumn("{task.description:<10}"),)
    return Progress(
        *names,
        BarColumn(bar_width=20),
        TextColumn("{task.fields[amount]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=Console(file=stream),
        transient=is_transient,
    )


def _amount(done: float, total: float, unit: str, per_second: float | None) -> str:
    if unit == "bytes":
        rate = f", {per_second / 1e6:,.1f} MB/s" if per_second else ""
        return f"{done / 1e6:,.1f} of {total / 1e6:,.1f} MB{rate}"
    rate = f", {per_second:,.1f}/s" if per_second else ""
    return f"{done:.0f} of {total:.0f}{rate}"
