"""Reports the progress of a sync; see ``console.py`` for the reporter, ``progress.py`` for other commands."""

import sys
from collections.abc import Generator
from contextlib import contextmanager

from apex_pipeline.cli.progress import writes_json_lines
from apex_pipeline.console import ProgressReporter
from apex_pipeline.orchestration.sync import SyncEvent, SyncListener
from apex_pipeline.process.interrupts import set_activity
from apex_pipeline.process.standard_streams import duplicate_stderr


@contextmanager
def progress_listener() -> Generator[SyncListener]:
    """Yield a sync listener that draws bars on a terminal and writes lines elsewhere, of JSON where the log is JSON."""
    if writes_json_lines():
        reporter = ProgressReporter(sys.stderr, as_json=True)
        yield lambda event: _report_as_json(reporter, event)
        return
    if not sys.stderr.isatty():
        with ProgressReporter(sys.stderr) as reporter:
            yield lambda event: _report(reporter, event)
        return
    # During a run Dagster redirects standard error to the run's log; a duplicated handle still writes to the terminal.
    with duplicate_stderr() as terminal, ProgressReporter(terminal) as reporter:
        yield lambda event: _report(reporter, event)


def _report_as_json(reporter: ProgressReporter, event: SyncEvent) -> None:
    _note_activity(event)
    if not event.message:
        return
    facts = {"stage": event.stage, "message": event.message, "session": event.session, "total": event.total}
    reporter.write_json({name: value for name, value in facts.items() if value is not None})


def _report(reporter: ProgressReporter, event: SyncEvent) -> None:
    """Draw bars for stages with a known amount of work, and print lines for the others."""
    _note_activity(event)
    if event.total:
        reporter.start(event.stage, event.total, event.unit)
    if not reporter.has_bar(event.stage):
        reporter.write(f"{event.stage:<10} {event.message}", soft_wrap=not reporter.is_terminal)
        return
    if not reporter.is_terminal:
        if event.message:
            reporter.write(f"{event.stage:<10} {f'{event.session}: ' if event.session else ''}{event.message}")
        return
    reporter.advance(event.stage, event.done)
    if event.message.startswith("failed"):
        reporter.write(f"{event.stage:<10} {event.session}: {event.message}", "red", soft_wrap=False)


def _note_activity(event: SyncEvent) -> None:
    set_activity(f"the stage {event.stage}{f' of {event.session}' if event.session else ''}")
