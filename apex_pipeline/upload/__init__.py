"""Uploads a folder to a bucket as it is: for people who want their files hosted and nothing else.

Every regular file is stored under its own path, race file or not; nothing is identified, derived or published. See
``orchestration/sync.py`` for the lake, which copies race files only and derives tables from them.

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
    """Upload ``APEX_SOURCE_DIR`` and end the process: 0 all there, 1 some files failed, 2 configuration."""
    # The one import against the layers (pyproject.toml): the call stays here, and prints like ``apex upload``.
    from apex_pipeline.cli.upload import main as run_command  # noqa: PLC0415  -- only for those who want a program

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
