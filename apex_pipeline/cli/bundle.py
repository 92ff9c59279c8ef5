"""Implements ``apex bundle``; see export/bundle.py for how a bundle is written."""

from pathlib import Path
from typing import Annotated

import typer

from apex_pipeline.catalog.reader import open_catalog
from apex_pipeline.cli.emit import emit, print_line
from apex_pipeline.cli.options import AsJson, AsOf, Lake, split_names, store_at
from apex_pipeline.cli.progress import byte_progress
from apex_pipeline.export.bundle import Bundle, Selection, bundle_bytes, select_sessions, write_bundle


def bundle_command(
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="New folder, or a new file that ends in .zip.")],
    tracks: Annotated[str | None, typer.Option(help="Only these tracks, e.g. barber_motorsports_park,sebring.")] = None,
    sessions: Annotated[str | None, typer.Option(help="Only these sessions of the tracks, e.g. R1,R2.")] = None,
    tables: Annotated[str | None, typer.Option(help="Only these tables, e.g. laps,cars,telemetry.")] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Include the raw files of the sessions.")] = False,
    lake: Lake = None,
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """Copy some sessions into a separate lake, which every reader opens like any other."""
    snapshot = open_catalog(lake, as_of=as_of).snapshot
    selection = select_sessions(
        snapshot,
        tracks=split_names(tracks),
        sessions=split_names(sessions),
        tables=split_names(tables),
        has_raw_files=raw,
    )
    with byte_progress("copy", bundle_bytes(snapshot, selection)):
        bundle = write_bundle(store_at(lake), snapshot, selection, target)
    facts = {
        "target": bundle.target,
        "snapshot": bundle.snapshot,
        "sessions": [str(key) for key in selection.sessions],
        "tables": selection.tables,
        "has_raw_files": selection.has_raw_files,
        "files": bundle.files,
        "bytes": bundle.bytes,
    }
    emit(facts, as_json=as_json, render=lambda: _print_bundle(bundle, selection))


def _print_bundle(bundle: Bundle, selection: Selection) -> None:
    target = bundle.target
    for record in bundle.sessions:
        rows = sum(table.rows for table in record.tables.values())
        print_line(f"{record.key}: {len(record.tables)} tables, {rows:,} rows")
    raw = "with the raw files" if selection.has_raw_files else "without raw files"
    size = f"{bundle.files} files, {bundle.bytes / 1e6:,.2f} MB"
    print_line(f"{target}: {len(selection.sessions)} sessions {raw}, {size}; every byte was read back and verified.")
    print_line(f"To read it: apex tracks --lake {target}")
