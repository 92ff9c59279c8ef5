"""Reads the query of an address: named parameters, and comparisons of columns like ``lap_time_s<=98``.

A parameter that nobody reads would silently change nothing, so an unknown one is an error. ``column=value`` compares
where the route takes comparisons; the same column given several times with ``=`` means any of the values.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from apex_pipeline.api.lake.errors import RequestError, TooLongError
from apex_pipeline.api.lake.limits import (
    MAX_COMPARISONS,
    MAX_PARAMETERS,
    MAX_QUERY_CHARACTERS,
    MAX_VALUE_CHARACTERS,
)
from apex_pipeline.errors import did_you_mean

# What is sent without an `=` of its own: `speed_kph>200`, or everything percent-encoded.
_WITHOUT_EQUALS = re.compile(r"(?P<column>[^<>=!]*)(?P<mark><=|>=|!=|<|>|=)(?P<value>.*)", re.DOTALL)
# `lap_time_s<=98` arrives as the name `lap_time_s<` with the value `98`.
_MARKS: Final = {"<": "<=", ">": ">=", "!": "!="}
_COMPARED: Final = "Compare a column like lap_time_s<=98, is_valid=true or car_number!=13."


@dataclass(frozen=True)
class Comparison:
    """A column compared with a value."""

    column: str
    mark: str
    value: str


@dataclass(frozen=True)
class Query:
    """The query of a request.

    Attributes:
        values: The parameters by name.
        comparisons: The comparisons, in the order given.
    """

    values: Mapping[str, str]
    comparisons: tuple[Comparison, ...] = ()

    def text(self, name: str) -> str | None:
        """Return a parameter; ``None`` if it is not given."""
        return self.values.get(name)

    def number(self, name: str, default: int, least: int, most: int) -> int:
        """Return a parameter that is a whole number.

        Raises:
            RequestError: It is none, or out of bounds.
        """
        text = self.values.get(name)
        if text is None:
            return default
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", text) or not least <= int(text) <= most:
            raise RequestError(
                f"{name} cannot be {_shown(text)}.", f"Give a whole number from {least:,} to {most:,}, without commas."
            )
        return int(text)

    def names(self, name: str) -> tuple[str, ...] | None:
        """Return a parameter that is a list like ``a,b``; ``None`` if it is not given or empty."""
        found = tuple(part.strip() for part in (self.values.get(name) or "").split(",") if part.strip())
        return tuple(dict.fromkeys(found)) or None

    def canonical(self, without: Collection[str] = ()) -> str:
        """Return the query in one spelling, to tell queries apart.

        Args:
            without: Parameters to leave out.
        """
        named = sorted((name, value) for name, value in self.values.items() if name not in without)
        compared = sorted((one.column, one.mark, one.value) for one in self.comparisons)
        return repr((named, compared))


def read_query(raw: bytes, known: Collection[str], *, compares: bool) -> Query:
    """Read a query.

    Args:
        raw: The query as sent.
        known: The parameters that the route takes.
        compares: Whether it takes comparisons, too.

    Raises:
        TooLongError: It is too long.
        RequestError: A parameter is unknown, given twice, not UTF-8, or there are too many.
    """
    if len(raw) > MAX_QUERY_CHARACTERS:
        raise TooLongError(f"The query is longer than {MAX_QUERY_CHARACTERS:,} characters.", "Ask for less at once.")
    parts = [part for part in raw.split(b"&") if part]
    if len(parts) > MAX_PARAMETERS:
        raise RequestError(f"The query has more than {MAX_PARAMETERS} parameters.", "Ask for less at once.")
    values: dict[str, str] = {}
    comparisons: list[Comparison] = []
    for part in parts:
        found = _read_part(part)
        if found.mark == "=" and found.column in known:
            if found.column in values:
                raise RequestError(f"{found.column} is given twice.", "Give it once.")
            values[found.column] = found.value
        elif compares:
            comparisons.append(found)
        else:
            raise _unknown(found, known)
    if len(comparisons) > MAX_COMPARISONS:
        raise RequestError(f"There are more than {MAX_COMPARISONS} comparisons.", "Compare fewer columns at once.")
    return Query(values, tuple(comparisons))


def _read_part(part: bytes) -> Comparison:
    name, equals, value = part.partition(b"=")
    column, text = _decoded(name), _decoded(value)
    if equals:
        mark = _MARKS.get(column[-1:], "=")
        return Comparison((column[:-1] if mark != "=" else column).strip(), mark, text)
    match = _WITHOUT_EQUALS.fullmatch(column)
    if match is None:
        raise RequestError(f"The parameter {_shown(column)} has no value.", f"Write NAME=VALUE. {_COMPARED}")
    return Comparison(match["column"].strip(), match["mark"], match["value"])


def _decoded(text: bytes) -> str:
    try:
        found = unquote_to_bytes(text.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        raise RequestError("The query is not UTF-8.", "Percent-encode the UTF-8 bytes of each character.") from None
    if len(found) > MAX_VALUE_CHARACTERS:
        raise RequestError(f"{_shown(found)} is longer than {MAX_VALUE_CHARACTERS:,} characters.", "Ask for less.")
    return found


def _unknown(found: Comparison, known: Collection[str]) -> RequestError:
    guess = did_you_mean(found.column, known)
    return RequestError(
        f"There is no parameter {_shown(found.column)} here.", f"{guess}There are: {', '.join(sorted(known))}."
    )


def _shown(text: str) -> str:
    """Return a text for a message: a long one is cut, so that no answer is as long as a hostile request."""
    most = 60
    return repr(text if len(text) <= most else f"{text[:most]}…")
