"""Implements ``apex diff``; see lake/history_tables.py for the rows."""

from typing import Annotated

import typer

from apex_pipeline.cli.listing import Listing, lists
from apex_pipeline.cli.options import Lake, store_at
from apex_pipeline.lake.history import snapshot_as_of
from apex_pipeline.lake.history_tables import differences_table
from apex_pipeline.lake.tables import require_snapshot


@lists
def diff_command(
    before: Annotated[
        str, typer.Argument(metavar="BEFORE", help="The earlier snapshot as `apex history` lists it, or a time.")
    ],
    after: Annotated[
        str | None,
        typer.Argument(metavar="[AFTER]", help="The later one; by default what is published now.", show_default=False),
    ] = None,
    lake: Lake = None,
) -> Listing:
    """List what two snapshots publish differently: sessions, and tables with their rows."""
    store = store_at(lake)
    current = require_snapshot(store)
    old = snapshot_as_of(store, before, current)
    new = current if after is None else snapshot_as_of(store, after, current)
    columns = ("session", "table", "rows_before", "rows_after")
    return Listing(differences_table(old, new), f"From {old.id} to {new.id}", columns, keys=2)
