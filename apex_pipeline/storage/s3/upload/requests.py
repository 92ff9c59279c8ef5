"""The requests uploads are made of, each with its checksum, its receipt compared, and tried again where that helps.

Here belongs all that is sent to a bucket while something is written. In which order is told in ``uploader.py`` and
``multipart.py``.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, cast

from apex_pipeline.errors import ApexError
from apex_pipeline.storage.s3.client import S3Connection
from apex_pipeline.storage.s3.errors import error_code, s3_errors
from apex_pipeline.storage.s3.retry import retry
from apex_pipeline.storage.s3.upload.checksums import ChecksumMode, RequestBody

Reply = Mapping[str, Any]


class UploadRequests:
    """Sends the requests of uploads into one bucket; may be shared by threads.

    Every method raises ``StoreError`` if the store refuses, ``StoreUnavailableError`` if it cannot be reached now.

    Args:
        connection: How to reach the bucket.
        sleep: Waits between two tries.
    """

    def __init__(self, connection: S3Connection, sleep: Callable[[float], None]) -> None:
        self._connection = connection
        self._sleep = sleep

    def put(self, key: str, body: RequestBody, options: dict[str, Any]) -> Reply:
        """Write an object in one request."""

        def request() -> Reply:
            claims = body.checksum_headers(self._connection.checksum_mode)
            reply = self._connection.client.put_object(
                Bucket=self._connection.bucket, Key=key, Body=body.content, **options, **claims
            )
            return self._checked(body, key, reply)

        return self._ask("Writing", key, request)

    def begin(self, key: str, options: dict[str, Any], dialect: ChecksumMode) -> str:
        """Begin an upload in parts and return the store's name for it."""
        if dialect is ChecksumMode.CRC32:
            # One sum over the whole object, which a reader can check, and not one over the parts' sums.
            options = {**options, "ChecksumAlgorithm": "CRC32", "ChecksumType": "FULL_OBJECT"}

        def request() -> Reply:
            return self._connection.client.create_multipart_upload(Bucket=self._connection.bucket, Key=key, **options)

        reply = self._ask("Beginning to write", key, request)
        name = str(reply["UploadId"])
        if reply["ResponseMetadata"].get("RetryAttempts"):  # an earlier try may have begun one whose name was lost
            for other in self.uploads_to(key):
                if other != name:
                    self.abort(key, other)
        return name

    def part(self, key: str, upload_id: str, number: int, body: RequestBody, dialect: ChecksumMode) -> Reply:
        """Write one part."""
        where = self._upload(key, upload_id)

        def request() -> Reply:
            claims = body.checksum_headers(dialect)
            reply = self._connection.client.upload_part(**where, PartNumber=number, Body=body.content, **claims)
            return self._checked(body, key, reply)

        return self._ask(f"Writing part {number} of", key, request)

    def complete(self, key: str, upload_id: str, parts: list[dict[str, Any]], claims: dict[str, Any]) -> Reply:
        """Make an object of the parts."""
        where = self._upload(key, upload_id)

        def request() -> Reply:
            return self._connection.client.complete_multipart_upload(
                **where, MultipartUpload=cast("Any", {"Parts": parts}), **claims
            )

        return self._ask("Finishing", key, request)

    def parts(self, key: str, upload_id: str) -> dict[int, Reply] | None:
        """Return the parts the store has, by number; ``None`` if it knows no such upload."""
        where = self._upload(key, upload_id)

        def request() -> dict[int, Reply]:
            pages = self._connection.client.get_paginator("list_parts").paginate(**where)
            found: list[Any] = [part for page in pages for part in page.get("Parts", [])]
            return {part["PartNumber"]: part for part in found}

        try:
            return self._ask("Looking for the parts of", key, request)
        except ApexError as error:
            if error_code(error) != "NoSuchUpload":
                raise
            return None

    def uploads_to(self, key: str) -> list[str]:
        """Return the names of all uploads in parts to this very key."""

        def request() -> list[str]:
            pages = self._connection.client.get_paginator("list_multipart_uploads")
            found: list[Any] = [
                upload
                for page in pages.paginate(Bucket=self._connection.bucket, Prefix=key)
                for upload in page.get("Uploads", [])
            ]
            return [upload["UploadId"] for upload in found if upload["Key"] == key]

        return self._ask("Looking for uploads of", key, request)

    def abort(self, key: str, upload_id: str) -> None:
        """Take an upload in parts back; one that is gone is no error."""
        where = self._upload(key, upload_id)
        try:
            self._ask("Aborting an upload of", key, lambda: self._connection.client.abort_multipart_upload(**where))
        except ApexError as error:
            if error_code(error) != "NoSuchUpload":
                raise

    def facts(self, key: str) -> Reply:
        """Look an object up."""
        return self._ask(
            "Looking up", key, lambda: self._connection.client.head_object(Bucket=self._connection.bucket, Key=key)
        )

    def _upload(self, key: str, upload_id: str) -> Any:  # noqa: ANN401  -- taken apart into named arguments
        return {"Bucket": self._connection.bucket, "Key": key, "UploadId": upload_id}

    def _checked(self, body: RequestBody, key: str, reply: Reply) -> Reply:
        spoken = body.check(reply, f"s3://{self._connection.bucket}/{key}")
        if spoken is ChecksumMode.CONTENT_MD5:
            self._connection.set_checksum_mode(spoken)
        return reply

    def _ask(self, operation: str, key: str, request: Callable[[], Any]) -> Any:  # noqa: ANN401  -- boto3's replies
        def attempt() -> Any:  # noqa: ANN401  -- as above
            with s3_errors(self._connection.error_context, operation, key):
                return request()

        return retry(attempt, self._sleep)


def tag_of(reply: Reply) -> str:
    """Return the version mark a store answered with."""
    return str(reply["ETag"]).strip('"')


def answered_utc(reply: Reply) -> datetime:
    """Return the store's clock when it answered, aware; this machine's where it tells none."""
    date = reply["ResponseMetadata"]["HTTPHeaders"].get("date")
    return parsedate_to_datetime(date).astimezone(UTC) if date else datetime.now(UTC)
