"""Turns every error of the lake's HTTP interface into a problem document (RFC 9457) with hint and suggestion."""

import logging
import re
from http import HTTPStatus
from typing import Final

import orjson
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from apex_pipeline.api.lake.errors import RequestError, status_of
from apex_pipeline.errors import ApexError
from apex_pipeline.library_errors import translate_library_error

_LOG = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
_UNAVAILABLE = 503
# A sync replaces what is damaged, and a store is back, in about this time.
_RETRY_AFTER_S: Final = "5"
_SUGGESTION = re.compile(r"Did you mean (.+?)\?(?:\s|$)")


class Problem(BaseModel):
    """Why a request failed, and what to do (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    hint: str
    suggestion: str | None


def install_problems(app: FastAPI) -> None:
    """Answer every error of the app as a problem document."""
    for kind in (Exception, ApexError, HTTPException):
        app.add_exception_handler(kind, _of_anything)


def problem_response(status: int, title: str, detail: str, hint: str) -> Response:
    """Return the answer for an error.

    Args:
        status: The HTTP status.
        title: What kind of error it is.
        detail: What went wrong here.
        hint: What to do; a name in "Did you mean …?" becomes the suggestion.
    """
    problem = Problem(
        type="about:blank",
        title=title,
        status=status,
        detail=detail,
        hint=hint,
        suggestion=suggestion_in(hint),
    )
    headers = {"Cache-Control": "no-store"}
    if status == _UNAVAILABLE:
        headers["Retry-After"] = _RETRY_AFTER_S
    return Response(orjson.dumps(problem.model_dump()), status, headers, MEDIA_TYPE)


def suggestion_in(hint: str) -> str | None:
    """Return the name that a hint takes for the one meant; ``None`` if it takes none."""
    guess = _SUGGESTION.search(hint)
    return guess[1] if guess else None


def _of_anything(_request: Request, error: Exception) -> Response:
    if isinstance(error, ApexError):
        status = status_of(error)
        if status == _UNAVAILABLE:
            _LOG.warning("A request could not be answered: %s", error)
        title = error.title if isinstance(error, RequestError) else HTTPStatus(status).phrase
        return problem_response(status, title, error.problem, error.hint)
    if isinstance(error, HTTPException):
        answer = problem_response(
            error.status_code,
            HTTPStatus(error.status_code).phrase,
            f"{error.detail}.",
            "See /openapi.json for the addresses and methods there are.",
        )
        answer.headers.update(error.headers or {})
        return answer
    known = translate_library_error(error)
    if known is not None:
        _LOG.error("A request failed: %s", known, exc_info=error)
        return problem_response(_UNAVAILABLE, "Service Unavailable", known.problem, known.hint)
    _LOG.error("A request failed unexpectedly", exc_info=error)
    return problem_response(
        500, "Internal Server Error", "Unexpected error.", "This is a bug; the server's log has it."
    )
