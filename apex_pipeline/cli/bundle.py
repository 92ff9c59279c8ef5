"""``apex bundle``: a part of the lake as a lake of its own.

Here belongs the printing; the bundle is made by ``lake/bundle.py``.
"""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from apex_pipeline.catalog import open_catalog
from apex_pipeline.cli.console import console
from apex_pipeline.cli.read import AsJson, Lake, store_at
from apex_pipeline.export.bundle import Bundle
from apex_pipeline.export.bundle import Selection as Part
from apex_pipeline.export.bundle import select_sessions as choose_part
from apex_pipeline.export.bundle import write_bundle as make_bundle


def words(text: str | None) -> tuple[str, ...]:
    """Return the names in a list like ``laps,cars``; none without a text."""
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


def bundle_command(
    target: Annotated[Path, typer.Argument(help="New folder, or a new file that ends in .zip.")],
    tracks: Annotated[str | None, typer.Option(help="Only these tracks, as barber_motorsports_park,sebring.")] = None,
    sessions: Annotated[str | None, typer.Option(help="Only these sessions of them, as R1,R2.")] = None,
    tables: Annotated[str | None, typer.Option(help="Only these tables, as laps,cars,telemetry.")] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Their raw files too.")] = False,  # noqa: FBT002  -- a command-line switch
    lake: Lake = None,
    as_json: AsJson = False,  # noqa: FBT002  -- a command-line switch
) -> None:
    """Copy some sessions into a lake of their own, which every reader opens like any other."""
    snapshot = open_catalog(lake).snapshot
    part = choose_part(
        snapshot, tracks=words(tracks), sessions=words(sessions), tables=words(tables), has_raw_files=raw
    )
    bundle = make_bundle(store_at(lake), snapshot, part, target)
    if as_json:
        sys.stdout.write(json.dumps(_as_dict(bundle, part)) + "\n")
    else:
        _print(bundle, part)


def _as_dict(bundle: Bundle, part: Part) -> dict[str, object]:
    return {
        "target": str(bundle.target),
        "snapshot": bundle.snapshot.id,
        "sessions": [str(key) for key in part.sessions],
        "tables": list(part.tables),
        "has_raw_files": part.has_raw_files,
        "files": bundle.files,
        "bytes": bundle.bytes,
    }


def _print(bundle: Bundle, part: Part) -> None:
    out, target = console(), escape(str(bundle.target))
    for record in bundle.snapshot.sessions:
        rows = sum(table.rows for table in record.tables.values())
        out.print(f"{record.key}: {len(record.tables)} tables, {rows:,} rows", highlight=False)
    raw = "with the raw files" if part.has_raw_files else "without raw files"
    out.print(
        f"{target}: {len(part.sessions)} sessions {raw}, {bundle.files} files, {bundle.bytes / 1e6:,.2f} MB; "
        "every byte read back and right.",
        highlight=False,
        soft_wrap=True,
    )
    opened = (
        "unpack it, then name its folder with --lake"
        if bundle.target.suffix == ".zip"
        else f"apex tracks --lake {target}"
    )
    out.print(f"To read it: {opened}", highlight=False, soft_wrap=True)


__all__ = ["bundle_command", "words"]
