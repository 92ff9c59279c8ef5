"""The upload as a call and as a program: which folder, which bucket, and what is said about it.

Here belongs what turns settings into an upload. The options of ``apex upload`` are ``cli/upload.py``.
"""

import logging
import sys
from dataclasses import dataclass
from pathlib import Path

from apex_pipeline.errors import ApexError, ConfigurationError
from apex_pipeline.settings import Settings, load_settings
from apex_pipeline.storage.opening import open_fingerprints, open_store
from apex_pipeline.upload.folder import Watcher, upload_folder
from apex_pipeline.upload.packing import Compression, Packer
from apex_pipeline.upload.printing import LinePrinter, Printer
from apex_pipeline.upload.report import UploadedFile, UploadReport, UploadStatus

_LOG = logging.getLogger("apex_pipeline.upload")
_BAD_CONFIGURATION = 2
_HOW_TO_SET = (
    "Set S3_BUCKET_NAME (and AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile) in the environment "
    "or in .env, or give --bucket."
)


def upload_directory_to_s3(local_directory: str | Path, bucket_name: str, s3_prefix: str) -> UploadReport:
    """Upload every file of a folder, recursively, keeping the paths.

    Credentials, region and endpoint are those of the environment. Each file is logged by name, failures as errors. A
    second call with nothing changed writes nothing.

    Args:
        local_directory: The folder.
        bucket_name: The bucket; it is made only where ``ALLOW_CREATE_BUCKET`` says so.
        s3_prefix: What the keys begin with, ``data`` for a lake's raw files.

    Returns:
        What became of every file; true when all are in the bucket.

    Raises:
        SourceError: The folder is missing, cannot be read or is empty.
        ConfigurationError: A setting is wrong.
        StoreError: Credentials, bucket, region or endpoint are wrong; nothing was sent.
        StoreUnavailableError: The store cannot be reached at the moment; nothing was sent.
    """
    target = UploadTarget(bucket_name, s3_prefix)
    report = upload_to(target, Path(local_directory), load_settings(), _Log())
    _LOG.info("%s: %s", report.address, report.summary)
    return report


@dataclass(frozen=True)
class UploadTarget:
    """Where to upload, and how.

    Attributes:
        bucket: The bucket.
        prefix: What the keys begin with.
        compression: How text files are compressed; ``None`` leaves them as they are.
    """

    bucket: str
    prefix: str
    compression: Compression | None = None


def upload_to(target: UploadTarget, folder: Path, settings: Settings, watcher: Watcher) -> UploadReport:
    """Upload a folder with the credentials of the settings; errors as for :func:`upload_directory_to_s3`."""
    chosen = settings.model_copy(update={"use_s3_data": True, "bucket": target.bucket, "lake_prefix": ""})
    fingerprints = open_fingerprints(settings)
    packer = None
    if target.compression is not None:
        packer = Packer(target.compression, fingerprints, settings.state_dir.absolute() / "scratch")
    store = open_store(chosen, for_writing=True)
    store.check_access()
    return upload_folder(folder, store, target.prefix, fingerprints=fingerprints, watcher=watcher, packer=packer)


def choose_bucket(settings: Settings, given: str | None = None) -> str:
    """Return the bucket given, set, or asked for on a terminal.

    Raises:
        ConfigurationError: None is known, and nobody is there to be asked or nothing was answered.
    """
    if given or "bucket" in settings.model_fields_set:
        return given or settings.bucket
    if not sys.stdin.isatty():
        raise ConfigurationError("No bucket is set, and no terminal is there to ask for one.", _HOW_TO_SET)
    # Not on standard output, which may be read by a program.
    sys.stderr.write("S3_BUCKET_NAME is not set. Name of the bucket to upload to: ")
    sys.stderr.flush()
    answer = sys.stdin.readline().strip()
    if not answer:
        raise ConfigurationError("No bucket was named.", _HOW_TO_SET)
    return answer


def run(target: UploadTarget, folder: Path, settings: Settings, printer: Printer) -> int:
    """Upload, show it, and return the exit code; errors as for :func:`upload_directory_to_s3`."""
    with printer:
        report = upload_to(target, folder, settings, printer)
    printer.show(report)
    return report.exit_code


def default_prefix(settings: Settings) -> str:
    """Return where the lake of the settings keeps its raw files, without a slash at the end."""
    return f"{settings.lake_prefix}/data".lstrip("/")


def main() -> None:
    """Upload ``APEX_SOURCE_DIR`` and end the process: 0 all there, 1 some files failed, 2 configuration."""
    try:
        settings = load_settings()
        target = UploadTarget(choose_bucket(settings), default_prefix(settings))
        sys.exit(run(target, settings.source_dir, settings, LinePrinter(sys.stdout)))
    except ApexError as error:
        sys.stderr.write(f"Problem: {error.problem}\nNext step: {error.remedy}\n")
        sys.exit(_BAD_CONFIGURATION)


class _Log(Watcher):
    """Tells the log."""

    def begin(self, files: int, size: int) -> None:
        _LOG.info("Uploading %d files, %d bytes", files, size)

    def moved(self, count: int) -> None:
        """Leave bytes alone: the log has a line per file."""

    def finished(self, number: int, total: int, file: UploadedFile) -> None:
        level = logging.ERROR if file.status is UploadStatus.FAILED else logging.INFO
        _LOG.log(level, "[%d/%d] %s %s %s", number, total, file.status, file.path, file.problem or "")


__all__ = ["UploadTarget", "choose_bucket", "default_prefix", "main", "run", "upload_directory_to_s3", "upload_to"]
