"""Generates the data dictionary ``docs/tables.md`` from the schemas, so the two always agree.

``make docs`` writes the page, and a test compares it with the schemas.
"""

import sys
from collections.abc import Iterable

from apex_pipeline.tables import AMS2_TABLES, CATALOG_TABLES, EVENT_TABLES, LISTED_SESSIONS, RACE_TABLES, SESSIONS
from apex_pipeline.tables.model import Column, Table

_OPENING = """# Tables

Generated from `apex_pipeline/tables/` by `make docs`; change it there.

A table of a session is at `tables/{table}/track={track}/session={session}/{table}.parquet`, a table of a recorded \
race at `tables/{table}/race_id={race_id}/{table}.parquet`, a table of the catalog at `catalog/{table}.parquet`, a \
table of events at `events/{table}/source={source}/day={day}/{table}.parquet` ([more](events-records.md)). \
Times are UTC with milliseconds. A nullable column is null where the value is not known: never 0, never an empty \
string."""


def data_dictionary() -> str:
    """Return the page as Markdown."""
    lists = (LISTED_SESSIONS if table is SESSIONS else table for table in CATALOG_TABLES)
    tables = (*RACE_TABLES, *AMS2_TABLES, *lists, *EVENT_TABLES)
    return "\n".join([_OPENING, *(_section(table) for table in tables)])


def _section(table: Table) -> str:
    lines = [
        "",
        f"## {table.name}",
        "",
        f"{table.description} Key: {', '.join(f'`{name}`' for name in table.key)}.",
        "",
        "| column | type | null | unit | meaning |",
        "| --- | --- | --- | --- | --- |",
        *(_row(column) for column in table.columns),
    ]
    if table.allows_extra_columns:
        names = "under the name the car gave them or a code of it ([telemetry.md](telemetry.md))"
        lines += ["", f"Channels not listed here follow as extra columns, {names}."]
    return "\n".join(lines)


def _row(column: Column) -> str:
    null = "no" if column.required else "yes"
    return f"| `{column.name}` | {_type(column)} | {null} | {column.unit} | {column.description}{_bounds(column)} |"


def _type(column: Column) -> str:
    return column.kind.replace("_", " ")


def _bounds(column: Column) -> str:
    limits: Iterable[str] = (
        f"at least {column.minimum:g}" if column.minimum is not None else "",
        f"at most {column.maximum:g}" if column.maximum is not None else "",
        f"one of {', '.join(column.allowed)}" if column.allowed else "",
    )
    text = "; ".join(limit for limit in limits if limit)
    return f" ({text})" if text else ""


if __name__ == "__main__":
    sys.stdout.write(data_dictionary() + "\n")
