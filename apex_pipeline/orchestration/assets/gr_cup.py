"""Contains the assets of a GR Cup session: official timing, laps, telemetry, quality.

Each loads its inputs, calls a derivation in ``sources/gr_cup`` and returns the tables with metadata.
"""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from uuid import uuid4

import dagster as dg
import pyarrow as pa

from apex_pipeline.ingest.catalog import session_files
from apex_pipeline.lake.raw_files import raw_file_opener
from apex_pipeline.lake.snapshot import INPUTS_VERSION
from apex_pipeline.lake.tables import input_version, with_input_version
from apex_pipeline.orchestration.assets._factory import materialize_table, table_output
from apex_pipeline.orchestration.failures import RETRY_TRANSIENT, dagster_failure
from apex_pipeline.orchestration.io_manager import StagedFile
from apex_pipeline.orchestration.partitions import session_key_from, sessions
from apex_pipeline.orchestration.resources import LakeResource, SourceResource
from apex_pipeline.orchestration.table_schema import table_metadata
from apex_pipeline.progress import ByteProgressLog
from apex_pipeline.sources.gr_cup.derive import (
    derive_lap_tables,
    derive_official_tables,
    derive_telemetry,
    telemetry_bytes,
)
from apex_pipeline.sources.gr_cup.quality import score_session, session_note_of
from apex_pipeline.sources.gr_cup.source import GrCup
from apex_pipeline.sources.gr_cup.telemetry.car_stats import telemetry_cars_table
from apex_pipeline.sources.rejects import rejects_table
from apex_pipeline.sources.workspace import Workspace
from apex_pipeline.tables import (
    CARS,
    FILES,
    LAP_REJECTS,
    LAPS,
    OFFICIAL_LAPS,
    OFFICIAL_REJECTS,
    QUALITY,
    RESULTS,
    SESSIONS,
    TELEMETRY,
    TELEMETRY_CARS,
    TELEMETRY_REJECTS,
    WEATHER,
)


@dg.multi_asset(
    name="official_timing",
    outs={table.name: table_output(table) for table in (OFFICIAL_LAPS, RESULTS, WEATHER, OFFICIAL_REJECTS)},
    ins={"files": dg.AssetIn(key=FILES.asset_key), "session_list": dg.AssetIn(key=SESSIONS.asset_key)},
    partitions_def=sessions,
    group_name="tables",
    retry_policy=RETRY_TRANSIENT,
)
def official_timing(
    context: dg.AssetExecutionContext, lake: LakeResource, files: pa.Table, session_list: pa.Table
) -> Iterator[dg.MaterializeResult[pa.Table]]:
    """Parse the session's official timing files."""
    with dagster_failure():
        key = session_key_from(context)
        tables = derive_official_tables(key, session_files(files, key, GrCup.name), raw_file_opener(lake.open()))
        version = input_version(session_list, key)
    dropped = {"dropped_columns": ", ".join(tables.dropped_columns) or "none"}
    published = (
        (OFFICIAL_LAPS, tables.official_laps),
        (RESULTS, tables.results),
        (WEATHER, tables.weather),
        (OFFICIAL_REJECTS, tables.rejects),
    )
    for table, rows in published:
        yield materialize_table(table, with_input_version(rows, version), version, dropped)


@dg.multi_asset(
    name="laps",
    outs={table.name: table_output(table) for table in (LAPS, CARS, LAP_REJECTS)},
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
    """Derive the session's laps from its lap triggers; official timing takes precedence."""
    with dagster_failure():
        key = session_key_from(context)
        zone = GrCup().load_rules(source.settings).zone_of(key.track)
        used, open_file = session_files(files, key, GrCup.name), raw_file_opener(lake.open())
        workspace = Workspace(lake.memory_limit, lake.temp_dir)
        tables = derive_lap_tables(key, used, open_file, official_laps, zone, workspace)
        version = input_version(session_list, key)
    facts = asdict(tables.report)
    for table, rows in ((LAPS, tables.laps), (CARS, tables.cars), (LAP_REJECTS, tables.rejects)):
        yield materialize_table(table, with_input_version(rows, version), version, facts if table is LAPS else None)


@dg.multi_asset(
    name="telemetry",
    outs={table.name: table_output(table) for table in (TELEMETRY, TELEMETRY_CARS, TELEMETRY_REJECTS)},
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
    """Convert the session's telemetry, counting readings in and cells out."""
    staged = Path(lake.temp_dir, f"telemetry-{uuid4().hex}.parquet")
    with dagster_failure():
        key = session_key_from(context)
        version, chosen = input_version(session_list, key), session_files(files, key, GrCup.name)
        log = ByteProgressLog("read", telemetry_bytes(chosen), context.log.info)
        workspace = Workspace(lake.memory_limit, lake.temp_dir, log, {INPUTS_VERSION: version})
        report = derive_telemetry(key, chosen, raw_file_opener(lake.open()), laps, staged, workspace)
    for warning in report.warnings():
        context.log.warning(warning)
    yield materialize_table(TELEMETRY, StagedFile(staged), version, report.facts() | log.facts())
    cars = telemetry_cars_table(key.track, key.session, report)
    yield materialize_table(TELEMETRY_CARS, with_input_version(cars, version), version)
    rejects = rejects_table(key.track, key.session, report.rejects)
    yield materialize_table(TELEMETRY_REJECTS, with_input_version(rejects, version), version)


@dg.asset(
    key=QUALITY.asset_key,
    ins={
        "session_list": dg.AssetIn(key=SESSIONS.asset_key),
        **{
            table.name: dg.AssetIn(key=table.asset_key)
            for table in (LAPS, CARS, OFFICIAL_LAPS, RESULTS, TELEMETRY_CARS)
        },
    },
    partitions_def=sessions,
    group_name="tables",
    kinds={"parquet"},
    description=QUALITY.description,
    metadata=table_metadata(QUALITY),
    retry_policy=RETRY_TRANSIENT,
    io_manager_key="parquet_io",
)
def quality(
    context: dg.AssetExecutionContext,
    session_list: pa.Table,
    laps: pa.Table,
    cars: pa.Table,
    official_laps: pa.Table,
    results: pa.Table,
    telemetry_cars: pa.Table,
) -> dg.MaterializeResult[pa.Table]:
    """Score the quality of the session and write its note."""
    with dagster_failure():
        key = session_key_from(context)
        scores = score_session(key.track, key.session, laps, cars, official_laps, results, telemetry_cars)
        version = input_version(session_list, key)
        note = dg.MetadataValue.md(session_note_of(scores))
        return materialize_table(QUALITY, with_input_version(scores, version), version, {"session_note": note})


GR_CUP_ASSETS = [official_timing, laps, telemetry, quality]
