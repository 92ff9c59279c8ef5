"""Station 5: how good the session's data is, per car and as a whole, in numbers and in sentences.

Here belongs the asset, thin: the scores and the session note are ``sources/gr_cup/quality``.
"""

import dagster as dg
import pyarrow as pa

from apex_pipeline.assets.table_asset import made
from apex_pipeline.lake.stored_tables import mark_inputs, version_for
from apex_pipeline.partitions import session_of_run, sessions
from apex_pipeline.resources.dagster_schema import table_metadata
from apex_pipeline.resources.failures import RETRY_TRANSIENT, dagster_failure
from apex_pipeline.schemas import CARS, LAPS, OFFICIAL_LAPS, QUALITY, RESULTS, SESSIONS, TELEMETRY_CARS
from apex_pipeline.sources.gr_cup.quality import score_session, session_note_of


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
    description=QUALITY.meaning,
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
    """Score the session and write its note."""
    with dagster_failure():
        key = session_of_run(context)
        scores = score_session(key.track, key.session, laps, cars, official_laps, results, telemetry_cars)
        version = version_for(session_list, key)
        note = dg.MetadataValue.md(session_note_of(scores))
        return made(QUALITY, mark_inputs(scores, version), version, {"session_note": note})


__all__ = ["quality"]
