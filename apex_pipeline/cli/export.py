"""Implements ``apex export``; see export/tables.py for how tables are written in other formats."""

from pathlib import Path
from typing import Annotated

import typer

from apex_pipeline.catalog.conditions import rows_where
from apex_pipeline.catalog.reader import Catalog, open_catalog
from apex_pipeline.cli.emit import emit, print_line
from apex_pipeline.cli.listing import allowed_values
from apex_pipeline.cli.options import AsJson, AsOf, Lake, split_names, store_at
from apex_pipeline.cli.progress import byte_progress
from apex_pipeline.errors import ConfigurationError
from apex_pipeline.export.tables import Choice, ExportedTable, Format, export_bytes, export_tables, select_tables
from apex_pipeline.tables.session_key import SessionKey


def export_command(  # noqa: PLR0913, PLR0917  -- one option each
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="New database file; new folder for csv, parquet.")],
    to: Annotated[Format, typer.Option(help="Format of the export.")],
    tables: Annotated[str | None, typer.Option(help="Tables, e.g. laps,cars; by default all except telemetry.")] = None,
    tracks: Annotated[str | None, typer.Option(help="Only these tracks, e.g. barber,COTA.")] = None,
    sessions: Annotated[str | None, typer.Option(help="Only these sessions of them, e.g. r1,r2.")] = None,
    where: Annotated[
        str | None, typer.Option(help='Only rows like this: "lap_number = 5 and vehicle_id = GR86-022-13".')
    ] = None,
    columns: Annotated[str | None, typer.Option(help="Only these columns, which every table must have.")] = None,
    lake: Lake = None,
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """Write published tables, or a part of them, as a database file, or a folder of CSV or Parquet files."""
    names = select_tables(split_names(tables))
    catalog = open_catalog(lake, as_of=as_of)
    choice = Choice(
        _chosen_sessions(catalog, split_names(tracks), split_names(sessions)),
        None if where is None else lambda rows: rows_where(rows, where, allowed_values(None)),
        split_names(columns),
    )
    with byte_progress("export", export_bytes(catalog.snapshot, names, choice)):
        exported = export_tables(store_at(lake), catalog.snapshot, names, to, target, choice)
    files = [path for path in target.rglob("*") if path.is_file()] if target.is_dir() else [target]
    size = sum(path.stat().st_size for path in files)
    facts = {"target": target, "format": to, "bytes": size, "tables": exported}
    emit(facts, as_json=as_json, render=lambda: _print_export(target, exported, size))


def _chosen_sessions(
    catalog: Catalog, tracks: tuple[str, ...], sessions: tuple[str, ...]
) -> frozenset[SessionKey] | None:
    """Return the sessions with these names, by any of their names; ``None`` for all.

    Raises:
        ConfigurationError: A name means nothing, or no chosen track has such a session.
    """
    if not tracks and not sessions:
        return None
    slugs = [catalog.find_track(track) for track in tracks] or sorted({key.track for key in catalog.snapshot.keys})
    if not sessions:
        return frozenset(key for slug in slugs for key in catalog.find_sessions(slug))
    return frozenset(key for name in sessions for key in _named(catalog, slugs, name))


def _named(catalog: Catalog, slugs: list[str], session: str) -> list[SessionKey]:
    found: list[SessionKey] = []
    reason: ConfigurationError | None = None
    for slug in slugs:
        try:
            found.append(catalog.find_session(slug, session))
        except ConfigurationError as error:
            reason = error
    if reason is not None and not found:
        raise reason
    return found


def _print_export(target: Path, exported: list[ExportedTable], size: int) -> None:
    for table in exported:
        print_line(f"{table.name}: {table.rows:,} rows")
    print_line(f"{target}: {len(exported)} tables, {size / 1e6:,.2f} MB")
