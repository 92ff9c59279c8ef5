"""The connection to a bucket: client, transfer manager and credential source.

The only module that creates an S3 client, with every setting that matters; see store.py for its use. Nothing is
created, looked up or sent before the first use.
"""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import botocore.session
from botocore.config import Config

from apex_pipeline.errors import StoreConfigError
from apex_pipeline.storage.request_stats import RequestCounter
from apex_pipeline.storage.s3 import reply_checks
from apex_pipeline.storage.s3.credentials import SecretsManagerKey
from apex_pipeline.storage.s3.direct.client import DirectClient
from apex_pipeline.storage.s3.direct.opening import open_direct_client
from apex_pipeline.storage.s3.errors import ErrorContext, s3_errors
from apex_pipeline.storage.s3.sessions import WatchedEvents, endpoint_of_environment, load_credentials, new_session
from apex_pipeline.storage.s3.upload.checksums import ChecksumMode
from apex_pipeline.storage.s3.upload.remembered_mode import RememberedModes
from apex_pipeline.version import package_version

if TYPE_CHECKING:  # stubs, installed for development only
    from s3transfer.manager import TransferManager
    from types_boto3_s3 import S3Client

_LOG = logging.getLogger(__name__)

# 10 concurrent requests of 8 MiB each: more do not raise throughput, and this caps memory at 80 MiB.
_PARALLEL_REQUESTS = 10
# "adaptive" stalls the entire client after one slow reply; "standard" gives up after 3 attempts by default.
_ATTEMPTS = 8


