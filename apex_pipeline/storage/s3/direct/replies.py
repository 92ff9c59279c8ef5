"""Turns replies for an object into what boto3 returns, by botocore's own model of the three operations.

Contains which replies are understood here and how they are read; errors are read by botocore's parser. See client.py
for the requests, and ../reply_checks.py for replies that are none of a store.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any, Final

import urllib3
from botocore.awsrequest import HeadersDict
from botocore.httpchecksum import handle_checksum_body, resolve_response_checksum_algorithms
from botocore.model import OperationModel
from botocore.parsers import create_parser
from botocore.response import StreamingBody
from botocore.utils import parse_timestamp

_FIRST_FAILURE: Final = 300
_FIRST_ERROR: Final = 400
_OK: Final = 200
_PARTIAL: Final = 206
_BAD_REQUEST: Final = 400
# Another region or address, which botocore finds out.
_ELSEWHERE: Final = frozenset(
    {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
)
# Arguments with which botocore's model says that the body is verified.
VERIFIED: Final = {"ChecksumMode": "ENABLED"}

Reply = dict[str, Any]


@dataclass
class HttpReply:
    """What botocore's rules read of a reply: an ``AWSResponse`` without copying the headers of each.

    Attributes:
        status_code: For example 200; botocore changes it for an error that came with 200.
        headers: By name in any case.
        raw: The reply, whose body may be unread.
    """

    status_code: int
    headers: Mapping[str, str]
    raw: urllib3.BaseHTTPResponse


class UnknownReplyError(Exception):
    """A reply that only botocore understands.

    Attributes:
        is_lasting: Whether the next requests would get one as well.
    """

    def __init__(self, *, is_lasting: bool = False) -> None:
        super().__init__()
        self.is_lasting = is_lasting


class ReplyReader:
    """Reads the replies to one operation.

    Args:
        model: botocore's model of the operation.
    """

    def __init__(self, model: OperationModel) -> None:
        self._model = model
        self._fields = _fields_of(model)
        self._shape: Any = model.output_shape
        self._is_streamed = bool(model.has_streaming_output)
        request: dict[str, Any] = {"context": {}}
        resolve_response_checksum_algorithms(request, model, VERIFIED)
        self._checksums: dict[str, Any] = request["context"].get("checksum", {})

    def start(self, reply: urllib3.BaseHTTPResponse, body: bytes, *, is_verified: bool) -> dict[str, Any]:
        """Return the form in which botocore's events describe a reply.

        Args:
            reply: The reply.
            body: Its body, unless that is streamed.
            is_verified: Whether the body is compared with the store's checksum while it is read.

        Raises:
            UnknownReplyError: Only botocore understands it.
        """
        headers, status = reply.headers, reply.status
        if _FIRST_FAILURE <= status < _FIRST_ERROR or status < _OK:
            raise UnknownReplyError(is_lasting=True)
        is_plain = status in {_OK, _PARTIAL} or status >= _FIRST_ERROR
        if not is_plain or "trailer" in headers or "aws-chunked" in headers.get("content-encoding", ""):
            raise UnknownReplyError
        # Without a length, the end of a body that breaks off cannot be told from its end.
        if status < _FIRST_FAILURE and self._is_streamed and "content-length" not in headers:
            raise UnknownReplyError
        described: dict[str, Any] = {"headers": headers, "status_code": status, "context": {}}
        if status >= _FIRST_FAILURE or not self._is_streamed:
            return described | {"body": body}
        raw: Any = reply  # botocore passes these, too; the stubs want a file and a number
        length: Any = headers["content-length"]
        described["body"] = StreamingBody(raw, length)
        if is_verified:
            http: Any = HttpReply(status, headers, reply)
            handle_checksum_body(http, described, {"checksum": self._checksums}, self._model)
        return described

    def read(self, described: Mapping[str, Any]) -> Reply:
        """Return the reply as boto3 returns it.

        Raises:
            UnknownReplyError: The reply names another region or address.
            ResponseParserError: It cannot be read.
        """
        if described["status_code"] >= _FIRST_FAILURE:
            return self._read_error(described)
        reply = self._read_success(described["headers"].itermerged())
        reply["ResponseMetadata"] |= {"HTTPStatusCode": described["status_code"]}
        if self._is_streamed:
            reply["Body"] = described["body"]
        return reply

    def _read_success(self, headers: Iterable[tuple[str, str]]) -> Reply:
        received: dict[str, str] = {}
        metadata: dict[str, str] = {}
        reply: Reply = {"ResponseMetadata": {"HTTPHeaders": received}}
        for name, value in headers:
            lower = name.lower()
            received[lower] = value
            if lower in self._fields:
                field, convert = self._fields[lower]
                reply[field] = convert(value)
            elif lower.startswith("x-amz-meta-"):
                metadata[name[len("x-amz-meta-") :]] = value
        if "metadata" in self._fields:
            reply["Metadata"] = metadata
        if "x-amz-request-id" in received:
            reply["ResponseMetadata"] |= {
                "RequestId": received["x-amz-request-id"],
                "HostId": received.get("x-amz-id-2", ""),
            }
        return reply

    def _read_error(self, described: Mapping[str, Any]) -> Reply:
        reply: Reply = create_parser("rest-xml").parse(
            {**described, "headers": HeadersDict(described["headers"])}, self._shape
        )
        is_head_elsewhere = self._model.name == "HeadObject" and described["status_code"] == _BAD_REQUEST
        if is_head_elsewhere or reply.get("Error", {}).get("Code") in _ELSEWHERE:
            raise UnknownReplyError(is_lasting=not is_head_elsewhere)
        return reply


@cache
def _fields_of(model: OperationModel) -> dict[str, tuple[str, Callable[[str], object]]]:
    """Return field and conversion of each header that botocore's model of an operation has."""
    fields: dict[str, tuple[str, Callable[[str], object]]] = {}
    output: Any = model.output_shape
    for field, shape in output.members.items():
        location = shape.serialization.get("location")
        if location == "header":
            fields[shape.serialization.get("name", field).lower()] = field, _CONVERSIONS.get(shape.type_name, str)
        elif location == "headers":
            fields["metadata"] = field, str
    return fields


def _is_true(value: str) -> bool:
    return value == "true"


def _time(value: str) -> datetime:
    """Return a time (aware); most are in the format of HTTP, which botocore takes 60 µs for."""
    try:
        time = parsedate_to_datetime(value)
    except ValueError:
        return parse_timestamp(value)
    return time if time.tzinfo is not None else parse_timestamp(value)


_CONVERSIONS: Final[Mapping[str, Callable[[str], object]]] = {
    "integer": int,
    "long": int,
    "boolean": _is_true,
    "timestamp": _time,
}
