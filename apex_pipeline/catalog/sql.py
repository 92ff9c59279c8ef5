"""Answers SQL over the tables of a snapshot, with DuckDB in memory, if it is installed.

Only the tables that a query names are read, over all sessions; each has the columns ``track`` and ``session``.
Telemetry is not read as a whole: DuckDB gets the columns and row groups that the query needs.

A query can come from a stranger. Before it is even parsed, DuckDB loses its access to files and networks for good. It
gets no more memory than a process of the pipeline, and its answer as much again; what does not fit is an error, and is
not moved to the disk, because a question writes nothing. Time is not limited: whoever asks for others can.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import pyarrow as pa

from apex_pipeline.amounts import size
from apex_pipeline.errors import ConfigurationError
from apex_pipeline.extras import needs_libraries

# A query longer than that is not written by hand; parsing it takes seconds.
_MAX_CHARACTERS = 100_000
_WORD = re.compile(r"\w+")
# Rows that are fetched at once. Their size is known only then, and 10,000 telemetry samples have 2 MB.
_BATCH_ROWS = 10_000
# Nothing of the machine: no files, no extensions, no variables of the calling program, no paths. Without a folder for
# temporary files, nothing is moved to the disk.
_CONFIGURATION: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "python_enable_replacements": False,
    "secret_directory": "",
    "temp_directory": "",
}
# Times are UTC, also their hours and days: DuckDB would take the time zone of the machine.
_IN_UTC = "SET TimeZone = 'UTC'"
_OUT_OF_MEMORY = "Out of Memory Error"
_CLOSE = "SET enable_external_access = false; SET lock_configuration = true"

# What a query may be given for its ``?``.
Value = str | int | float | bool | None


def run_sql(
    query: str,
    parameters: Sequence[Value],
    known: Sequence[str],
    read: Callable[[str], Any],
    memory_limit: int,
) -> pa.Table:
    """Return the rows that a query selects.

    Args:
        query: One ``select``.
        parameters: Values for its ``?``.
        known: Names of the tables.
        read: Returns a table, or something that DuckDB reads like one, by name; ``None`` if no session has it.
        memory_limit: Most bytes that DuckDB may use, and most bytes of the answer.

    Raises:
        ConfigurationError: The query is not one ``select``, DuckDB refuses it, or it needs more memory.
        MissingExtraError: DuckDB is not installed.
    """
    with needs_libraries():
        import duckdb  # noqa: PLC0415  -- an extra
    if len(query) > _MAX_CHARACTERS:
        raise ConfigurationError(f"The query is longer than {_MAX_CHARACTERS:,} characters.", "Ask for less at a time.")
    with closing(duckdb.connect(config=_CONFIGURATION | {"memory_limit": f"{memory_limit}B"})) as connection:
        try:
            connection.execute(_IN_UTC)
            # First of all: to read the statement IMPORT DATABASE, DuckDB 1.3 reads the files that it names.
            connection.execute(_CLOSE)
            _require_select(connection.extract_statements(query), duckdb)
            for name in _named(query, known):
                if (table := read(name)) is not None:
                    connection.register(name, table)
            return _fetched(connection.sql(query, params=list(parameters)), memory_limit)
        # What fails while rows are fetched passes through Arrow, which makes an OSError of it.
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            if str(error).startswith(_OUT_OF_MEMORY):
                raise _too_large(memory_limit) from error
            raise _refused(error, known) from error


def _require_select(statements: Sequence[Any], duckdb: Any) -> None:  # noqa: ANN401  -- the library has no types
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise ConfigurationError(
            "The query is not one select: the lake is only read.", "Write one: select … from laps."
        )


def _fetched(relation: Any, memory_limit: int) -> pa.Table:  # noqa: ANN401  -- the library has no types
    """Return all rows; DuckDB does not count those that it has handed over.

    Raises:
        ConfigurationError: They need more memory.
    """
    # The name before DuckDB 2.0, which warns of it.
    fetch = relation.to_arrow_reader if hasattr(relation, "to_arrow_reader") else relation.fetch_arrow_reader
    reader: pa.RecordBatchReader = fetch(_BATCH_ROWS)
    batches: list[pa.RecordBatch] = []
    free = memory_limit
    for batch in reader:
        free -= batch.nbytes
        if free < 0:
            raise _too_large(memory_limit)
        batches.append(batch)
    return pa.Table.from_batches(batches, reader.schema)


def _too_large(memory_limit: int) -> ConfigurationError:
    return ConfigurationError(
        f"The query needs more memory than the {size(memory_limit)} that it may use.",
        "Ask for less: name the columns, select rows before joining them, or count instead of listing; or raise "
        "APEX_MEMORY_LIMIT.",
    )


def _named(query: str, known: Sequence[str]) -> list[str]:
    """Return the tables that a query may mean: those whose name occurs in it."""
    words = {word.lower() for word in _WORD.findall(query)}
    return [name for name in known if name in words]


def _refused(error: Exception, known: Sequence[str]) -> ConfigurationError:
    lines = [line for line in str(error).splitlines() if line.strip()]
    problem = " ".join(lines[:2]) if lines else type(error).__name__
    return ConfigurationError(f"DuckDB refuses the query: {problem}.", f"The tables are: {', '.join(known)}.")
