"""A folder into a bucket, as it is: for people who want their files hosted and nothing else.

Every regular file goes under its own path, race file or not; nothing is identified, derived or published. Here belong
the choice of the files, what is told about each, and the report. Copying one file safely is ``storage/copying.py``;
the lake, which copies only race files and makes tables of them, is ``sync.py``.

>>> from apex_pipeline.upload import upload_directory_to_s3  # doctest: +SKIP
>>> upload_directory_to_s3("race-files", "apex-racing-data", "data").summary  # doctest: +SKIP
"""

from apex_pipeline.upload.command import main, upload_directory_to_s3
from apex_pipeline.upload.folder import upload_folder
from apex_pipeline.upload.report import UploadedFile, UploadReport, UploadStatus

__all__ = ["UploadReport", "UploadStatus", "UploadedFile", "main", "upload_directory_to_s3", "upload_folder"]
