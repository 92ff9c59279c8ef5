"""The one place where a boto3 client is made, with every setting that matters said here.

Here belong client, transfer manager and where the credentials come from. Not here: what is done with them (``s3.py``).
Nothing is made, looked up or sent before the first use.
"""

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import boto3
from boto3.s3.transfer import TransferConfig, create_transfer_manager
from botocore.config import Config

from apex_pipeline import __version__
from apex_pipeline.errors import StoreConfigError
from apex_pipeline.storage.s3_errors import Place, s3_errors

if TYPE_CHECKING:  # stubs, installed for development only
    from s3transfer.manager import TransferManager
    from types_boto3_s3 import S3Client

_MIB = 1024 * 1024
# 10 requests at a time with 8 MiB each: throughput stops growing there, and 80 MiB of memory is the most it takes.
_PART_BYTES = 8 * _MIB
_PARALLEL_REQUESTS = 10
# "adaptive" stalls a whole client after one slow answer; "standard" gives up after 3 unless told otherwise.
_ATTEMPTS = 8


@dataclass(eq=False)
class S3Connection:
    """How to reach a bucket. May be shared by threads.

    Attributes:
        bucket: Name of the bucket.
        region: Region of the bucket.
        endpoint_url: Address of an S3-compatible store; ``None`` is AWS.
        access_key_id: With ``secret_access_key``, the credentials; without, boto3 looks for some.
        secret_access_key: The secret; not shown in ``repr``.
        session_token: For temporary credentials; not shown in ``repr``.
    """

    bucket: str
    region: str
    endpoint_url: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._session: boto3.Session | None = None
        self._client: S3Client | None = None
        self._transfers: TransferManager | None = None

    @property
    def place(self) -> Place:
        """The bucket, for messages."""
        return Place(self.bucket, self.endpoint_url or f"AWS {self.region}", self.credential_source)

    @property
    def client(self) -> "S3Client":
        """The client, made at the first use.

        Raises:
            StoreError: The settings or the credentials cannot be used.
        """
        with self._lock:
            if self._client is None:
                with s3_errors(self.place, "Connecting to"):
                    self._client = self._make_client()
            return self._client

    @property
    def transfers(self) -> "TransferManager":
        """The one transfer manager for all uploads and copies: its threads and connections are shared."""
        client = self.client
        with self._lock:
            if self._transfers is None:
                config = TransferConfig(
                    multipart_threshold=_PART_BYTES,
                    multipart_chunksize=_PART_BYTES,
                    max_concurrency=_PARALLEL_REQUESTS,
                    # The other client, chosen by itself on some machines, ignores the endpoint and sends to AWS.
                    preferred_transfer_client="classic",
                )
                self._transfers = create_transfer_manager(client, config)
            return self._transfers

    def credential_source(self) -> str:
        """Say where the credentials come from, never what they are."""
        if self.access_key_id is not None:
            return "from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        credentials = None if self._session is None else self._session.get_credentials()
        return "none found" if credentials is None else f"found by boto3 ({credentials.method})"

    def _make_client(self) -> "S3Client":
        self._session = boto3.Session(
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            aws_session_token=self.session_token,
            region_name=self.region,
        )
        config = Config(
            signature_version="s3v4",
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
            connect_timeout=10,
            read_timeout=60,
            max_pool_connections=32,
            # botocore finds out by itself for AWS; names such as minio.local have no sub-domain per bucket.
            s3={"addressing_style": "path" if self.endpoint_url else "auto"},
            user_agent_extra=f"apex-pipeline/{__version__}",
        )
        try:
            return self._session.client("s3", endpoint_url=self.endpoint_url, config=config)
        except ValueError as error:  # botocore's word for an endpoint that is no URL
            raise StoreConfigError(
                f"The store's address {self.endpoint_url!r} cannot be used: {error}.",
                "Set S3_ENDPOINT_URL to a URL such as http://127.0.0.1:9000.",
            ) from error


__all__ = ["S3Connection"]
