"""Implements ``apex export``; see export/tables.py for how tables are written in other formats."""

from pathlib import Path
from typing import Annotated

import typer

from apex_pipeline.catalog.reader import open_catalog
from apex_pipeline.cli.emit import emit, print_line
from apex_pipeline.cli.options import AsJson, AsOf, Lake, split_names, store_at
from apex_pipeline.cli.progress import byte_progress
from apex_pipeline.export.tables import ExportedTable, Format, export_bytes, export_tables, select_tables


def export_command(
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="New database file, or new folder for csv.")],
    to: Annotated[Format, typer.Option(help="Format of the export.")],
    tables: Annotated[str | None, typer.Option(help="Tables, e.g. laps,cars; by default all except telemetry.")] = None,
    lake: Lake = None,
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """Write published tables into one database file, or a folder of CSV files."""
    names = select_tables(split_names(tables))
    snapshot = open_catalog(lake, as_of=as_of).snapshot
    with byte_progress("export", export_bytes(snapshot, names)):
        exported = export_tables(store_at(lake), snapshot, names, to, target)
    files = [path for path in target.rglob("*") if path.is_file()] if target.is_dir() else [target]
    size = sum(path.stat().st_size for path in files)
    facts = {"target": target, "format": to, "bytes": size, "tables": exported}
    emit(facts, as_json=as_json, render=lambda: _print_export(target, exported, size))


def _print_export(target: Path, exported: list[ExportedTable], size: int) -> None:
    for table in exported:
        print_line(f"{table.name}: {table.rows:,} rows")
    print_line(f"{target}: {len(exported)} tables, {size / 1e6:,.2f} MB")
