"""Answers SQL over the tables of a snapshot, with DuckDB in memory, if it is installed.

Only the tables that a query names are read, over all sessions; each has the columns ``track`` and ``session``.
Telemetry is not read as a whole: DuckDB gets the columns and row groups that the query needs. Before the query runs,
DuckDB loses its access to files and networks for good, so a query can come from a stranger.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import pyarrow as pa

from apex_pipeline.errors import ConfigurationError
from apex_pipeline.extras import needs_libraries

# A query longer than that is not written by hand; parsing it takes seconds.
_MAX_CHARACTERS = 100_000
_WORD = re.compile(r"\w+")
# Nothing of the machine: no files, no extensions, no variables of the calling program.
_CONFIGURATION: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "python_enable_replacements": False,
}
# Times are UTC, also their hours and days: DuckDB would take the time zone of the machine.
_IN_UTC = "SET TimeZone = 'UTC'"
_CLOSE = "SET enable_external_access = false; SET lock_configuration = true"

# What a query may be given for its ``?``.
Value = str | int | float | bool | None


def run_sql(
    query: str,
    parameters: Sequence[Value],
    known: Sequence[str],
    read: Callable[[str], Any],
) -> pa.Table:
    """Return the rows that a query selects.

    Args:
        query: One ``select``.
        parameters: Values for its ``?``.
        known: Names of the tables.
        read: Returns a table, or something that DuckDB reads like one, by name; ``None`` if no session has it.

    Raises:
        ConfigurationError: The query is not one ``select``, or DuckDB refuses it.
        MissingExtraError: DuckDB is not installed.
    """
    with needs_libraries():
        import duckdb  # noqa: PLC0415  -- an extra
    if len(query) > _MAX_CHARACTERS:
        raise ConfigurationError(f"The query is longer than {_MAX_CHARACTERS:,} characters.", "Ask for less at a time.")
    with closing(duckdb.connect(config=_CONFIGURATION)) as connection:
        try:
            _require_select(connection.extract_statements(query), duckdb)
            for name in _named(query, known):
                if (table := read(name)) is not None:
                    connection.register(name, table)
            connection.execute(_IN_UTC)
            connection.execute(_CLOSE)
            return connection.sql(query, params=list(parameters)).to_arrow_table()
        except duckdb.Error as error:
            raise _refused(error, known) from error


def _require_select(statements: Sequence[Any], duckdb: Any) -> None:  # noqa: ANN401  -- the library has no types
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise ConfigurationError(
            "The query is not one select: the lake is only read.", "Write one: select … from laps."
        )


def _named(query: str, known: Sequence[str]) -> list[str]:
    """Return the tables that a query may mean: those whose name occurs in it."""
    words = {word.lower() for word in _WORD.findall(query)}
    return [name for name in known if name in words]


def _refused(error: Exception, known: Sequence[str]) -> ConfigurationError:
    lines = [line for line in str(error).splitlines() if line.strip()]
    problem = " ".join(lines[:2]) if lines else type(error).__name__
    return ConfigurationError(f"DuckDB refuses the query: {problem}.", f"The tables are: {', '.join(known)}.")
