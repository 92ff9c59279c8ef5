"""Defines the errors of a request: what was asked for is wrong, unknown, gone, or too much at the moment."""

from collections.abc import Generator
from contextlib import contextmanager

from apex_pipeline.errors import (
    ApexError,
    ConfigurationError,
    NotPublishedError,
    PermanentError,
    SettingFileError,
    TransientError,
)


class RequestError(PermanentError):
    """The request cannot be understood or goes beyond a limit (400)."""

    status = 400
    title = "Bad request"


class NotFoundError(RequestError):
    """Nothing has this name (404)."""

    status = 404
    title = "Not found"


class UnpublishedError(NotFoundError):
    """The name is understood, and nothing is published under it (404)."""


class GoneError(RequestError):
    """It was there, and has been removed (410)."""

    status = 410
    title = "Gone"


class TooLongError(RequestError):
    """The address is too long (414)."""

    status = 414
    title = "Address too long"


class BusyError(TransientError):
    """Too many answers are being made, or one takes too long; the same request may succeed later."""


@contextmanager
def names_of_the_path() -> Generator[None]:
    """Translate the failed search for a name in the block, not the failure to read what has the name.

    Raises:
        UnpublishedError: Nothing is published under the name.
        NotFoundError: Nothing has the name, or several have.
        SettingFileError: Names or lengths cannot be read from a file of the user's.
    """
    try:
        yield
    except SettingFileError:
        raise  # not the fault of the request
    except NotPublishedError as error:
        raise UnpublishedError(error.problem, error.hint) from error
    except ConfigurationError as error:
        raise NotFoundError(error.problem, error.hint) from error


@contextmanager
def values_of_the_query() -> Generator[None]:
    """Translate the refusal of a value in the block.

    Raises:
        RequestError: The value cannot be used.
        SettingFileError: As for :func:`names_of_the_path`.
    """
    try:
        yield
    except SettingFileError:
        raise
    except ConfigurationError as error:
        raise RequestError(error.problem, error.hint) from error


def status_of(error: ApexError) -> int:
    """Return the status that an error is answered with; what is not the request's fault may be mended meanwhile."""
    return error.status if isinstance(error, RequestError) else 503
