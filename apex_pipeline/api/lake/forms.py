"""The forms of an answer: JSON, CSV and Arrow, chosen by ``format=`` or by the header ``Accept``."""

from enum import StrEnum
from typing import Final

from apex_pipeline.api.lake.errors import RequestError
from apex_pipeline.errors import did_you_mean


class Form(StrEnum):
    """A form of an answer."""

    JSON = "json"
    CSV = "csv"
    ARROW = "arrow"


class NotAcceptableError(RequestError):
    """The caller accepts none of the forms (406)."""

    status = 406
    title = "Not acceptable"


MEDIA_TYPES: Final = {
    Form.JSON: "application/json",
    Form.CSV: "text/csv; charset=utf-8",
    Form.ARROW: "application/vnd.apache.arrow.stream",
}
# The names under which a caller may accept a form.
_ACCEPTED: Final = {
    Form.JSON: ("application/json", "application/*", "*/*"),
    Form.CSV: ("text/csv", "text/*", "*/*"),
    Form.ARROW: ("application/vnd.apache.arrow.stream", "application/*", "*/*"),
}


def chosen_form(named: str | None, accept: str | None, offered: tuple[Form, ...] = tuple(Form)) -> Form:
    """Return the form of an answer.

    Args:
        named: The parameter ``format``, which takes precedence.
        accept: The header ``Accept``.
        offered: The forms that the route has, the usual one first.

    Raises:
        RequestError: There is no such form.
        NotAcceptableError: None of the forms is accepted.
    """
    known = ", ".join(offered)
    if named is not None:
        if named not in offered:
            guess = did_you_mean(named, offered)
            raise RequestError(f"There is no format {named[:20]!r} here.", f"{guess}There are: {known}.")
        return Form(named)
    if accept is None:
        return offered[0]
    weights = accepted_weights(accept)
    best = max(offered, key=lambda form: _weight(form, weights))
    if _weight(best, weights) <= 0:
        raise NotAcceptableError("None of the accepted media types is offered here.", f"Ask with format=: {known}.")
    return best


def accepted_weights(header: str) -> dict[str, float]:
    """Return the names in a header like ``text/csv;q=0.5, */*`` with their weights, 1 without any."""
    weights: dict[str, float] = {}
    for part in header.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = next((piece[2:] for piece in parameters if piece.startswith("q=")), "1")
        try:
            weight = float(quality)
        except ValueError:
            weight = 0.0
        if name:
            weights[name] = max(weight if 0 <= weight <= 1 else 0.0, weights.get(name, 0.0))
    return weights


def _weight(form: Form, weights: dict[str, float]) -> float:
    """Return the weight of a form, by the most specific name that the caller gave."""
    return next((weights[name] for name in _ACCEPTED[form] if name in weights), 0.0)
