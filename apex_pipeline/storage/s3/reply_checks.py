"""Checks that replies are those of an S3 store before boto3 interprets them.

boto3 takes a web page with status 200 for an empty listing, and an empty reply for a successful deletion: a lake behind
a wrong address, a proxy's login page or a web server in maintenance would look empty. See errors.py for the error.
"""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from apex_pipeline.storage.request_stats import Events
from apex_pipeline.storage.s3.errors import IncompleteReplyError, UnexpectedReplyError

# The root element of each XML reply.
_ROOTS = {
    "ListObjectsV2": "ListBucketResult",
    "ListParts": "ListPartsResult",
    "ListMultipartUploads": "ListMultipartUploadsResult",
    "CreateMultipartUpload": "InitiateMultipartUploadResult",
    "CompleteMultipartUpload": "CompleteMultipartUploadResult",
    "CopyObject": "CopyObjectResult",
    "UploadPartCopy": "CopyPartResult",
}
_ROOT = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*\?>)?\s*(?:<!--.*?-->\s*)*<(?:\w+:)?(\w+)", re.DOTALL)
# The headers that this project relies on.
_HEADERS = {
    "HeadObject": ("etag", "last-modified", "content-length"),
    "GetObject": ("etag", "last-modified", "content-length"),
    "PutObject": ("etag",),
    "UploadPart": ("etag",),
}
# A store names each request; a web server does not.
_REQUEST_ID = "x-amz-request-id"
# A web page is the only reply to these that is certainly none of a store.
_BODILESS = ("DeleteObject", "AbortMultipartUpload")
_CONTENT_RANGE = re.compile(r"bytes \d+-\d+/\d+")
_SHOWN = 80


def attach(events: Events) -> None:
    """Check the replies to the client that emits these events from now on."""
    # Registered with this pattern to be called before botocore's own handler ("before-parse.s3.*"): it turns a reply
    # that is not XML, such as most web pages, into an internal error of the store and repeats the request.
    for operation in (*_ROOTS, *_HEADERS, *_BODILESS):
        events.register(f"before-parse.*.{operation}", _check)


def _check(operation_model: Any, response_dict: Mapping[str, Any], **_: object) -> None:  # noqa: ANN401  -- botocore's
    """Raise ``UnexpectedReplyError`` for a successful reply that does not have the form of its operation."""
    if not 200 <= response_dict["status_code"] < 300:  # noqa: PLR2004  -- errors have forms of their own
        return
    operation = str(operation_model.name)
    headers: Mapping[str, str] = response_dict["headers"]  # whose names are found in any case
    for name in _HEADERS.get(operation, ()):
        if name not in headers:
            error = IncompleteReplyError if _REQUEST_ID in headers else UnexpectedReplyError
            raise error(f"a reply to {operation} without {name}{_kind(headers)}")
    _check_values(operation, headers)
    root = _ROOTS.get(operation)
    if root is not None:
        _check_root(operation, root, bytes(response_dict["body"]))
    elif operation in _BODILESS and headers.get("content-type", "").startswith("text/html"):
        raise UnexpectedReplyError(f"a reply to {operation}{_kind(headers)}")


def _check_values(operation: str, headers: Mapping[str, str]) -> None:
    try:
        if "last-modified" in headers:
            parsedate_to_datetime(headers["last-modified"])
        is_valid = headers.get("content-length", "0").isdigit()
    except (ValueError, TypeError):
        is_valid = False
    if not is_valid or _CONTENT_RANGE.fullmatch(headers.get("content-range", "bytes 0-0/0")) is None:
        raise UnexpectedReplyError(f"a reply to {operation} with malformed headers")


def _check_root(operation: str, expected: str, body: bytes) -> None:
    found = _ROOT.match(body)
    # A reply that was cut off starts correctly: boto3 notices and sends the request again.
    if found is None or found[1].decode() not in {expected, "Error"}:
        start = body[:_SHOWN].decode(errors="replace")
        shown = "".join(letter if letter.isprintable() else " " for letter in start)
        raise UnexpectedReplyError(f"a reply to {operation} that is not XML of S3: {shown!r}")


def _kind(headers: Mapping[str, str]) -> str:
    kind = headers.get("content-type", "")
    return f" ({kind[:_SHOWN]})" if kind.isprintable() and kind else ""
