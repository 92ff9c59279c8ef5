"""Sends PUT, HEAD and GET of one object like boto3's client, and lets that client send what it cannot.

Contains one request with its repetitions. Whether and when a request is repeated is decided by the rules of botocore's
client, through its events, so both share one budget of retries and one count of requests. See capability.py for who
sends a request at all.
"""

import logging
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import urllib3
from botocore.exceptions import BotoCoreError
from botocore.hooks import first_non_none_response

from apex_pipeline.storage.s3.direct.addressing import Addressing
from apex_pipeline.storage.s3.direct.arguments import headers_of
from apex_pipeline.storage.s3.direct.connections import Connections
from apex_pipeline.storage.s3.direct.replies import VERIFIED, HttpReply, Reply, ReplyReader, UnknownReplyError

if TYPE_CHECKING:  # stubs, installed for development only
    from types_boto3_s3 import S3Client

_LOG = logging.getLogger(__name__)
_METHODS: Final = {"PutObject": "PUT", "HeadObject": "HEAD", "GetObject": "GET"}
_FIRST_FAILURE: Final = 300


@dataclass(frozen=True)
class _Request:
    """One request, before it is signed."""

    operation: str
    key: str
    headers: Mapping[str, str]
    body: bytes | None
    context: dict[str, Any]


@dataclass(frozen=True)
class _Received:
    """A reply, as botocore's rules and as callers read it."""

    http: HttpReply
    reply: Reply


class DirectClient:
    """Sends requests for the objects of one bucket. Safe to share between threads.

    Its methods take the arguments of boto3's client, return the same replies and raise the same errors.

    Args:
        client: boto3's client.
        bucket: Name of the bucket.
        addressing: How that client sends its requests.
        connections: The connections to the store.
    """

    def __init__(self, client: "S3Client", bucket: str, addressing: Addressing, connections: Connections) -> None:
        self._client: Any = client
        self._bucket = bucket
        self._addressing = addressing
        self._connections = connections
        self._events = client.meta.events
        self._config: Any = client.meta.config
        models = {name: client.meta.service_model.operation_model(name) for name in _METHODS}
        self._models = models
        self._readers = {name: ReplyReader(model) for name, model in models.items()}
        self._is_verifying = self._config.response_checksum_validation == "when_supported"
        self._attempts = (self._config.retries or {}).get("total_max_attempts")
        self._is_elsewhere = False

    def put_object(self, *, Key: str, Body: bytes, **arguments: Any) -> Any:  # noqa: ANN401, N803  -- boto3's names
        """Write an object, like boto3's method."""
        return self._call("PutObject", Key, Body, arguments)

    def head_object(self, *, Key: str, **arguments: Any) -> Any:  # noqa: ANN401, N803  -- boto3's names
        """Describe an object, like boto3's method."""
        return self._call("HeadObject", Key, None, arguments)

    def get_object(self, *, Key: str, **arguments: Any) -> Any:  # noqa: ANN401, N803  -- boto3's names
        """Read an object, like boto3's method."""
        return self._call("GetObject", Key, None, arguments)

    def _call(self, operation: str, key: str, body: bytes | None, arguments: dict[str, Any]) -> Reply:
        bucket = arguments.pop("Bucket")
        headers = headers_of(arguments)
        if headers is not None and bucket == self._bucket and not self._is_elsewhere:
            if operation == "GetObject" and self._is_verifying:
                headers["x-amz-checksum-mode"] = VERIFIED["ChecksumMode"]
            # With these, botocore's handler of redirects does nothing: they are left to the client itself.
            context = {"s3_redirect": {"redirected": True, "bucket": bucket}}
            try:
                return self._send(_Request(operation, key, headers, body, context))
            except UnknownReplyError as unknown:
                _LOG.debug("Leaving %s of %s to botocore.", operation, key)
                self._is_elsewhere = self._is_elsewhere or unknown.is_lasting
        method = {"PutObject": "put_object", "HeadObject": "head_object", "GetObject": "get_object"}[operation]
        with_body = {} if body is None else {"Body": body}
        return getattr(self._client, method)(Bucket=bucket, Key=key, **with_body, **arguments)

    def _send(self, request: _Request) -> Reply:
        """Send a request as often as botocore's rules say, and return the reply."""
        invocation_id, attempt = str(uuid.uuid4()), 1
        while True:
            outcome = self._attempt(request, invocation_id, attempt)
            pause_s = self._pause_before_retry(request, outcome, attempt)
            if pause_s is None:
                break
            time.sleep(pause_s)
            attempt += 1
        if isinstance(outcome, BotoCoreError):
            raise outcome
        http, reply = outcome.http, outcome.reply
        reply["ResponseMetadata"]["RetryAttempts"] = attempt - 1
        self._emit("after-call", request, http_response=http, parsed=reply, context=request.context)
        if http.status_code >= _FIRST_FAILURE:
            error = self._client.exceptions.from_code(reply.get("Error", {}).get("Code"))
            raise error(reply, request.operation)
        return reply

    def _attempt(self, request: _Request, invocation_id: str, attempt: int) -> _Received | BotoCoreError:
        """Send a request once, and return the reply or the error for which there is none."""
        method, url = _METHODS[request.operation], self._addressing.url(request.key)
        signed = self._addressing.sign(method, url, request.headers, request.body, self._config)
        headers = {
            **self._addressing.headers,
            **dict(signed.headers.items()),
            "amz-sdk-invocation-id": invocation_id,
            "amz-sdk-request": f"attempt={attempt}; max={self._attempts}",
        }
        self._emit("before-send", request, request=signed)
        described: dict[str, Any] | None = None
        try:
            is_streamed = request.operation == "GetObject"
            received, body = self._connections.send(method, url, headers, request.body, is_streamed=is_streamed)
            described = {"status_code": received.status, "headers": received.headers}
            return self._read(request, received, body)
        except BotoCoreError as error:
            return error
        finally:
            self._emit("response-received", request, response_dict=described)

    def _read(self, request: _Request, received: urllib3.BaseHTTPResponse, body: bytes) -> _Received:
        """Return a reply, after botocore's and this project's checks of its form."""
        reader, added = self._readers[request.operation], Reply()
        try:
            described = reader.start(received, body, is_verified=self._is_verifying)
            self._emit("before-parse", request, response_dict=described, customized_response_dict=added)
            http = HttpReply(described["status_code"], received.headers, received)
            return _Received(http, reader.read(described) | added)
        except BaseException:
            received.close()
            raise

    def _pause_before_retry(self, request: _Request, outcome: _Received | BotoCoreError, attempt: int) -> float | None:
        """Return how long to wait before the request is sent again; ``None`` if it is not."""
        is_received = isinstance(outcome, _Received)
        if is_received and outcome.http.status_code < _FIRST_FAILURE:
            return None
        responses = self._emit(
            "needs-retry",
            request,
            response=(outcome.http, outcome.reply) if is_received else None,
            endpoint=None,
            attempts=attempt,
            caught_exception=None if is_received else outcome,
            request_dict={"context": request.context},
        )
        pause_s = first_non_none_response(responses)
        return None if pause_s is None or pause_s is False else float(pause_s)

    def _emit(self, event: str, about: _Request, /, **facts: Any) -> Any:  # noqa: ANN401  -- what handlers return
        model = self._models[about.operation]
        return self._events.emit(f"{event}.s3.{about.operation}", operation=model, operation_model=model, **facts)
