"""``apex upload``: a folder into a bucket as it is, without making a lake of it.

Contains the options, the question for a bucket and what is printed; see ``apex_pipeline/upload`` for the work.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from apex_pipeline.cli.console import ProgressReporter, print_error
from apex_pipeline.errors import ApexError, ConfigurationError
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline.upload import UploadedFile, UploadEvent, UploadReport, UploadStatus
from apex_pipeline.upload.compression import Compression
from apex_pipeline.upload.upload import UploadTarget, upload_to

_STAGE = "upload"
_BAD_CONFIGURATION = 2
_HOW_TO_SET = (
    "Set S3_BUCKET_NAME (and AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile) in the environment "
    "or in .env, or give --bucket."
)
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


def upload_command(
    source: Annotated[
        Path | None, typer.Argument(help="Folder to upload; APEX_SOURCE_DIR without it.", show_default=False)
    ] = None,
    bucket: Annotated[str | None, typer.Option(help="The bucket; S3_BUCKET_NAME without it.")] = None,
    prefix: Annotated[
        str | None, typer.Option(help="What keys begin with; without it, data below APEX_LAKE_PREFIX.")
    ] = None,
    compress: Annotated[Compression | None, typer.Option(help="Compress .csv, .json and .xml on the way.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per file, then one sum.")] = False,
    emoji: Annotated[
        bool | None, typer.Option("--emoji/--no-emoji", help="By itself: on a terminal that writes UTF-8.")
    ] = None,
) -> None:
    """Copy every file of a folder into a bucket, unless it is there already; nothing is deleted.

    Race files and others go alike, under their own paths, verified; what was interrupted goes on where it stopped.
    """
    settings = load_settings()
    target = UploadTarget(
        bucket=_choose_bucket(settings, bucket),
        prefix=_default_prefix(settings) if prefix is None else prefix,
        compression=compress,
    )
    reporter = ProgressReporter(sys.stdout, as_json=as_json, is_transient=True)
    raise typer.Exit(run_upload(target, source or settings.source_dir, settings, reporter, emoji=emoji))


def main() -> None:
    """Upload ``APEX_SOURCE_DIR`` and end the process: 0 all there, 1 some files failed, 2 configuration."""
    try:
        settings = load_settings()
        target = UploadTarget(_choose_bucket(settings), _default_prefix(settings))
        reporter = ProgressReporter(sys.stdout, is_transient=True)
        sys.exit(run_upload(target, settings.source_dir, settings, reporter))
    except ApexError as error:
        print_error(error)
        sys.exit(_BAD_CONFIGURATION)


def run_upload(
    target: UploadTarget, folder: Path, settings: Settings, reporter: ProgressReporter, *, emoji: bool | None = None
) -> int:
    """Upload a folder, show every file and the totals, and return the exit code."""
    output = UploadOutput(reporter, emoji=emoji)
    with reporter:
        report = upload_to(target, folder, settings, output.on_event, output.on_bytes)
    output.show(report)
    return report.exit_code


def _choose_bucket(settings: Settings, given: str | None = None) -> str:
    """Return the bucket given, set, or asked for on a terminal.

    Raises:
        ConfigurationError: There is none, and no terminal to ask on, or no answer.
    """
    if given or "bucket" in settings.model_fields_set:
        return given or settings.bucket
    if not sys.stdin.isatty():
        raise ConfigurationError("No bucket is set, and no terminal is there to ask for one.", _HOW_TO_SET)
    # Not on standard output, which a program may read.
    sys.stderr.write("S3_BUCKET_NAME is not set. Name of the bucket to upload to: ")
    sys.stderr.flush()
    answer = sys.stdin.readline().strip()
    if not answer:
        raise ConfigurationError("No bucket was named.", _HOW_TO_SET)
    return answer


def _default_prefix(settings: Settings) -> str:
    """Return where the lake of the settings keeps its raw files, without a slash at the end."""
    return f"{settings.lake_prefix}/data".lstrip("/")


class UploadOutput:
    """Prints one line per file and one for the totals, as text or as JSON.

    Args:
        reporter: Where to.
        emoji: Mark the lines with emoji; ``None``: on a terminal that writes UTF-8. Without, only file names and
            reasons go beyond ASCII.
    """

    def __init__(self, reporter: ProgressReporter, *, emoji: bool | None = None) -> None:
        self._reporter = reporter
        can_show = reporter.is_utf8 and (reporter.is_terminal if emoji is None else emoji)
        self._signs = _EMOJI if can_show else _NO_EMOJI
        self._moved = 0
        reporter.start(_STAGE, None)  # the total comes with the first event

    def on_bytes(self, moved: int) -> None:
        """Show bytes next to the bar; with several threads the figure may lag by a few."""
        self._moved += moved
        self._reporter.advance(_STAGE, 0, f"{self._moved / 1e6:,.1f} MB moved")

    def on_event(self, event: UploadEvent) -> None:
        """Print the start, or a finished file."""
        if event.file is None:
            self._reporter.start(_STAGE, event.total_bytes)
            if not self._reporter.as_json:
                self._reporter.write(f"{event.total} files, {event.total_bytes:,} bytes")
        elif self._reporter.as_json:
            self._reporter.write_json(_facts(event, event.file))
        else:
            self._write_file(event, event.file)

    def _write_file(self, event: UploadEvent, file: UploadedFile) -> None:
        self._reporter.advance(_STAGE, file.size, f"{self._moved / 1e6:,.1f} MB moved")
        if file.status is not UploadStatus.NOT_TRIED:  # those are only counted, in the totals
            problem = f": {file.problem}" if file.problem else ""
            word = f"{self._signs[file.status]}{_WORDS[file.status]}"
            self._reporter.write(
                f"[{event.number}/{event.total}] {word} {_shown(file.path)} ({file.size:,} bytes){problem}"
            )

    def show(self, report: UploadReport) -> None:
        """Print the totals, the names and reasons of what failed, and what stopped the rest."""
        if self._reporter.as_json:
            self._reporter.write_json(report.facts())
            return
        write = self._reporter.write
        write(f"{report.address}: {report.summary}")
        for file in report.of(UploadStatus.FAILED):
            write(f"{self._signs[file.status]}{_shown(file.path)}: {file.problem}")
        if report.stopped_by is not None:
            write(f"Stopped, because every other file would have failed the same way. {report.stopped_by.hint}")
        if report.other_forms:
            keys = ", ".join(map(_shown, report.other_forms))
            write(f"These files are there a second time, compressed otherwise, and can be deleted: {keys}")


def _facts(event: UploadEvent, file: UploadedFile) -> dict[str, object]:
    return {
        "number": event.number,
        "total": event.total,
        "path": file.path,
        "key": file.key,
        "bytes": file.size,
        "status": file.status,
        "problem": file.problem,
    }


def _shown(name: str) -> str:
    """Return a name as it is, or escaped where it would move the cursor or break the line."""
    return name if name.isprintable() else repr(name)
