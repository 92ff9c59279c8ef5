"""Station 4b: what the timekeepers printed: laps with sectors, classification, weather.

Here belongs the asset, thin: the files are read in ``sources/gr_cup/official_timing.py``. Columns with names of persons
are not published, whatever the file is called.
"""

from collections.abc import Iterator

import dagster as dg
import pyarrow as pa

from apex_pipeline.assets.table_asset import made, table_out
from apex_pipeline.lake.catalog_tables import session_files
from apex_pipeline.lake.session_tables import make_official_tables
from apex_pipeline.lake.stored_tables import mark_inputs, version_for
from apex_pipeline.partitions import session_of_run, sessions
from apex_pipeline.resources.failures import RETRY_TRANSIENT, dagster_failure
from apex_pipeline.resources.lake_store import LakeResource
from apex_pipeline.schemas import FILES, OFFICIAL_LAPS, OFFICIAL_REJECTS, RESULTS, SESSIONS, WEATHER


@dg.multi_asset(
    name="official_timing",
    outs={table.name: table_out(table) for table in (OFFICIAL_LAPS, RESULTS, WEATHER, OFFICIAL_REJECTS)},
    ins={"files": dg.AssetIn(key=FILES.asset_key), "session_list": dg.AssetIn(key=SESSIONS.asset_key)},
    partitions_def=sessions,
    group_name="tables",
    retry_policy=RETRY_TRANSIENT,
)
def official_timing(
    context: dg.AssetExecutionContext, lake: LakeResource, files: pa.Table, session_list: pa.Table
) -> Iterator[dg.MaterializeResult[pa.Table]]:
    """Read the session's official timing files."""
    with dagster_failure():
        key = session_of_run(context)
        tables = make_official_tables(lake.open(), key, session_files(files, key))
        version = version_for(session_list, key)
    dropped = {"dropped_columns": ", ".join(tables.dropped_columns) or "none"}
    published = (
        (OFFICIAL_LAPS, tables.official_laps),
        (RESULTS, tables.results),
        (WEATHER, tables.weather),
        (OFFICIAL_REJECTS, tables.rejects),
    )
    for table, rows in published:
        yield made(table, mark_inputs(rows, version), version, dropped)


__all__ = ["official_timing"]
