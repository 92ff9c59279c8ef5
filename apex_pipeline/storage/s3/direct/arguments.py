"""Turns boto3's arguments for an object into headers, as botocore's serializer does.

Contains the arguments that this project uses; any other makes botocore send the request.
"""

from collections.abc import Mapping
from typing import Final

_METADATA: Final = "x-amz-meta-"
_HEADERS: Final[Mapping[str, str]] = {
    "ACL": "x-amz-acl",
    "ChecksumCRC32": "x-amz-checksum-crc32",
    "ContentMD5": "Content-MD5",
    "ContentType": "Content-Type",
    "IfMatch": "If-Match",
    "IfNoneMatch": "If-None-Match",
    "Range": "Range",
}


def headers_of(arguments: Mapping[str, object]) -> dict[str, str] | None:
    """Return the headers for boto3's arguments; ``None`` if only botocore knows how to send one of them.

    Args:
        arguments: The arguments besides bucket, key and body.
    """
    headers: dict[str, str] = {}
    for name, value in arguments.items():
        if name == "Metadata" and isinstance(value, Mapping):
            headers |= {f"{_METADATA}{key}": text for key, text in value.items()}
        elif name in _HEADERS and isinstance(value, str):
            headers[_HEADERS[name]] = value
        else:
            return None
    return headers if all(_is_plain(name) and _is_plain(value) for name, value in headers.items()) else None


def _is_plain(text: object) -> bool:
    """Return whether a text arrives in a header as it is; botocore refuses or encodes the others."""
    return isinstance(text, str) and text.isascii() and text.isprintable()
