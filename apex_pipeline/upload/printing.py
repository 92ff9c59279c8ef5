"""What people and programs are shown of an upload: one line per file and one for the sum.

Here belongs only the look. What is true is in ``report.py``.
"""

import json
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from apex_pipeline.upload.folder import Watcher
from apex_pipeline.upload.report import UploadedFile, UploadReport, UploadStatus

_WORDS = {
    UploadStatus.UPLOADED: "uploaded",
    UploadStatus.UNCHANGED: "unchanged",
    UploadStatus.FAILED: "FAILED",
    UploadStatus.NOT_TRIED: "not tried",
}
_EMOJI = {
    UploadStatus.UPLOADED: "\N{WHITE HEAVY CHECK MARK} ",
    UploadStatus.UNCHANGED: "\N{WHITE SQUARE BUTTON} ",
    UploadStatus.FAILED: "\N{CROSS MARK} ",
    UploadStatus.NOT_TRIED: "\N{BLACK RIGHT-POINTING DOUBLE TRIANGLE} ",
}
_NO_EMOJI = dict.fromkeys(UploadStatus, "")


class Printer(Watcher):
    """A watcher that shows what it is told on a stream while it is open, and the report at the end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Show no more."""

    def show(self, report: UploadReport) -> None:
        """Print the sum."""


class LinePrinter(Printer):
    """Lines for people, and on a terminal a bar below them while bytes move.

    Args:
        stream: Where to.
        emoji: Mark the lines by emoji; ``None``: on a terminal that writes UTF-8. Without, nothing but the files' own
            names and the reasons are beyond ASCII.
    """

    def __init__(self, stream: TextIO, *, emoji: bool | None = None) -> None:
        self._encoding = stream.encoding or "ascii"
        is_utf8 = self._encoding.lower().replace("-", "") == "utf8"
        self._signs = _EMOJI if is_utf8 and (stream.isatty() if emoji is None else emoji) else _NO_EMOJI
        self._bar = Progress(
            BarColumn(),
            TextColumn("{task.fields[amount]}"),
            TimeElapsedColumn(),
            console=Console(file=stream),
            disable=not stream.isatty(),
            transient=True,
        )
        self._task = self._bar.add_task("", total=None, amount="")
        self._sent = 0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bar away."""
        self._bar.stop()

    def begin(self, files: int, size: int) -> None:
        """Say how much there is."""
        self._say(f"{files} files, {size:,} bytes")
        self._bar.update(self._task, total=size)

    def moved(self, count: int) -> None:
        """Let the bar tell of bytes; several threads may be a few bytes ahead of what it says."""
        self._sent += count
        self._bar.update(self._task, amount=f"{self._sent / 1e6:,.1f} MB moved")

    def finished(self, number: int, total: int, file: UploadedFile) -> None:
        """Print the line of a file; of those that were not tried only the sum tells."""
        self._bar.advance(self._task, file.size)
        if file.status is not UploadStatus.NOT_TRIED:
            problem = f": {file.problem}" if file.problem else ""
            word = f"{self._signs[file.status]}{_WORDS[file.status]}"
            self._say(f"[{number}/{total}] {word} {_shown(file.path)} ({file.size:,} bytes){problem}")

    def show(self, report: UploadReport) -> None:
        """Print the sum, the names and reasons of what failed, and what stopped the rest."""
        self._say(f"{report.address}: {report.summary}")
        for file in report.of(UploadStatus.FAILED):
            self._say(f"{self._signs[file.status]}{_shown(file.path)}: {file.problem}")
        if report.stopped_by is not None:
            self._say(f"Stopped, because every other file would have failed the same way. {report.stopped_by.remedy}")
        if report.other_forms:
            keys = ", ".join(map(_shown, report.other_forms))
            self._say(f"These files are there a second time, compressed otherwise, and can be deleted: {keys}")

    def _say(self, line: str) -> None:
        # Names on a disk need not be valid Unicode, and a stream need not be able to write what is.
        text = line.encode(self._encoding, "backslashreplace").decode(self._encoding)
        self._bar.console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)


class JsonPrinter(Printer):
    """One JSON object per file, and one for the sum.

    Args:
        stream: Where to.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def begin(self, files: int, size: int) -> None:
        """Say nothing: the number of files is on every line."""

    def moved(self, count: int) -> None:
        """Say nothing: a program reads what is finished."""

    def finished(self, number: int, total: int, file: UploadedFile) -> None:
        """Print a file's object."""
        self._say(
            {
                "number": number,
                "total": total,
                "path": file.path,
                "key": file.key,
                "bytes": file.size,
                "status": file.status,
                "problem": file.problem,
            }
        )

    def show(self, report: UploadReport) -> None:
        """Print the sum's object."""
        self._say(report.facts())

    def _say(self, facts: dict[str, object]) -> None:
        self._stream.write(json.dumps(facts) + "\n")  # escapes all beyond ASCII
        self._stream.flush()


def _shown(name: str) -> str:
    """Return a name as it is, or escaped where it would move the cursor or break the line."""
    return name if name.isprintable() else repr(name)


__all__ = ["JsonPrinter", "LinePrinter", "Printer"]
