"""Station 4c: what the cars measured, from one row per reading to one row per car and sample time.

Here belongs the asset, thin: the conversion is ``sources/gr_cup/telemetry``. It writes a staged file which the IO
manager publishes; nothing holds a session's telemetry in memory.
"""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import dagster as dg
import pyarrow as pa

from apex_pipeline.assets.table_asset import made, table_out
from apex_pipeline.lake.catalog_tables import session_files
from apex_pipeline.lake.conservation import counts_as_metadata
from apex_pipeline.lake.session_tables import make_telemetry, telemetry_bytes
from apex_pipeline.lake.snapshot import INPUTS_VERSION
from apex_pipeline.lake.stored_tables import mark_inputs, version_for
from apex_pipeline.partitions import session_of_run, sessions
from apex_pipeline.progress import ByteProgressLog
from apex_pipeline.resources.failures import RETRY_TRANSIENT, dagster_failure
from apex_pipeline.resources.lake_store import LakeResource
from apex_pipeline.resources.parquet_io import StagedFile
from apex_pipeline.schemas import FILES, LAPS, SESSIONS, TELEMETRY, TELEMETRY_CARS, TELEMETRY_REJECTS
from apex_pipeline.sources.gr_cup.rejects import rejects_table
from apex_pipeline.sources.gr_cup.telemetry.car_facts import telemetry_cars_table
from apex_pipeline.sources.gr_cup.telemetry.workspace import Workspace


@dg.multi_asset(
    name="telemetry",
    outs={table.name: table_out(table) for table in (TELEMETRY, TELEMETRY_CARS, TELEMETRY_REJECTS)},
    ins={
        "files": dg.AssetIn(key=FILES.asset_key),
        "session_list": dg.AssetIn(key=SESSIONS.asset_key),
        "laps": dg.AssetIn(key=LAPS.asset_key),
    },
    partitions_def=sessions,
    group_name="tables",
    retry_policy=RETRY_TRANSIENT,
)
def telemetry(
    context: dg.AssetExecutionContext, lake: LakeResource, files: pa.Table, session_list: pa.Table, laps: pa.Table
) -> Iterator[dg.MaterializeResult[StagedFile | pa.Table]]:
    """Convert the session's telemetry and count what went in and came out."""
    staged = Path(lake.scratch, f"telemetry-{uuid4().hex}.parquet")
    with dagster_failure():
        key = session_of_run(context)
        version, chosen = version_for(session_list, key), session_files(files, key)
        log = ByteProgressLog("read", telemetry_bytes(chosen), context.log.info)
        report = make_telemetry(
            lake.open(),
            key,
            chosen,
            laps,
            staged,
            Workspace(lake.memory_limit, lake.scratch, log),
            {INPUTS_VERSION: version},
        )
    for channel in report.unknown_channels:
        context.log.warning("The channel %s is not known; its readings are in a column of its own name.", channel)
    yield made(TELEMETRY, StagedFile(staged), version, counts_as_metadata(report) | log.facts())
    cars = telemetry_cars_table(key.track, key.session, report)
    yield made(TELEMETRY_CARS, mark_inputs(cars, version), version)
    rejects = rejects_table(key.track, key.session, report.rejects)
    yield made(TELEMETRY_REJECTS, mark_inputs(rejects, version), version)


__all__ = ["telemetry"]
