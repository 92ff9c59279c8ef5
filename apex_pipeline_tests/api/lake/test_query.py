"""Queries: parameters, comparisons as OpenF1 has them, and what is refused."""

import pytest

from apex_pipeline.api.lake.errors import RequestError, TooLongError
from apex_pipeline.api.lake.query import Comparison, Query, read_query

_KNOWN = ("limit", "cursor", "columns")


def _compared(text: str) -> list[tuple[str, str, str]]:
    found = read_query(text.encode(), _KNOWN, compares=True)
    return [(one.column, one.mark, one.value) for one in found.comparisons]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lap_time_s<=98", ("lap_time_s", "<=", "98")),
        ("lap_time_s>=98", ("lap_time_s", ">=", "98")),
        ("lap_time_s<98", ("lap_time_s", "<", "98")),
        ("lap_time_s>98", ("lap_time_s", ">", "98")),
        ("car_number!=13", ("car_number", "!=", "13")),
        ("is_valid=true", ("is_valid", "=", "true")),
        # As libraries and curl send them.
        ("lap_time_s%3C=98", ("lap_time_s", "<=", "98")),
        ("lap_time_s%3C%3D98", ("lap_time_s", "<=", "98")),
        ("lap_time_s%3C98", ("lap_time_s", "<", "98")),
        ("class_name=Pro+Am%20%26", ("class_name", "=", "Pro Am &")),
        ("note=a=b", ("note", "=", "a=b")),
        ("note=", ("note", "=", "")),
    ],
)
def test_a_comparison_is_read_as_people_and_programs_write_it(text: str, expected: tuple[str, str, str]) -> None:
    assert _compared(text) == [expected]


def test_parameters_and_comparisons_are_told_apart() -> None:
    query = read_query(b"limit=3&&lap_time_s<=98&columns=a,%20b,,a", _KNOWN, compares=True)
    assert query.number("limit", 1, 1, 10) == 3
    assert query.names("columns") == ("a", "b")
    assert query.comparisons == (Comparison("lap_time_s", "<=", "98"),)


def test_the_canonical_form_does_not_depend_on_the_order() -> None:
    one, other = (read_query(text, _KNOWN, compares=True) for text in (b"limit=3&a=1&b<2", b"b%3C2&a=1&limit=3"))
    assert one.canonical() == other.canonical()
    assert one.canonical(("limit",)) == read_query(b"a=1&b<2", _KNOWN, compares=True).canonical()


@pytest.mark.parametrize("text", ["1e9", "-1", "0", "11", "", "٣", "1_0", "nan", "9" * 30])
def test_a_number_out_of_bounds_is_refused_with_the_bounds(text: str) -> None:
    with pytest.raises(RequestError, match=r"limit cannot be .*from 1 to 10"):
        Query({"limit": text}).number("limit", 1, 1, 10)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"limitt=3", "no parameter 'limitt' here. Did you mean limit?"),
        (b"limit<=3", "no parameter 'limit' here"),
        (b"limit=3&limit=4", "limit is given twice"),
        (b"limit", "'limit' has no value"),
        (b"limit=%ff", "not UTF-8"),
        (b"limit=" + b"1" * 2_000, "longer than 1,000"),
        (b"&".join(b"a%d=1" % number for number in range(101)), "more than 100 parameters"),
    ],
)
def test_a_query_that_would_silently_mean_something_else_is_refused(raw: bytes, message: str) -> None:
    with pytest.raises(RequestError, match=message.replace("?", r"\?")):
        read_query(raw, _KNOWN, compares=False)


def test_a_query_of_ten_thousand_parameters_is_refused_before_it_is_read() -> None:
    with pytest.raises(TooLongError):
        read_query(b"&".join(b"a%d=1" % number for number in range(10_000)), _KNOWN, compares=True)


def test_more_comparisons_than_the_limit_are_refused() -> None:
    with pytest.raises(RequestError, match="more than 20 comparisons"):
        read_query(b"&".join(b"a%d=1" % number for number in range(21)), _KNOWN, compares=True)
