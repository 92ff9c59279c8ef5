"""Runs ``apex upload``, which copies a folder to a bucket unchanged and builds no lake.

The options, the prompt for a bucket name and the output are here; see ``apex_pipeline/upload`` for the work.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from apex_pipeline.console import ProgressReporter
from apex_pipeline.entry_point import run_command_line
from apex_pipeline.errors import ConfigurationError
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline.upload import UploadedFile, UploadEvent, UploadReport, UploadStatus
from apex_pipeline.upload.compression import Compression
from apex_pipeline.upload.upload import UploadTarget, upload_to

_STAGE = "upload"
_HOW_TO_SET = (
    "Set S3_BUCKET_NAME (and AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile) in the environment "
    "or in .env, or pass --bucket."
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
        Path | None,
        typer.Argument(metavar="[SOURCE]", help="Folder to upload; by default APEX_SOURCE_DIR.", show_default=False),
    ] = None,
    bucket: Annotated[str | None, typer.Option(help="Bucket; by default S3_BUCKET_NAME.")] = None,
    prefix: Annotated[str | None, typer.Option(help="Key prefix; by default APEX_LAKE_PREFIX/data.")] = None,
    compress: Annotated[Compression | None, typer.Option(help="Compress .csv, .json and .xml before upload.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per file, then one with the totals.")
    ] = False,
    emoji: Annotated[
        bool | None, typer.Option("--emoji/--no-emoji", help="Show emoji; by default only on a UTF-8 terminal.")
    ] = None,
) -> None:
    """Copy every file of a folder to a bucket, skipping those already there; nothing is deleted.

    Race files and other files keep their paths, and every copy is verified. An interrupted upload is resumed.
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
    """Upload ``APEX_SOURCE_DIR`` and exit: 0 for success, 1 if some files failed, 2 for a wrong configuration."""
    run_command_line(_upload_configured_folder)


def _upload_configured_folder() -> None:
    settings = load_settings()
    target = UploadTarget(_choose_bucket(settings), _default_prefix(settings))
    reporter = ProgressReporter(sys.stdout, is_transient=True)
    sys.exit(run_upload(target, settings.source_dir, settings, reporter))


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
    """Return the bucket from the option, from the settings, or from a prompt on the terminal.

    Raises:
        ConfigurationError: No bucket is set, and there is no terminal to prompt on, or the answer is empty.
    """
    if given or "bucket" in settings.model_fields_set:
        return given or settings.bucket
    if not sys.stdin.isatty():
        raise ConfigurationError("No bucket is set, and there is no terminal to prompt for one.", _HOW_TO_SET)
    # Prompt on stderr: a program may be reading stdout.
    sys.stderr.write("S3_BUCKET_NAME is not set. Name of the bucket to upload to: ")
    sys.stderr.flush()
    answer = sys.stdin.readline().strip()
    if not answer:
        raise ConfigurationError("No bucket name was entered.", _HOW_TO_SET)
    return answer


def _default_prefix(settings: Settings) -> str:
    """Return the prefix of the raw files in the configured lake, without a trailing slash."""
    return f"{settings.lake_prefix}/data".lstrip("/")


class UploadOutput:
    """Prints the totals and the files that failed, on a terminal and as JSON also one line per file.

    Args:
        reporter: Writes the lines and draws the bar.
        emoji: Whether lines start with emoji; ``None`` means only on a UTF-8 terminal. Without emoji, only file names
            and reasons may contain characters beyond ASCII.
    """

    def __init__(self, reporter: ProgressReporter, *, emoji: bool | None = None) -> None:
        self._reporter = reporter
        can_show = reporter.is_utf8 and (reporter.is_terminal if emoji is None else emoji)
        self._signs = _EMOJI if can_show else _NO_EMOJI
        self._moved = 0
        reporter.start(_STAGE, None)  # the first event has the total

    def on_bytes(self, moved: int) -> None:
        """Show the bytes moved next to the bar; with several threads the number may lag slightly."""
        self._moved += moved
        self._reporter.advance(_STAGE, 0, f"{self._moved / 1e6:,.1f} MB moved")

    def on_event(self, event: UploadEvent) -> None:
        """Print the totals at the start, or the line of a finished file; without a terminal, only of a failed one."""
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
        # Untried files appear in the totals only; in a log, so do those with which all is well.
        if file.status is UploadStatus.FAILED or (
            self._reporter.is_terminal and file.status is not UploadStatus.NOT_TRIED
        ):
            problem = f": {file.problem}" if file.problem else ""
            word = f"{self._signs[file.status]}{_WORDS[file.status]}"
            self._reporter.write(
                f"[{event.number}/{event.total}] {word} {_shown(file.path)} ({file.size:,} bytes){problem}"
            )

    def show(self, report: UploadReport) -> None:
        """Print the totals, the failed files with their reasons, and the error that stopped the upload, if any."""
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
            write(f"These older copies of the same files, in another format, can be deleted: {keys}")


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
    """Return a name unchanged, or escaped if it would move the cursor or break the line."""
    return name if name.isprintable() else repr(name)
