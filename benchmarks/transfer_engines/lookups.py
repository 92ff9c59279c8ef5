"""Looks up or reads every object of a bucket, with our store or with botocore's client; one process per run.

Run as ``python -m transfer_engines.lookups ENGINE OPERATION ENDPOINT BUCKET FOLDER``; the engine is ``ours`` or
``botocore``, the operation ``head`` or ``get``. The keys are the names of the files in the folder. Both use 10 threads;
ours also compares the content with its digest.
"""

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

_THREADS = 10


def run(engine: str, operation: str, endpoint: str, bucket: str, folder: Path) -> int:
    """Send one request per file; return the number of objects."""
    keys = sorted(path.name for path in folder.iterdir())
    one = (_ours if engine == "ours" else _botocore)(operation, endpoint, bucket)
    with ThreadPoolExecutor(_THREADS) as pool:
        return sum(pool.map(lambda key: bool(one(key)), keys))


def _ours(operation: str, endpoint: str, bucket: str) -> Callable[[str], Any]:
    from apex_pipeline.storage.digest_cache import DigestCache  # noqa: PLC0415  -- not imported for the other engine
    from apex_pipeline.storage.s3.client import S3Connection  # noqa: PLC0415  -- as above
    from apex_pipeline.storage.s3.store import S3Store  # noqa: PLC0415  -- as above

    key_id, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    store = S3Store(S3Connection(bucket, "us-east-1", endpoint, key_id, secret), "", DigestCache())
    return store.head if operation == "head" else store.read_bytes


def _botocore(operation: str, endpoint: str, bucket: str) -> Callable[[str], Any]:
    import botocore.session  # noqa: PLC0415  -- not imported for the other engine
    from botocore.config import Config  # noqa: PLC0415  -- as above

    config = Config(signature_version="s3v4", s3={"addressing_style": "path"}, max_pool_connections=32)
    client: Any = botocore.session.Session().create_client(
        "s3", region_name="us-east-1", endpoint_url=endpoint, config=config
    )
    if operation == "head":
        return lambda key: client.head_object(Bucket=bucket, Key=key)
    return lambda key: client.get_object(Bucket=bucket, Key=key)["Body"].read()


if __name__ == "__main__":
    _engine, _operation, _endpoint, _bucket, _folder = sys.argv[1:]
    _found = run(_engine, _operation, _endpoint, _bucket, Path(_folder))
    _wanted = sum(1 for _ in Path(_folder).iterdir())
    if _found != _wanted:
        sys.exit(f"{_found} of {_wanted} objects")
