"""Copies with plain boto3 at its best: one shared transfer manager, the classic client, a CRC32 of every object.

Run as ``python -m transfer_engines.plain_boto3 ENDPOINT BUCKET FOLDER CONCURRENCY``. It keeps no journal, so
an interrupted upload starts again, and it also sends objects that already exist.
"""

import sys
from pathlib import Path

import boto3
from boto3.s3.transfer import TransferConfig, create_transfer_manager
from botocore.config import Config

# As many as our own client may open, so that threads never wait for a connection.
_CONNECTIONS = 32


def copy(endpoint: str, bucket: str, folder: Path, concurrency: int) -> None:
    """Upload every file of a folder."""
    config = Config(signature_version="s3v4", s3={"addressing_style": "path"}, max_pool_connections=_CONNECTIONS)
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", config=config)
    # CRC32 is the default of boto3; for multipart uploads it sends one of the full object only on request.
    checksum = {"ChecksumAlgorithm": "CRC32", "ChecksumType": "FULL_OBJECT"}
    transfers = TransferConfig(preferred_transfer_client="classic", max_concurrency=concurrency)
    with create_transfer_manager(client, transfers) as manager:
        for upload in [
            manager.upload(str(path), bucket, path.name, extra_args=checksum) for path in sorted(folder.iterdir())
        ]:
            upload.result()


if __name__ == "__main__":
    _endpoint, _bucket, _folder, _concurrency = sys.argv[1:]
    copy(_endpoint, _bucket, Path(_folder), int(_concurrency))
