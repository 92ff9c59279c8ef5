"""Turns every error into one shape, ``{error_class, message, remedy}``, with the status that fits."""

import logging
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from apex_pipeline.errors import (
    ApexError,
    ConfigurationError,
    LimitExceededError,
    MalformedFileError,
    StoreError,
    TransientError,
)
from apex_pipeline.library_errors import translate_library_error
from apex_pipeline.races.errors import EmptyUploadError, RaceNotFoundError, RaceNotReadyError
from apex_pipeline.sources.ams2.errors import RecordingError

_LOG = logging.getLogger(__name__)

# A restarted database, queue or store is back within this time.
_RETRY_AFTER_S: Final = "5"
_UNAVAILABLE = 503

# The first that fits.
_KINDS: Final[tuple[tuple[type[ApexError], int, str], ...]] = (
    (RaceNotFoundError, 404, "not found"),
    (RaceNotReadyError, 409, "not ready"),
    (LimitExceededError, 413, "too large"),
    (EmptyUploadError, 422, "empty"),
    (RecordingError, 422, "malformed recording"),
    (MalformedFileError, 422, "malformed upload"),
    (ConfigurationError, 422, "invalid request"),
    (TransientError, _UNAVAILABLE, "unavailable"),
    (StoreError, _UNAVAILABLE, "store refused"),
)


class Problem(BaseModel):
    """Why a request failed, and what to do."""

    error_class: str
    message: str
    remedy: str


def install_problems(app: FastAPI) -> None:
    """Answer every error of the app in the one shape."""
    app.add_exception_handler(Exception, _of_anything)
    for kind in (ApexError, RequestValidationError, HTTPException, ClientDisconnect):
        app.add_exception_handler(kind, _of_anything)


def problem_response(status: int, error_class: str, message: str, remedy: str) -> JSONResponse:
    """Return the answer for an error."""
    headers = {"Retry-After": _RETRY_AFTER_S} if status == _UNAVAILABLE else None
    content = Problem(error_class=error_class, message=message, remedy=remedy).model_dump()
    return JSONResponse(content, status, headers)


def _of_anything(request: Request, error: Exception) -> JSONResponse:
    del request
    if isinstance(error, ApexError):
        return _of_ours(error)
    if isinstance(error, RequestValidationError):
        places = ", ".join(dict.fromkeys(".".join(map(str, entry["loc"])) for entry in error.errors()))
        return problem_response(422, "invalid request", f"Not valid: {places}.", "See /docs for what is expected.")
    if isinstance(error, HTTPException):
        answer = problem_response(error.status_code, "invalid request", str(error.detail), "See /docs.")
        answer.headers.update(error.headers or {})
        return answer
    if isinstance(error, ClientDisconnect):  # nobody reads it
        return problem_response(400, "cut off", "The upload was cut off.", "Send it again.")
    known = translate_library_error(error)
    if known is not None:
        _LOG.error("A request failed: %s", known, exc_info=error)
        return problem_response(_UNAVAILABLE, "unavailable", known.problem, known.hint)
    _LOG.error("A request failed unexpectedly", exc_info=error)
    return problem_response(500, "internal error", "Unexpected error.", "This is a bug; the log of the API has it.")


def _of_ours(error: ApexError) -> JSONResponse:
    status, name = next(((code, name) for kind, code, name in _KINDS if isinstance(error, kind)), (422, "not possible"))
    error_class = error.error_class if isinstance(error, RecordingError) else name
    return problem_response(status, error_class, error.problem, error.hint)
