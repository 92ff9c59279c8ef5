"""Numbers with thousands separators or decimal commas: all of a file is read as one notation, or none of it."""

from collections import Counter

import pytest

from apex_pipeline.errors import MalformedFileError
from apex_pipeline.sources.gr_cup.telemetry.notation import (
    EITHER,
    Notation,
    decide_notation,
    notation_of,
    plain_number,
)


@pytest.mark.parametrize(
    ("text", "notation"),
    [
        ("6,776.000", Notation.THOUSANDS),
        ("-1,234,567", Notation.THOUSANDS),
        ("6 776.0", Notation.THOUSANDS),
        ("6'776", Notation.THOUSANDS),
        ("6\u202f776", Notation.THOUSANDS),
        ("16,9", Notation.DECIMAL_COMMA),
        ("0,776", Notation.DECIMAL_COMMA),
        ("1.234,5", Notation.DECIMAL_COMMA),
        ("6,776", EITHER),
        ("Doe, Jane", None),
        ("1,2,3", None),
        ("6.776", None),
    ],
)
def test_a_number_shows_how_it_is_written(text: str, notation: str | None) -> None:
    assert notation_of(text) == notation


@pytest.mark.parametrize(
    ("text", "notation", "plain"),
    [
        ("6,776.000", Notation.THOUSANDS, "6776.000"),
        ("6,776", Notation.THOUSANDS, "6776"),
        ("4.000", Notation.THOUSANDS, "4.000"),
        ("6,776", Notation.DECIMAL_COMMA, "6.776"),
        ("1.234,5", Notation.DECIMAL_COMMA, "1234.5"),
        ("4.000", Notation.DECIMAL_COMMA, "4000"),
        ("4", Notation.DECIMAL_COMMA, "4"),
    ],
)
def test_a_number_is_read_as_the_file_writes_it(text: str, notation: Notation, plain: str) -> None:
    assert plain_number(text, notation) == plain


@pytest.mark.parametrize("found", [{EITHER: 5}, {Notation.THOUSANDS: 5, Notation.DECIMAL_COMMA: 1}])
def test_a_file_whose_commas_may_mean_two_things_is_refused(found: dict[str, int]) -> None:
    with pytest.raises(MalformedFileError, match="may separate thousands or decimals"):
        decide_notation(Counter(found), "x.csv")
