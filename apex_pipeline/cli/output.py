"""How results reach people and programs: tables on a terminal, plain text in a pipe, JSON on request.

Results go to standard output; progress and errors go to standard error, so a pipe gets results only.
"""

import json
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from apex_pipeline.sync import Event, Listener

# Wide enough for one line per file where no terminal says its width.
_PIPE_WIDTH = 160


def console() -> Console:
    """Return the console for results."""
    return Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def error_console() -> Console:
    """Return the console for progress and errors."""
    return Console(stderr=True, width=None if sys.stderr.isatty() else _PIPE_WIDTH)


@contextmanager
def progress_listener() -> Generator[Listener]:
    """Give a listener that draws bars on a terminal and writes one JSON object per line elsewhere."""
    if not sys.stderr.isatty():
        yield _write_json_line
        return
    # While a run works Dagster sends standard error into the run's log; a handle of our own stays on the terminal.
    with os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding="utf-8") as terminal:
        bars = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(),
            TextColumn("{task.fields[amount]}"),
            TimeElapsedColumn(),
            console=Console(file=terminal),
        )
        with bars:
            yield _Bars(bars)


def _write_json_line(event: Event) -> None:
    if not event.message:
        return
    facts = {"stage": event.stage, "message": event.message, "session": event.session, "total": event.total}
    sys.stderr.write(json.dumps({name: value for name, value in facts.items() if value is not None}) + "\n")


class _Bars:
    """One bar per stage that has an amount of work; single lines for the others."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._units: dict[str, str] = {}

    def __call__(self, event: Event) -> None:
        if event.total:
            self._tasks[event.stage] = self._bars.add_task(event.stage, total=event.total, amount="")
            self._units[event.stage] = event.unit
        task = self._tasks.get(event.stage)
        if task is None:
            self._bars.console.print(f"{event.stage:<10} {event.message}", highlight=False)
            return
        if event.done:
            self._bars.advance(task, event.done)
        state = self._bars.tasks[task]
        self._bars.update(task, amount=_amount(state.completed, state.total or 0, self._units[event.stage]))
        if event.message.startswith("failed"):
            self._bars.console.print(f"[red]{event.stage:<10} {event.session}: {event.message}[/]", highlight=False)


def _amount(done: float, total: float, unit: str) -> str:
    if unit == "bytes":
        return f"{done / 1e6:,.1f} of {total / 1e6:,.1f} MB"
    return f"{done:.0f} of {total:.0f}"


__all__ = ["console", "error_console", "progress_listener"]
