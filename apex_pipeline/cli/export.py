"""``apex export``: published tables for programs that read no Parquet.

Here belongs the printing; the export is made by ``lake/export.py``.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from apex_pipeline.catalog import open_catalog
from apex_pipeline.cli.bundle import words
from apex_pipeline.cli.console import console
from apex_pipeline.cli.read import AsJson, Lake, store_at
from apex_pipeline.export.tables import Format, choose_tables, export_tables


def export_command(
    target: Annotated[Path, typer.Argument(help="New database file, or new folder for csv.")],
    to: Annotated[Format, typer.Option(help="Format.")],
    tables: Annotated[str | None, typer.Option(help="Tables, as laps,cars; without it all but telemetry.")] = None,
    lake: Lake = None,
    as_json: AsJson = False,  # noqa: FBT002  -- a command-line switch
) -> None:
    """Write published tables into one database file, or a folder of CSV files."""
    names = choose_tables(words(tables))
    exported = export_tables(store_at(lake), open_catalog(lake).snapshot, names, to, target)
    files = [path for path in target.rglob("*") if path.is_file()] if target.is_dir() else [target]
    size = sum(path.stat().st_size for path in files)
    if as_json:
        facts = {"target": str(target), "format": to, "bytes": size, "tables": [asdict(table) for table in exported]}
        sys.stdout.write(json.dumps(facts) + "\n")
        return
    for table in exported:
        console().print(f"{table.name}: {table.rows:,} rows", highlight=False)
    console().print(f"{escape(str(target))}: {len(exported)} tables, {size / 1e6:,.2f} MB", highlight=False)


__all__ = ["export_command"]
