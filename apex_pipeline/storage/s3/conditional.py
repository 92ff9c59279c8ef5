"""Conditional writes to a bucket: replace an object only if no other process has in the meantime.

AWS and current compatible stores compare and write in one step (``If-Match``, ``If-None-Match``). Old stores ignore the
condition, which must be found out before relying on it, or refuse it: there, a lookup precedes a plain write.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from uuid import uuid4

from apex_pipeline.errors import ApexError, ObjectMissingError, StoreError
from apex_pipeline.storage.base import ObjectInfo
from apex_pipeline.storage.s3.client import S3Connection
from apex_pipeline.storage.s3.errors import error_code, s3_errors
from apex_pipeline.storage.s3.reader import S3Reader
from apex_pipeline.storage.s3.retry import PAUSES_S
from apex_pipeline.storage.s3.upload.checksums import recorded_write_id
from apex_pipeline.storage.s3.upload.uploader import Target, Uploader, UploadResult

_LOG = logging.getLogger(__name__)

# The condition did not hold. AWS replies NoSuchKey if there is no object to compare with.
_NOT_MET = frozenset({"PreconditionFailed", "412", "NoSuchKey"})
# Another write of the same key was in progress: AWS asks the client to send the request again.
_CONFLICTS = frozenset({"ConditionalRequestConflict", "OperationAborted", "409"})
# Replies of stores to a request that they would accept without the condition.
_REFUSALS = frozenset(
    {"NotImplemented", "InvalidArgument", "InvalidRequest", "MethodNotAllowed", "BadRequest", "400", "405", "501"}
)
# What was found out about each endpoint and bucket: a sync opens its lake again in every run.
_SUPPORTED: dict[tuple[str | None, str], bool] = {}
_LOCK = threading.Lock()
_PROBE = b"apex tries out here whether the store supports conditional writes"


class ConditionalWriter:
    """Writes objects of one bucket under a condition. Safe to share between threads.

    Args:
        connection: How to reach the bucket.
        reader: Reads the objects to be compared.
        uploader: Sends the writes.
        probe_target: Returns a new object to be written as a test.
        sleep: Waits between attempts.
    """

    def __init__(
        self,
        connection: S3Connection,
        reader: S3Reader,
        uploader: Uploader,
        probe_target: Callable[[], Target],
        sleep: Callable[[float], None],
    ) -> None:
        self._connection = connection
        self._reader = reader
        self._uploader = uploader
        self._probe_target = probe_target
        self._sleep = sleep
        # AWS supports conditional writes everywhere since November 2024; any other store must prove it.
        self._is_supported = True if connection.endpoint_url is None else None

    @property
    def is_supported(self) -> bool:
        """Whether the store compares and writes in one step; tested once per bucket and process, in four requests.

        Raises:
            StoreError: The test object could not be written.
        """
        place = self._connection.endpoint_url, self._connection.bucket
        with _LOCK:
            if self._is_supported is None:
                self._is_supported = _SUPPORTED.get(place)
            if self._is_supported is None:
                self._is_supported = _SUPPORTED[place] = self._probe()
                if not self._is_supported:
                    _LOG.warning(
                        "%s does not support conditional writes; a lease keeps others from writing at the same time.",
                        self._connection.error_context.endpoint,
                    )
            return self._is_supported

    def write_if(
        self, key: str, target: Target, content: bytes, expected_tag: str | None
    ) -> ObjectInfo | UploadResult | None:
        """Write the object if it has this tag (``None``: if there is none); ``None`` if the condition does not hold."""
        if not self.is_supported:
            return self._compare_and_write(key, target, content, expected_tag)
        write_id = uuid4().hex
        for pause_s in (*PAUSES_S, 0.0):
            try:
                return self._uploader.send_if(target, content, write_id, _condition(expected_tag))
            except ApexError as error:
                code = error_code(error)
                if code in _NOT_MET:
                    break
                if code not in _CONFLICTS:
                    raise
            self._sleep(pause_s)
        return self._find_own(key, content, write_id)

    def _find_own(self, key: str, content: bytes, write_id: str) -> ObjectInfo | None:
        """Return the object if it is this write, whose reply was lost: the repeated request is then refused."""
        try:
            if recorded_write_id(self._reader.find(key).metadata) != write_id:
                return None
            found, present = self._reader.read_whole(key)
        except ObjectMissingError:
            return None
        return found.info if present == content else None

    def _compare_and_write(
        self, key: str, target: Target, content: bytes, expected_tag: str | None
    ) -> UploadResult | None:
        try:
            present = self._reader.find(key).info.tag
        except ObjectMissingError:
            present = None
        return self._uploader.send(target, content) if present == expected_tag else None

    def _probe(self) -> bool:
        """Return whether the store refuses to overwrite an object that exists, and one that has another tag."""
        target = self._probe_target()
        # Without a condition, so that a later refusal is one of the condition and not of the checksum.
        self._uploader.send(target, _PROBE)
        try:
            return self._is_refused(target, None) and self._is_refused(target, "0" * 32)
        finally:
            with suppress(StoreError), s3_errors(self._connection.error_context, "Deleting", target.key):
                self._connection.client.delete_object(Bucket=self._connection.bucket, Key=target.key)

    def _is_refused(self, target: Target, expected_tag: str | None) -> bool:
        """Return whether the store compares: a condition that does not hold must be refused for that reason."""
        try:
            self._uploader.send_if(target, _PROBE, uuid4().hex, _condition(expected_tag))
        except ApexError as error:
            if error_code(error) in _NOT_MET:
                return True
            if isinstance(error, StoreError) and error_code(error) in _REFUSALS:
                return False
            raise
        return False


def _condition(expected_tag: str | None) -> dict[str, str]:
    return {"IfNoneMatch": "*"} if expected_tag is None else {"IfMatch": f'"{expected_tag}"'}
