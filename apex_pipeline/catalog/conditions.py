"""Chooses rows of a table by a condition such as ``lap_time_s < 98 and is_valid``, and sorts them.

The grammar is closed: names of columns, comparisons, ``and``, ``or``, ``not`` and brackets. Nothing of it is executed,
so a condition may come from a stranger. DuckDB is not used: it is not installed everywhere, and its SQL reads files.

    condition  = all { "or" all }
    all        = one { "and" one }
    one        = "not" one | "(" condition ")" | COLUMN [ test ]
    test       = ( "=" | "==" | "!=" | "<>" | "<" | "<=" | ">" | ">=" ) VALUE
               | [ "not" ] ( "in" "(" VALUE { "," VALUE } ")" | "contains" VALUE ) | "is" [ "not" ] "null"
    VALUE      = word | number | time | "'" text "'"

A column of yes and no needs no test. ``contains`` finds a part of a text, or an entry of a list. As in SQL, a row with
a missing value meets no test but ``is null``.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from typing import Any, NoReturn

import pyarrow as pa

from apex_pipeline import arrow_compute as pc
from apex_pipeline.errors import ConfigurationError, did_you_mean

# Real conditions have a few dozen characters; the limits keep a program that passes on strangers' conditions safe.
_MAX_CHARACTERS = 2_000
_MAX_DEPTH = 50

_TOKEN = re.compile(
    r"""\s*(?:(?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")|(?P<mark><=|>=|<>|!=|==|[=<>(),])|(?P<word>[^\s'"<>=!(),]+))"""
)
# Functions of pyarrow.compute, by name: most commands compare nothing.
_COMPARISONS = {
    "=": "equal",
    "==": "equal",
    "!=": "not_equal",
    "<>": "not_equal",
    "<": "less",
    "<=": "less_equal",
    ">": "greater",
    ">=": "greater_equal",
}
_ORDERS = ("<", "<=", ">", ">=")
_YES, _NO = ("true", "yes", "1"), ("false", "no", "0")
_HINT = 'Write it like "lap_time_s < 98 and is_valid" or "car_number in (13, 7) and not flags contains pit".'


@dataclass(frozen=True)
class _Token:
    text: str
    is_quoted: bool = False

    def is_word(self, word: str) -> bool:
        return not self.is_quoted and self.text.lower() == word


def rows_where(table: pa.Table, condition: str, allowed: Callable[[str], Sequence[str]] = lambda _: ()) -> pa.Table:
    """Return the rows of a table that meet a condition.

    Args:
        table: The rows.
        condition: The condition, in the grammar above.
        allowed: Returns the only values that a column can have; none if it can have any.

    Raises:
        ConfigurationError: The condition cannot be parsed, names no column of the table, or compares a column with a
            value that it cannot have.
    """
    mask = _Parser(condition, table, allowed).mask()
    return table.filter(mask)


class _Parser:
    """Evaluates a condition while it parses it, by recursive descent.

    Args:
        condition: The condition.
        table: The table whose rows are tested.
        allowed: As for :func:`rows_where`.
    """

    def __init__(self, condition: str, table: pa.Table, allowed: Callable[[str], Sequence[str]]) -> None:
        self._condition = condition
        self._table = table
        self._allowed = allowed
        self._tokens = self._split()
        self._place = 0
        self._depth = 0

    def mask(self) -> pa.ChunkedArray:
        """Return for each row whether it meets the condition."""
        found = self._any()
        if self._place < len(self._tokens):
            self._refuse(f"{self._tokens[self._place].text!r} is not expected there")
        return found

    def _split(self) -> list[_Token]:
        if len(self._condition) > _MAX_CHARACTERS:
            raise ConfigurationError(f"The condition is longer than {_MAX_CHARACTERS:,} characters.", _HINT)
        tokens: list[_Token] = []
        place, end = 0, len(self._condition.rstrip())
        while place < end:
            match = _TOKEN.match(self._condition, place)
            if match is None:
                self._refuse(f"{self._condition[place:].strip()[:20]!r} cannot be read")
            place = match.end()
            quoted = match["text"]
            if quoted:
                tokens.append(_Token(quoted[1:-1].replace(quoted[0] * 2, quoted[0]), is_quoted=True))
            else:
                tokens.append(_Token(match["mark"] or match["word"]))
        return tokens

    def _refuse(self, problem: str) -> NoReturn:
        raise ConfigurationError(f"The condition {self._condition!r} is wrong: {problem}.", _HINT)

    def _next_is(self, *words: str) -> bool:
        """Go past the next tokens if they are these words."""
        following = self._tokens[self._place : self._place + len(words)]
        if len(following) < len(words) or not all(map(_Token.is_word, following, words)):
            return False
        self._place += len(words)
        return True

    def _take(self, what: str) -> _Token:
        if self._place >= len(self._tokens):
            self._refuse(f"{what} is missing at its end")
        self._place += 1
        return self._tokens[self._place - 1]

    def _require(self, mark: str) -> None:
        if not self._next_is(mark):
            self._refuse(f"{mark!r} is missing")

    def _any(self) -> Any:  # noqa: ANN401  -- as all masks: pyarrow has no types
        masks = [self._all()]
        while self._next_is("or"):
            masks.append(self._all())
        return reduce(pc.or_kleene, masks)

    def _all(self) -> Any:  # noqa: ANN401  -- as above
        masks = [self._one()]
        while self._next_is("and"):
            masks.append(self._one())
        return reduce(pc.and_kleene, masks)

    def _one(self) -> Any:  # noqa: ANN401  -- as above
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            self._refuse("it is nested too deeply")
        if self._next_is("not"):
            found = pc.invert(self._one())
        elif self._next_is("("):
            found = self._any()
            self._require(")")
        else:
            found = self._test(_Operand(self._column_name(), self._table, self._allowed))
        self._depth -= 1
        return found

    def _column_name(self) -> str:
        name, known = self._take("a column").text, self._table.schema.names
        if name in known:
            return name
        raise unknown_column(name, known)

    def _test(self, operand: "_Operand") -> Any:  # noqa: ANN401  -- as above
        for mark in _COMPARISONS:
            if self._next_is(mark):
                return operand.compare(mark, self._take("a value").text)
        if self._next_is("is", "not", "null"):
            return pc.is_valid(operand.values)
        if self._next_is("is", "null"):
            return pc.is_null(operand.values)
        is_negated = self._next_is("not")
        if self._next_is("in"):
            found = self._is_in(operand)
        elif self._next_is("contains"):
            found = operand.contains(self._take("a value").text)
        elif is_negated:
            self._refuse("after 'not' comes 'in' or 'contains'")
        else:
            return operand.is_true()
        return pc.invert(found) if is_negated else found

    def _is_in(self, operand: "_Operand") -> Any:  # noqa: ANN401  -- as above
        self._require("(")
        masks = [operand.compare("=", self._take("a value").text)]
        while self._next_is(","):
            masks.append(operand.compare("=", self._take("a value").text))
        self._require(")")
        return reduce(pc.or_kleene, masks)


class _Operand:
    """A column of the table, with the tests that its type has.

    Args:
        name: Its name.
        table: The table.
        allowed: As for :func:`rows_where`.
    """

    def __init__(self, name: str, table: pa.Table, allowed: Callable[[str], Sequence[str]]) -> None:
        self.name = name
        self.values = _plain(table[name])
        self._allowed = allowed(name)

    def compare(self, mark: str, text: str) -> Any:  # noqa: ANN401  -- as above
        """Return for each row how it compares with a value.

        Raises:
            ConfigurationError: The column cannot have the value, or has no order.
        """
        kind = self.values.type
        if pa.types.is_list(kind):
            raise ConfigurationError(f"{self.name} is a list.", f'Write "{self.name} contains {text}".')
        if mark in _ORDERS and (pa.types.is_boolean(kind) or pa.types.is_string(kind)):
            what = "yes or no" if pa.types.is_boolean(kind) else "text"
            raise ConfigurationError(f"{self.name} is {what}, which {mark} cannot compare.", "Use = or !=.")
        return getattr(pc, _COMPARISONS[mark])(self.values, self._value(text))

    def contains(self, text: str) -> Any:  # noqa: ANN401  -- as above
        """Return for each row whether its list has an entry, or its text a part."""
        if pa.types.is_list(self.values.type):
            self._require_allowed(text)
            found = [None if entries is None else text in entries for entries in self.values.to_pylist()]
            return pa.array(found, pa.bool_())
        if not pa.types.is_string(self.values.type):
            raise ConfigurationError(
                f"{self.name} is neither a text nor a list.", f'Compare it: "{self.name} = {text}".'
            )
        return pc.match_substring(self.values, text, ignore_case=True)

    def is_true(self) -> Any:  # noqa: ANN401  -- as above
        """Return for each row whether its value is yes."""
        if not pa.types.is_boolean(self.values.type):
            raise ConfigurationError(f"{self.name} is not compared with anything.", _HINT)
        return self.values

    def _value(self, text: str) -> Any:  # noqa: ANN401  -- as above
        kind = self.values.type
        try:
            if pa.types.is_boolean(kind):
                return pa.scalar({**dict.fromkeys(_YES, True), **dict.fromkeys(_NO, False)}[text.lower()])
            if pa.types.is_timestamp(kind):
                moment = datetime.fromisoformat(text)
                return pa.scalar(moment if moment.tzinfo else moment.replace(tzinfo=UTC), pa.timestamp("us", "UTC"))
            if pa.types.is_integer(kind) or pa.types.is_floating(kind):
                return pa.scalar(float(text), pa.float64())
        except (KeyError, ValueError, pa.ArrowException) as error:
            raise ConfigurationError(f"{self.name} cannot be {text!r}.", f"Give {_example_of(kind)}.") from error
        self._require_allowed(text)
        return pa.scalar(text).cast(kind)

    def _require_allowed(self, text: str) -> None:
        if self._allowed and text not in self._allowed:
            guess = did_you_mean(text, self._allowed)
            raise ConfigurationError(f"{self.name} cannot be {text!r}.", f"{guess}It is: {', '.join(self._allowed)}.")


def unknown_column(name: str, known: Sequence[str]) -> ConfigurationError:
    """Return the error for a name that no column has."""
    guess = did_you_mean(name, known)
    return ConfigurationError(f"There is no column {name!r}.", f"{guess}The columns are: {', '.join(known)}.")


def sorted_rows(table: pa.Table, order: str) -> pa.Table:
    """Return the rows of a table in another order; missing values come last.

    Args:
        table: The rows.
        order: Columns like ``car_number,-lap_time_s``; ``-`` is for descending.

    Raises:
        ConfigurationError: There is no such column, or it is a list.
    """
    keys: list[tuple[str, str]] = []
    names = table.schema.names
    for part in filter(None, map(str.strip, order.split(","))):
        name = part.removeprefix("-")
        if name not in names:
            raise unknown_column(name, names)
        if pa.types.is_list(table.schema.field(name).type):
            raise ConfigurationError(f"{name} is a list, which has no order.", "Sort by another column.")
        keys.append((name, "descending" if part.startswith("-") else "ascending"))
    if not keys:
        return table
    columns = {name: table[name] for name, _ in keys}
    plain = pa.table({name: _plain(values) for name, values in columns.items()})
    return table.take(pc.sort_indices(plain, sort_keys=keys))


def _plain(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the texts of a column of labels, which Arrow cannot sort; any other column unchanged."""
    return values.cast(values.type.value_type) if pa.types.is_dictionary(values.type) else values


def _example_of(kind: pa.DataType) -> str:
    if pa.types.is_boolean(kind):
        return "yes or no"
    return "a time in UTC, like 2025-09-06T18:40:00Z" if pa.types.is_timestamp(kind) else "a number"
