"""Reads what the index of a lake is made of; see ``index_page.py``."""

import pyarrow as pa
import pyarrow.compute as pc

from apex_pipeline.catalog.reader import Catalog
from apex_pipeline.reports.index_page import IndexTables
from apex_pipeline.tables import LAPS, QUALITY, SESSIONS, TRACKS
from apex_pipeline.tables.model import Table

_SESSION = ("track", "session")
_BEST = ("car_number", "lap_time_s")
_TEXT = pa.string()


def index_tables(catalog: Catalog) -> IndexTables:
    """Return the sessions of a catalog with their best laps and scores.

    Raises:
        StoreCorruptionError: A table file is damaged.
    """
    return IndexTables(
        catalog.list_arrow(SESSIONS.name), catalog.list_arrow(TRACKS.name), _best(catalog), _quality(catalog)
    )


def _best(catalog: Catalog) -> pa.Table:
    """Return the fastest valid lap of each session."""
    laps = _rows(catalog, LAPS)
    counts = pc.and_kleene(laps["is_valid"], pc.is_valid(laps["lap_time_s"]))
    found = _plain(laps.filter(counts).select([*_SESSION, *_BEST])).sort_by("lap_time_s")
    # Sorted, so the first row of a session is its fastest.
    firsts = found.group_by(_SESSION, use_threads=False).aggregate([(column, "first") for column in _BEST])
    return firsts.rename_columns([column.removesuffix("_first") for column in firsts.column_names])


def _quality(catalog: Catalog) -> pa.Table:
    """Return the overall score of each session that has one."""
    rows = _plain(_rows(catalog, QUALITY).select([*_SESSION, "scope", "measure", "score"]))
    is_overall = pc.and_(pc.equal(rows["scope"], "session"), pc.equal(rows["measure"], "overall"))
    return rows.filter(is_overall).select([*_SESSION, "score"])


def _rows(catalog: Catalog, table: Table) -> pa.Table:
    """Return a table of all sessions; no rows if no session was published with it."""
    has_any = any(catalog.has_table(table.name, *key) for key in catalog.snapshot.keys)
    return catalog.table_arrow(table.name) if has_any else table.empty()


def _plain(rows: pa.Table) -> pa.Table:
    """Return rows with plain texts: dictionaries of several sessions cannot be grouped."""
    fields = [pa.field(f.name, _TEXT) if pa.types.is_dictionary(f.type) else f for f in rows.schema]
    return rows.cast(pa.schema(fields))