@dataclass(eq=False)
class S3Connection:
    """How to reach a bucket. Safe to share between threads.

    Attributes:
        bucket: Name of the bucket.
        region: Region of the bucket.
        endpoint_url: Address of an S3-compatible store; ``None`` for AWS.
        access_key_id: Used together with ``secret_access_key``; ``None`` lets boto3 find the credentials.
        secret_access_key: The secret; not shown in ``repr``.
        session_token: For temporary credentials; not shown in ``repr``.
        connect_timeout_s: Longest wait for a connection.
        read_timeout_s: Longest pause within a reply.
        use_accelerate: Whether to send through AWS Transfer Acceleration.
        stored_key: Secret that holds the credentials, read at the first use; overrides those given here.
        attempts: How often botocore sends a request that fails; 1 for a caller that retries itself.
        checksums: ``auto`` sends CRC32 unless the store refuses it, ``required`` always, ``off`` never.
        remembered: Which stores refused it before.
        is_direct: Whether objects are sent and received without botocore's request building, where that is possible.
    """

    bucket: str
    region: str
    endpoint_url: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    connect_timeout_s: float = 10
    read_timeout_s: float = 60
    use_accelerate: bool = False
    stored_key: SecretsManagerKey | None = None
    attempts: int = _ATTEMPTS
    checksums: Literal["auto", "required", "off"] = "auto"
    remembered: RememberedModes = field(default_factory=lambda: RememberedModes(None), repr=False)
    is_direct: bool = True

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self.meter = RequestCounter()
        # boto3's name of what provided the credentials, if they were not given.
        self._provider: str | None = None
        self._client: S3Client | None = None
        self._events = WatchedEvents()
        self._direct: DirectClient | None = None
        self._transfers: TransferManager | None = None
        self._checksum_mode = self._first_checksum_mode()
        self._kept_mode = self._checksum_mode
        # Whether the store has confirmed a CRC32: it then refuses no request because of one.
        self._has_confirmed_crc32 = False
        # Limits concurrent requests, and so memory, across all files.
        self.upload_slots = threading.BoundedSemaphore(_PARALLEL_REQUESTS)

    @property
    def error_context(self) -> ErrorContext:
        """Bucket, endpoint and credential source, for error messages."""
        found = None if self.endpoint_url else endpoint_of_environment()
        if found is not None:
            return ErrorContext(self.bucket, found[0], self.credential_source, found[1])
        return ErrorContext(self.bucket, self.endpoint_url or f"AWS {self.region}", self.credential_source)

    @property
    def client(self) -> "S3Client":
        """The client, created at the first use.

        Raises:
            StoreError: The settings or the credentials cannot be used.
        """
        with self._lock:
            if self._client is None:
                with s3_errors(self.error_context, "Connecting to"):
                    self._client = self._create_client()
            return self._client

    @property
    def objects(self) -> Any:  # noqa: ANN401  -- boto3's client, or one with three of its methods
        """What sends PUT, HEAD and GET of one object: like :attr:`client`, and faster where possible.

        Raises:
            StoreError: The settings or the credentials cannot be used.
        """
        client = self.client
        return client if self._direct is None or self._events.foreign else self._direct

    @property
    def transfers(self) -> "TransferManager":
        """The transfer manager for server-side copies that are too large for one request."""
        client = self.client
        with self._lock:
            if self._transfers is None:
                # Its import takes 0.06 s, and only copies of more than 5 GB need it.
                from boto3.s3.transfer import TransferConfig, create_transfer_manager  # noqa: PLC0415  -- see above

                # The CRT client, the default of boto3 on some machines, ignores the endpoint and sends to AWS.
                config = TransferConfig(max_concurrency=_PARALLEL_REQUESTS, preferred_transfer_client="classic")
                self._transfers = create_transfer_manager(client, config)
            return self._transfers

    @cached_property
    def upload_pool(self) -> ThreadPoolExecutor:
        """The threads that send parts of large files; shared by all files."""
        return ThreadPoolExecutor(_PARALLEL_REQUESTS, thread_name_prefix="send-part")

    @property
    def checksum_mode(self) -> ChecksumMode:
        """The store's checksum mode; CRC32 until a reply shows otherwise."""
        return self._checksum_mode

    @property
    def has_confirmed_crc32(self) -> bool:
        """Whether the store has confirmed a CRC32 of content that was sent to it."""
        return self._has_confirmed_crc32

    def confirm_crc32(self) -> None:
        """Note that the store has confirmed a CRC32."""
        self._has_confirmed_crc32 = True

    def try_checksum_mode(self, mode: ChecksumMode) -> None:
        """Switch to this checksum mode, as an attempt; :meth:`set_checksum_mode` keeps it."""
        with self._lock:
            self._checksum_mode = mode

    def set_checksum_mode(self, mode: ChecksumMode) -> None:
        """Switch to this checksum mode for good, on this machine also for later commands.

        Raises:
            StoreConfigError: ``S3_CHECKSUMS`` requires another one.
        """
        endpoint = self.error_context.endpoint
        if mode is not ChecksumMode.CRC32 and self.checksums == "required":
            raise StoreConfigError(
                f"The store {endpoint} does not support CRC32 checksums, and S3_CHECKSUMS is required.",
                "Set S3_CHECKSUMS=auto to use Content-MD5 there, or use another store.",
            )
        with self._lock:
            is_new = self._kept_mode is not mode
            self._checksum_mode = self._kept_mode = mode
        if is_new:
            _LOG.info("%s does not support CRC32 checksums; using Content-MD5 instead.", endpoint)
            self.remembered.put(endpoint, mode)

    def _first_checksum_mode(self) -> ChecksumMode:
        if self.checksums == "off":
            return ChecksumMode.CONTENT_MD5
        known = self.remembered.get(self.error_context.endpoint) if self.checksums == "auto" else None
        return known or ChecksumMode.CRC32

    def credential_source(self) -> str:
        """Return where the credentials come from, never their values."""
        if self.stored_key is not None:
            return self.stored_key.source
        if self.access_key_id is not None:
            return "from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        return "none found" if self._provider is None else f"found by boto3 ({self._provider})"

    def _create_client(self) -> "S3Client":
        if self.stored_key is not None:
            key = self.stored_key.read()
            self.access_key_id, self.secret_access_key, self.session_token = key.key_id, key.secret, key.token
        session = self._open_session()
        config = Config(
            signature_version="s3v4",
            retries={"mode": "standard", "total_max_attempts": self.attempts},
            connect_timeout=self.connect_timeout_s,
            read_timeout=self.read_timeout_s,
            max_pool_connections=32,
            # Uploads set their own checksums; old stores refuse the ones boto3 would add to all other requests.
            request_checksum_calculation="when_required",
            s3={
                # For AWS, botocore chooses the style; names such as minio.local have no subdomain per bucket.
                "addressing_style": "path" if self.endpoint_url else "auto",
                # The signature covers each body's checksum. Signing a SHA-256 of the body as well costs 0.56 s of CPU
                # per GB and adds little without TLS, where an attacker can also read and change the replies.
                "payload_signing_enabled": False,
                "use_accelerate_endpoint": self.use_accelerate,
            },
            user_agent_extra=f"apex-pipeline/{package_version()}",
        )
        try:
            client: Any = session.create_client("s3", endpoint_url=self.endpoint_url, config=config)
        except ValueError as error:  # botocore raises this for an endpoint that is not a URL
            raise StoreConfigError(
                f"The store's address {self.error_context.endpoint!r} cannot be used: {error}.",
                f"Set {self.error_context.endpoint_setting} to a URL such as http://127.0.0.1:9000.",
            ) from error
        if self.is_direct:
            self._direct = open_direct_client(session, client, self.bucket, self._events.foreign)
        self.meter.attach(client.meta.events)
        reply_checks.attach(client.meta.events)
        return client

    def _open_session(self) -> botocore.session.Session:
        with s3_errors(self.error_context, "Loading the credentials for"):
            session = new_session(
                self.access_key_id, self.secret_access_key, self.session_token, self.region, self._events
            )
            if self.access_key_id is None:
                self._provider = load_credentials(session)
        return session
