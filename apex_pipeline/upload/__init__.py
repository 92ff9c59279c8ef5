"""Uploads a folder to a bucket unchanged, for users who only want to host their files.

Every regular file is stored under its path, race file or not; nothing is identified, derived or
published. See ``orchestration/sync.py`` for the lake, which copies race files only and derives tables from them.

>>> from apex_pipeline.upload import upload_directory_to_s3  # doctest: +SKIP
>>> upload_directory_to_s3("race-files", "apex-racing-data", "data").summary  # doctest: +SKIP
"""

from apex_pipeline.upload.upload import (
    UploadedFile,
    UploadEvent,
    UploadReport,
    UploadStatus,
    upload_directory_to_s3,
    upload_folder,
)


def main() -> None:
    """Upload ``APEX_SOURCE_DIR`` and exit: 0 if all files are in the bucket, 1 if some failed, 2 for wrong settings."""
    from apex_pipeline.upload.command import main as run_command  # noqa: PLC0415  -- the library needs no command line

    run_command()


__all__ = [
    "UploadEvent",
    "UploadReport",
    "UploadStatus",
    "UploadedFile",
    "main",
    "upload_directory_to_s3",
    "upload_folder",
]
