"""Cursors: where the next page of a list begins, in which snapshot and of which query; opaque and checked.

A cursor is signed, so one that was changed or made up is refused. The key comes from the API's token and the address of
the lake: the same on every server of that lake, also after a restart. It protects no secret, because all that a cursor
leads to can be asked for without one.
"""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass

import orjson

from apex_pipeline.api.lake.errors import RequestError

_SIGNATURE_BYTES = 16
_HINT = "Take it unchanged from `next` of the page before, with the same query."


@dataclass(frozen=True)
class Cursor:
    """Where a page begins.

    Attributes:
        snapshot: Id of the snapshot whose pages these are.
        query: Digest of path and query, without cursor, limit and format.
        part: Number of the part of the list, mostly a session.
        row: Number of the row in it, after the comparisons.
        state: Digest of the list, where the snapshot alone does not decide what is in it.
    """

    snapshot: str
    query: str
    part: int
    row: int
    state: str = ""


class CursorKey:
    """Signs cursors and checks them.

    Args:
        secret: What the signature is made with.
    """

    def __init__(self, secret: str) -> None:
        self._key = hashlib.sha256(f"cursor {secret}".encode()).digest()

    def text_of(self, cursor: Cursor) -> str:
        """Return a cursor as it is sent."""
        content = orjson.dumps([cursor.snapshot, cursor.query, cursor.part, cursor.row, cursor.state])
        return base64.urlsafe_b64encode(self._signature(content) + content).decode().rstrip("=")

    def read(self, text: str, query: str) -> Cursor:
        """Return the cursor of a request.

        Args:
            text: As it was sent.
            query: Digest of the request's path and query.

        Raises:
            RequestError: It was changed or made up, or belongs to another query.
        """
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        signature, content = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._signature(content)):
            raise RequestError("The cursor is not one of this lake.", _HINT)
        cursor = Cursor(*orjson.loads(content))
        if cursor.query != query:
            raise RequestError("The cursor belongs to another query.", _HINT)
        return cursor

    def _signature(self, content: bytes) -> bytes:
        return hmac.digest(self._key, content, "sha256")[:_SIGNATURE_BYTES]
