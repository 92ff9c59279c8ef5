"""The form of an answer, by parameter and by the header Accept."""

import pytest

from apex_pipeline.api.lake.errors import RequestError
from apex_pipeline.api.lake.forms import Form, NotAcceptableError, chosen_form


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, Form.JSON),
        ("*/*", Form.JSON),
        ("text/html,application/xhtml+xml,*/*;q=0.8", Form.JSON),
        ("text/csv", Form.CSV),
        ("text/*", Form.CSV),
        ("Text/CSV; charset=utf-8", Form.CSV),
        ("application/vnd.apache.arrow.stream", Form.ARROW),
        ("application/json;q=0.1, text/csv;q=0.9", Form.CSV),
        ("text/csv;q=0, */*", Form.JSON),
        ("application/json;q=nonsense, text/csv", Form.CSV),
    ],
)
def test_the_accepted_form_with_the_greatest_weight_is_chosen(accept: str | None, expected: Form) -> None:
    assert chosen_form(None, accept) is expected


def test_the_parameter_takes_precedence() -> None:
    assert chosen_form("arrow", "text/csv") is Form.ARROW


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", ""])
def test_a_caller_who_accepts_none_is_told_how_to_ask(accept: str) -> None:
    with pytest.raises(NotAcceptableError, match="format=: json, csv, arrow"):
        chosen_form(None, accept)


def test_a_format_that_a_route_does_not_have_is_refused() -> None:
    with pytest.raises(RequestError, match=r"no format 'csvv'.*Did you mean csv"):
        chosen_form("csvv", None)
    with pytest.raises(RequestError, match="There are: json"):
        chosen_form("csv", None, (Form.JSON,))
