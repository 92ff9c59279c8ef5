"""The server of a comparison and whoever looks into it, in a process of their own: the measuring one must stay small.

Run as ``python -m transfer_engines.server_process SEAWEED_OR_JUICEFS``. It prints address and keys as JSON, then
answers each line of its input by a line of JSON: ``new`` (a bucket's name), ``check BUCKET FOLDER`` (facts),
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
        raise SystemExit(f"{tool} is not installed (lock file of this project).")
    with running(binary) as server, closing(server.client()) as client:
        _say({"endpoint": server.endpoint, "key_id": server.access_key_id, "secret": server.secret_access_key})
        for line in sys.stdin:
            what, *arguments = shlex.split(line)
            if what == "new":
                _say(_new_bucket(client))
                continue
            bucket = S3Bucket(arguments[0], server, client)
            if what == "check":
                _say(_facts(bucket, Path(arguments[1])))
            else:
                bucket.clear()
                client.delete_bucket(Bucket=bucket.name)
                _say("dropped")


def _new_bucket(client: "S3Client") -> str:
    """Make a bucket, a new one for each run: SeaweedFS gives the disk of deleted bytes back with their bucket only."""
    name = f"bench-{uuid4().hex[:20]}"
    client.create_bucket(Bucket=name)
    # The first object makes the server lay out files for the bucket; nobody is to pay for that.
    client.put_object(Bucket=name, Key="first", Body=b"first")
    client.delete_object(Bucket=name, Key="first")
    return name


def _facts(bucket: S3Bucket, folder: Path) -> dict[str, object]:
    """Return how many objects there are, whether the last is its file, and a mark that changes with any writing."""
    pages = bucket.client.get_paginator("list_objects_v2").paginate(Bucket=bucket.name)
    entries = [entry for page in pages for entry in page.get("Contents", [])]
    marks = [f"{entry.get('Key')} {entry.get('ETag')} {entry.get('LastModified')}" for entry in entries]
    last = max(folder.iterdir())
    stored = hashlib.sha256()
    with closing(bucket.client.get_object(Bucket=bucket.name, Key=last.name)["Body"]) as body:
        for block in body.iter_chunks(_BLOCK_BYTES):
            stored.update(block)
    is_same = stored.digest() == _digest(last)
    mark = hashlib.sha256("\n".join(sorted(marks)).encode()).hexdigest()
    return {"objects": len(entries), "uploads": len(bucket.uploads()), "is_same": is_same, "mark": mark}


@cache
def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _say(fact: object) -> None:
    print(json.dumps(fact), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
