"""Sends a finished answer: nothing if the caller has it, compressed if he accepts that, and how long he may keep it."""

from typing import Final

import pyarrow as pa
from starlette.datastructures import Headers
from starlette.responses import Response

from apex_pipeline.api.lake.forms import accepted_weights
from apex_pipeline.api.lake.kept import Answer
from apex_pipeline.api.lake.limits import LEAST_COMPRESSED_BYTES

# By preference where a caller accepts both alike. pyarrow has both; level 6 and 3 are the usual ones.
_CODECS: Final = {"zstd": pa.Codec("zstd", 3), "gzip": pa.Codec("gzip", 6)}
# A year, which the specification calls forever.
_FOREVER: Final = "max-age=31536000, immutable"
# May be kept, and is asked for again: an unchanged answer costs no bytes.
_ASK_AGAIN: Final = "no-cache"


def accepted_coding(headers: Headers) -> str | None:
    """Return the compression that a caller prefers; ``None`` if he accepts none of ours."""
    weights = accepted_weights(headers.get("accept-encoding", ""))
    best = max(_CODECS, key=lambda name: weights.get(name, weights.get("*", 0.0)))
    return best if weights.get(best, weights.get("*", 0.0)) > 0 else None


def is_worth_compressing(answer: Answer) -> bool:
    """Return whether an answer gets shorter by enough."""
    return len(answer.body) >= LEAST_COMPRESSED_BYTES


def compressed(answer: Answer, coding: str) -> Answer:
    """Return an answer compressed; with a tag of its own, because its bytes are others."""
    body: bytes = _CODECS[coding].compress(answer.body, asbytes=True)
    return Answer(
        body,
        answer.media_type,
        f'{answer.etag[:-1]}-{coding}"',
        (*answer.headers, ("Content-Encoding", coding)),
        is_kept=answer.is_kept,
        is_forever=answer.is_forever,
    )


def reply(answer: Answer, headers: Headers, *, is_of_named_snapshot: bool) -> Response:
    """Return the response for an answer.

    Args:
        answer: The answer.
        headers: Those of the request.
        is_of_named_snapshot: The address names the snapshot, so it will never have another answer.
    """
    response = Response(status_code=304) if has_tag(headers, answer.etag) else Response(answer.body)
    response.headers.update(dict(answer.headers))
    response.headers["ETag"] = answer.etag
    response.headers["Vary"] = "Accept, Accept-Encoding"
    response.headers["Cache-Control"] = _FOREVER if is_of_named_snapshot and answer.is_forever else _ASK_AGAIN
    if response.status_code != 304:  # noqa: PLR2004  -- an answer without content has no type
        response.headers["Content-Type"] = answer.media_type
    return response


def has_tag(headers: Headers, etag: str) -> bool:
    """Return whether a caller says that he has the answer with this tag (``If-None-Match``)."""
    given = headers.get("if-none-match")
    if given is None:
        return False
    tags = {tag.strip().removeprefix("W/") for tag in given.split(",")}
    return etag in tags or "*" in tags
