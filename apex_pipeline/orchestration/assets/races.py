"""Contains the assets of AMS2 races: the uploaded bytes, and the laps and timing that are made of them.

Workers of RQ make them, and ``race_sensor.py`` reports it. Without Redis a run makes them, and so does a backfill, with
the same function. See ``races/process.py``.
"""

from typing import Any

import dagster as dg

from apex_pipeline.orchestration.failures import dagster_failure
from apex_pipeline.orchestration.partitions import races
from apex_pipeline.orchestration.table_schema import table_metadata
from apex_pipeline.races.process import process_race, require_ready
from apex_pipeline.races.services import opened_services
from apex_pipeline.races.views import RaceView, check_race_id, view_race
from apex_pipeline.settings import load_settings
from apex_pipeline.sources.ams2.recording import PARSER_VERSION
from apex_pipeline.tables.races import RACE_LAPS, RACE_TIMING

RAW_KEY = dg.AssetKey(["races", "raw"])
LAPS_KEY = dg.AssetKey(["races", "laps"])
TIMING_KEY = dg.AssetKey(["races", "timing"])

race_raw = dg.AssetSpec(
    RAW_KEY,
    group_name="races",
    description="A race as it was uploaded, one partition per race.",
    partitions_def=races,
    kinds={"deflate"},
)


def _spec(key: dg.AssetKey, description: str, metadata: dict[str, Any]) -> dg.AssetSpec:
    return dg.AssetSpec(
        key,
        deps=[RAW_KEY],
        group_name="races",
        description=description,
        code_version=PARSER_VERSION,
        kinds={"parquet"},
        metadata=metadata,
    )


@dg.multi_asset(
    name="race_tables",
    specs=[
        _spec(LAPS_KEY, RACE_LAPS.description, table_metadata(RACE_LAPS)),
        _spec(TIMING_KEY, RACE_TIMING.description, table_metadata(RACE_TIMING)),
    ],
    partitions_def=races,
)
def race_tables(context: dg.AssetExecutionContext) -> Any:  # noqa: ANN401  -- a generator of Dagster's results
    """Read a race from its uploaded bytes; if it was read before, ids and links of its laps stay."""
    with dagster_failure(context), opened_services(load_settings()) as services:
        race_id = check_race_id(context.partition_key)
        outcome = process_race(services, race_id, job_id=context.run.run_id, again=True)
        require_ready(outcome, race_id)
        view = view_race(services.database, race_id)
    for key in (LAPS_KEY, TIMING_KEY):
        yield dg.MaterializeResult(
            asset_key=key, metadata=race_metadata(view), data_version=dg.DataVersion(data_version(view))
        )


def race_metadata(view: RaceView) -> dict[str, Any]:
    """Return what a materialization tells about a race."""
    return {
        "laps": view.laps_count,
        "sha256": view.sha256,
        "bytes": view.size_bytes,
        "quality": view.detail or "nothing to report",
        "attempts": view.attempts,
        "dagster/uri": view.raw_data_path,
    }


def data_version(view: RaceView) -> str:
    """Return the version of what was made of a race: the bytes, the parser, and which attempt published it."""
    return f"{view.sha256[:12]}-{view.parser_version}-{view.published_attempt}"
