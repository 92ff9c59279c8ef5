"""Station 4b: who drove which lap, and how long it took.

Here belongs the asset, thin: laps and cars are derived in ``sources/gr_cup/laps``.
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
from apex_pipeline.resources.lake_store import LakeResource, SourceResource
from apex_pipeline.schemas import CARS, FILES, LAP_REJECTS, LAPS, OFFICIAL_LAPS, SESSIONS
from apex_pipeline.sources.gr_cup.telemetry.workspace import Workspace


@dg.multi_asset(
    name="laps",
    outs={table.name: table_out(table) for table in (LAPS, CARS, LAP_REJECTS)},
    ins={
        "files": dg.AssetIn(key=FILES.asset_key),
        "session_list": dg.AssetIn(key=SESSIONS.asset_key),
        "official_laps": dg.AssetIn(key=OFFICIAL_LAPS.asset_key),
    },
    partitions_def=sessions,
    group_name="tables",
    retry_policy=RETRY_TRANSIENT,
)
def laps(
    context: dg.AssetExecutionContext,
    lake: LakeResource,
    source: SourceResource,
    files: pa.Table,
    session_list: pa.Table,
    official_laps: pa.Table,
) -> Iterator[dg.MaterializeResult[pa.Table]]:
    """Derive the session's laps from its lap triggers, with official timing as the referee."""
    with dagster_failure():
        key = session_of_run(context)
        zone, workspace = source.rules.zone_of(key.track), Workspace(lake.memory_limit, lake.scratch)
        tables = make_laps(lake.open(), key, session_files(files, key), official_laps, zone, workspace)
        version = version_for(session_list, key)
    facts = asdict(tables.report)
    for table, rows in ((LAPS, tables.laps), (CARS, tables.cars), (LAP_REJECTS, tables.rejects)):
        yield made(table, mark_inputs(rows, version), version, facts if table is LAPS else None)


__all__ = ["laps"]
