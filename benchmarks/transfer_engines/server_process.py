"""Runs and inspects the server of a comparison in a separate process, because the measuring process must stay small.

Run as ``python -m transfer_engines.server_process SEAWEEDFS_OR_JUICEFS``. It prints address and keys as JSON, then
answers each line of its input with a line of JSON: ``new`` (name of a new bucket), ``check BUCKET FOLDER`` (facts),
``drop BUCKET``. At the end of its input it stops the server and removes its data.
"""

import hashlib
import json
import shlex
import sys
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from apex_pipeline_tests.servers.juicefs import running_old_server
from apex_pipeline_tests.servers.s3_server import S3Bucket, find_binary
from apex_pipeline_tests.servers.seaweed import running_seaweed

if TYPE_CHECKING:  # stubs, installed for development only
    from types_boto3_s3 import S3Client

_SERVERS = {"seaweedfs": ("weed", running_seaweed), "juicefs": ("juicefs", running_old_server)}
_BLOCK_BYTES = 1 << 20


def serve(name: str) -> None:
    """Run the server until the input ends."""
    tool, running = _SERVERS[name]
    binary = find_binary(tool)
    if binary is None:
        raise SystemExit(f"{tool} is not installed; it is in this project's lock file.")
    with running(binary) as server, closing(server.client()) as client:
        _reply({"endpoint": server.endpoint, "key_id": server.access_key_id, "secret": server.secret_access_key})
        for line in sys.stdin:
            action, *arguments = shlex.split(line)
            if action == "new":
                _reply(_new_bucket(client))
                continue
            bucket = S3Bucket(arguments[0], server, client)
            if action == "check":
                _reply(_facts(bucket, Path(arguments[1])))
            else:
                bucket.clear()
                client.delete_bucket(Bucket=bucket.name)
                _reply("dropped")


def _new_bucket(client: "S3Client") -> str:
    """Create a bucket; each run gets a new one, because SeaweedFS frees deleted bytes only with their bucket."""
    name = f"bench-{uuid4().hex[:20]}"
    client.create_bucket(Bucket=name)
    # The first object makes the server create files for the bucket, which should not be measured.
    client.put_object(Bucket=name, Key="first", Body=b"first")
    client.delete_object(Bucket=name, Key="first")
    return name


def _facts(bucket: S3Bucket, folder: Path) -> dict[str, object]:
    """Return the number of objects, whether the last one equals its file, and a hash that changes with any write."""
    pages = bucket.client.get_paginator("list_objects_v2").paginate(Bucket=bucket.name)
    entries = [entry for page in pages for entry in page.get("Contents", [])]
    states = [f"{entry.get('Key')} {entry.get('ETag')} {entry.get('LastModified')}" for entry in entries]
    last = max(folder.iterdir())
    stored = hashlib.sha256()
    with closing(bucket.client.get_object(Bucket=bucket.name, Key=last.name)["Body"]) as body:
        for block in body.iter_chunks(_BLOCK_BYTES):
            stored.update(block)
    is_same = stored.digest() == _digest(last)
    state_hash = hashlib.sha256("\n".join(sorted(states)).encode()).hexdigest()
    return {"objects": len(entries), "uploads": len(bucket.uploads()), "is_same": is_same, "state_hash": state_hash}


@cache
def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _reply(fact: object) -> None:
    print(json.dumps(fact), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
