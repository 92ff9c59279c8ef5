"""Station 4a: who drove which lap, and how long it took.

Here belongs the asset, thin: the laps are derived in ``sources/gr_cup/laps.py``.
"""

from collections.abc import Iterator
from dataclasses import asdict

import dagster as dg
import pyarrow as pa

from apex_pipeline.assets.table_asset import made, table_out
from apex_pipeline.lake.catalog_tables import session_files
from apex_pipeline.lake.session_tables import make_laps
from apex_pipeline.lake.stored_tables import mark_inputs, version_for
from apex_pipeline.partitions import session_of_run, sessions
from apex_pipeline.resources.failures import RETRY_TRANSIENT, dagster_failure
from apex_pipeline.resources.lake_store import LakeResource
from apex_pipeline.schemas import FILES, LAP_REJECTS, LAPS, SESSIONS


@dg.multi_asset(
    name="laps",
    outs={"laps": table_out(LAPS), "lap_rejects": table_out(LAP_REJECTS)},
    ins={"files": dg.AssetIn(key=FILES.asset_key), "session_list": dg.AssetIn(key=SESSIONS.asset_key)},
    partitions_def=sessions,
    group_name="tables",
    retry_policy=RETRY_TRANSIENT,
)
def laps(
    context: dg.AssetExecutionContext, lake: LakeResource, files: pa.Table, session_list: pa.Table
) -> Iterator[dg.MaterializeResult[pa.Table]]:
    """Derive the session's laps from its lap triggers."""
    with dagster_failure():
        key = session_of_run(context)
        tables = make_laps(lake.open(), key, session_files(files, key))
        version = version_for(session_list, key)
    yield made(LAPS, mark_inputs(tables.laps, version), version, asdict(tables.report))
    yield made(LAP_REJECTS, mark_inputs(tables.rejects, version), version)


__all__ = ["laps"]
