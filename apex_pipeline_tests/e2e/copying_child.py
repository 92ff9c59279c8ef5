"""Copies a folder into a bucket as a sync does, in a process that tests kill and benchmarks measure.

    python -m apex_pipeline_tests.e2e.copying_child ENDPOINT BUCKET FOLDER STATE

The credentials come from ``AWS_ACCESS_KEY_ID`` and ``AWS_SECRET_ACCESS_KEY``. The key of each file is its path relative
to the folder. The exit code is 1 if a file could not be copied.
"""

import os
import sys
from pathlib import Path

from apex_pipeline.storage.copy import CopyItem, copy_files
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.s3.client import S3Connection
from apex_pipeline.storage.s3.store import S3Store


def main(endpoint: str, bucket: str, folder: Path, state: Path) -> int:
    """Copy every file of the folder that is not in the bucket yet; return the exit code."""
    connection = S3Connection(
        bucket, "us-east-1", endpoint, os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    )
    digest_cache = DigestCache(state / "fingerprints.sqlite")
    store = S3Store(connection, "", digest_cache, state=state)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    items = [CopyItem(path, path.relative_to(folder).as_posix()) for path in files]
    report = copy_files(store, items, digest_cache)
    for failure in report.failed:
        sys.stderr.write(f"{failure.item.key}: {failure.error}\n")
    return 0 if report else 1


if __name__ == "__main__":
    _endpoint, _bucket, _folder, _state = sys.argv[1:]
    sys.exit(main(_endpoint, _bucket, Path(_folder), Path(_state)))
