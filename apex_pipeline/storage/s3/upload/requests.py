"""Sends the requests of uploads: with a checksum, verified against the reply, and retried after interruptions.

Contains every request sent while writing an object; see uploader.py and multipart.py for their order.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, cast

from apex_pipeline.errors import ApexError
from apex_pipeline.storage.s3.client import S3Connection
from apex_pipeline.storage.s3.errors import error_code, s3_errors
from apex_pipeline.storage.s3.reader import store_time_utc
from apex_pipeline.storage.s3.retry import retry
from apex_pipeline.storage.s3.upload.checksums import ChecksumMode, RequestBody

Reply = Mapping[str, Any]


class UploadRequests:
    """Sends the requests of uploads to one bucket. Safe to share between threads.

    Every method raises ``StoreError`` if the store refuses the request and ``StoreUnavailableError`` if it cannot be
    reached now.

    Args:
        connection: How to reach the bucket.
        sleep: Waits between attempts.
    """

    def __init__(self, connection: S3Connection, sleep: Callable[[float], None]) -> None:
        self._connection = connection
        self._sleep = sleep

    def put(self, key: str, body: RequestBody, options: dict[str, Any]) -> Reply:
        """Write an object in one request."""

        def request() -> Reply:
            checksum = body.checksum_headers(self._connection.checksum_mode)
            reply = self._connection.objects.put_object(
                Bucket=self._connection.bucket, Key=key, Body=body.content, **options, **checksum
            )
            return self._checked(body, key, reply)

        return self._send("Writing", key, request)

    def start_upload(self, key: str, options: dict[str, Any], mode: ChecksumMode) -> str:
        """Start a multipart upload and return its ID."""
        if mode is ChecksumMode.CRC32:
            # A checksum of the entire object, which readers can verify, instead of one of the parts' checksums.
            options = {**options, "ChecksumAlgorithm": "CRC32", "ChecksumType": "FULL_OBJECT"}

        def request() -> Reply:
            return self._connection.client.create_multipart_upload(Bucket=self._connection.bucket, Key=key, **options)

        reply = self._send("Starting the upload of", key, request)
        upload_id = str(reply["UploadId"])
        if reply["ResponseMetadata"].get("RetryAttempts"):  # an earlier attempt may have started one and lost its ID
            for other in self.list_uploads(key):
                if other != upload_id:
                    self.abort(key, other)
        return upload_id

    def upload_part(self, key: str, upload_id: str, number: int, body: RequestBody, mode: ChecksumMode) -> Reply:
        """Write one part."""
        upload = self._upload_arguments(key, upload_id)

        def request() -> Reply:
            checksum = body.checksum_headers(mode)
            reply = self._connection.client.upload_part(**upload, PartNumber=number, Body=body.content, **checksum)
            return self._checked(body, key, reply)

        return self._send(f"Writing part {number} of", key, request)

    def complete(self, key: str, upload_id: str, parts: list[dict[str, Any]], checksum: dict[str, Any]) -> Reply:
        """Complete the upload: combine the parts into an object."""
        upload = self._upload_arguments(key, upload_id)

        def request() -> Reply:
            return self._connection.client.complete_multipart_upload(
                **upload, MultipartUpload=cast("Any", {"Parts": parts}), **checksum
            )

        return self._send("Completing the upload of", key, request)

    def list_parts(self, key: str, upload_id: str) -> dict[int, Reply] | None:
        """Return the parts in the store by number; ``None`` if the upload does not exist."""
        upload = self._upload_arguments(key, upload_id)

        def request() -> dict[int, Reply]:
            pages = self._connection.client.get_paginator("list_parts").paginate(**upload)
            found: list[Any] = [part for page in pages for part in page.get("Parts", [])]
            return {part["PartNumber"]: part for part in found}

        try:
            return self._send("Listing the parts of", key, request)
        except ApexError as error:
            if error_code(error) != "NoSuchUpload":
                raise
            return None

    def list_uploads(self, key: str) -> list[str]:
        """Return the IDs of all incomplete multipart uploads to exactly this key."""

        def request() -> list[str]:
            pages = self._connection.client.get_paginator("list_multipart_uploads")
            found: list[Any] = [
                upload
                for page in pages.paginate(Bucket=self._connection.bucket, Prefix=key)
                for upload in page.get("Uploads", [])
            ]
            return [upload["UploadId"] for upload in found if upload["Key"] == key]

        return self._send("Listing the uploads of", key, request)

    def abort(self, key: str, upload_id: str) -> None:
        """Abort a multipart upload; do nothing if it does not exist."""
        upload = self._upload_arguments(key, upload_id)
        try:
            self._send("Aborting the upload of", key, lambda: self._connection.client.abort_multipart_upload(**upload))
        except ApexError as error:
            if error_code(error) != "NoSuchUpload":
                raise

    def head(self, key: str) -> Reply:
        """Return the reply to a HEAD request for an object."""
        return self._send(
            "Looking up", key, lambda: self._connection.objects.head_object(Bucket=self._connection.bucket, Key=key)
        )

    def _upload_arguments(self, key: str, upload_id: str) -> Any:  # noqa: ANN401  -- keyword arguments for boto3
        return {"Bucket": self._connection.bucket, "Key": key, "UploadId": upload_id}

    def _checked(self, body: RequestBody, key: str, reply: Reply) -> Reply:
        mode = body.check(reply, f"s3://{self._connection.bucket}/{key}")
        if mode is ChecksumMode.CONTENT_MD5:
            if self._connection.checksum_mode is ChecksumMode.CRC32:  # ignored by the store, which is no refusal
                self._connection.set_checksum_mode(mode)
        else:
            self._connection.confirm_crc32()
        return reply

    def _send(self, operation: str, key: str, request: Callable[[], Any]) -> Any:  # noqa: ANN401  -- boto3's replies
        def attempt() -> Any:  # noqa: ANN401  -- as above
            with s3_errors(self._connection.error_context, operation, key):
                return request()

        return retry(attempt, self._sleep)


def etag_of(reply: Reply) -> str:
    """Return the ETag of a reply, without quotes."""
    return str(reply["ETag"]).strip('"')


def reply_time_utc(reply: Reply) -> datetime:
    """Return a reply's time (aware) by the store's clock, or by this machine's if the reply has no readable date."""
    return store_time_utc(reply) or datetime.now(UTC)
