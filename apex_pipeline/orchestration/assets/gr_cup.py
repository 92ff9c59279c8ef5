"""Contains the assets of a GR Cup session: official timing, laps, telemetry, quality.

Each calls a derivation in ``sources/gr_cup`` and hands its tables to the step, which writes and checks them. A single
table can be selected: the step derives what belongs to it and writes the selected table only.
"""

from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from uuid import uuid4

import dagster as dg

from apex_pipeline.orchestration.assets._derivation import StepEvents, StepInputs, derive_tables, table_specs
from apex_pipeline.orchestration.assets.gr_cup_checks import GR_CUP_CHECKS
from apex_pipeline.orchestration.assets.gr_cup_lineage import column_lineage
from apex_pipeline.orchestration.checks import TableCheck, check_specs, shared_checks
from apex_pipeline.orchestration.failures import RETRY_TRANSIENT
from apex_pipeline.orchestration.partitions import sessions
from apex_pipeline.orchestration.resources import LakeResource, SourceResource
from apex_pipeline.sources.base import DerivedTable
from apex_pipeline.sources.gr_cup.derive import derive_lap_tables, derive_official_tables, derive_telemetry
from apex_pipeline.sources.gr_cup.quality import score_session, session_note_of
from apex_pipeline.sources.gr_cup.source import GrCup
from apex_pipeline.sources.gr_cup.telemetry.car_stats import holes_table, telemetry_cars_table
from apex_pipeline.sources.rejects import rejects_table
from apex_pipeline.sources.unreadable import warnings_of
from apex_pipeline.tables import (
    CARS,
    LAP_REJECTS,
    LAPS,
    OFFICIAL_LAPS,
    OFFICIAL_POINTS,
    OFFICIAL_REJECTS,
    QUALITY,
    RESULTS,
    TELEMETRY,
    TELEMETRY_CARS,
    TELEMETRY_HOLES,
    TELEMETRY_REJECTS,
    WEATHER,
)
from apex_pipeline.tables.model import Table

_SOURCE = GrCup()

_OFFICIAL_TABLES = (OFFICIAL_LAPS, OFFICIAL_POINTS, RESULTS, WEATHER, OFFICIAL_REJECTS)
_LAP_TABLES = (LAPS, CARS, LAP_REJECTS)
_TELEMETRY_TABLES = (TELEMETRY, TELEMETRY_CARS, TELEMETRY_HOLES, TELEMETRY_REJECTS)
_SCORED_TABLES = (LAPS, CARS, OFFICIAL_LAPS, RESULTS, TELEMETRY_CARS)
_REJECTS_TABLES = (OFFICIAL_REJECTS, LAP_REJECTS, TELEMETRY_REJECTS)


def _checks_of(tables: tuple[Table, ...]) -> list[TableCheck]:
    return [*shared_checks(_SOURCE, tables), *(check for check in GR_CUP_CHECKS if check.table in tables)]


_OFFICIAL_CHECKS = _checks_of(_OFFICIAL_TABLES)
_LAP_CHECKS = _checks_of(_LAP_TABLES)
_TELEMETRY_CHECKS = _checks_of(_TELEMETRY_TABLES)
_QUALITY_CHECKS = _checks_of((QUALITY,))


@dg.multi_asset(
    name="official_timing",
    specs=table_specs(_SOURCE, "official_timing", _OFFICIAL_TABLES, lineage=column_lineage),
    check_specs=check_specs(_OFFICIAL_CHECKS),
    partitions_def=sessions,
    can_subset=True,
    retry_policy=RETRY_TRANSIENT,
)
def official_timing(context: dg.AssetExecutionContext, lake: LakeResource) -> StepEvents:
    """Parse the session's official timing files."""
    yield from derive_tables(context, lake, _SOURCE, _OFFICIAL_CHECKS, _official_tables)


def _official_tables(step: StepInputs) -> Iterator[DerivedTable]:
    tables = derive_official_tables(step.key, step.files, step.open_file, step.workspace)
    facts = {"dropped_columns": ", ".join(tables.dropped_columns) or "none"}
    yield DerivedTable(OFFICIAL_LAPS, tables.official_laps, facts, warnings_of(tables.unreadable), tables.unreadable)
    yield DerivedTable(OFFICIAL_POINTS, tables.official_points, facts)
    yield DerivedTable(RESULTS, tables.results, facts)
    yield DerivedTable(WEATHER, tables.weather, facts)
    yield DerivedTable(OFFICIAL_REJECTS, tables.rejects, facts)


@dg.multi_asset(
    name="laps",
    specs=table_specs(_SOURCE, "laps", _LAP_TABLES, [OFFICIAL_LAPS], column_lineage),
    check_specs=check_specs(_LAP_CHECKS),
    partitions_def=sessions,
    can_subset=True,
    retry_policy=RETRY_TRANSIENT,
)
def laps(context: dg.AssetExecutionContext, lake: LakeResource, source: SourceResource) -> StepEvents:
    """Derive the session's laps from its lap triggers; official timing takes precedence."""
    yield from derive_tables(context, lake, _SOURCE, _LAP_CHECKS, partial(_lap_tables, source))


def _lap_tables(source: SourceResource, step: StepInputs) -> Iterator[DerivedTable]:
    zone = _SOURCE.load_rules(source.settings).zone_of(step.key.track)
    official = step.present.read(OFFICIAL_LAPS)
    tables = derive_lap_tables(step.key, step.files, step.open_file, official, zone, step.workspace)
    yield DerivedTable(LAPS, tables.laps, asdict(tables.report), warnings_of(tables.unreadable), tables.unreadable)
    yield DerivedTable(CARS, tables.cars)
    yield DerivedTable(LAP_REJECTS, tables.rejects)


@dg.multi_asset(
    name="telemetry",
    specs=table_specs(_SOURCE, "telemetry", _TELEMETRY_TABLES, [LAPS], column_lineage),
    check_specs=check_specs(_TELEMETRY_CHECKS),
    partitions_def=sessions,
    can_subset=True,
    retry_policy=RETRY_TRANSIENT,
)
def telemetry(context: dg.AssetExecutionContext, lake: LakeResource) -> StepEvents:
    """Convert the session's telemetry, counting readings in and cells out."""
    yield from derive_tables(context, lake, _SOURCE, _TELEMETRY_CHECKS, _telemetry_tables)


def _telemetry_tables(step: StepInputs) -> Iterator[DerivedTable]:
    staged = Path(step.workspace.scratch, f"telemetry-{uuid4().hex}.parquet")
    workspace = replace(step.workspace, progress=step.log)
    report = derive_telemetry(step.key, step.files, step.open_file, step.present.read(LAPS), staged, workspace)
    facts = report.facts() | step.log.facts()
    yield DerivedTable(TELEMETRY, staged, facts, tuple(report.warnings()), report.unreadable)
    yield DerivedTable(TELEMETRY_CARS, telemetry_cars_table(step.key.track, step.key.session, report))
    yield DerivedTable(TELEMETRY_HOLES, holes_table(step.key.track, step.key.session, report))
    yield DerivedTable(TELEMETRY_REJECTS, rejects_table(step.key.track, step.key.session, report.rejects))


@dg.multi_asset(
    name="quality",
    specs=table_specs(_SOURCE, "quality", [QUALITY], [*_SCORED_TABLES, *_REJECTS_TABLES], column_lineage),
    check_specs=check_specs(_QUALITY_CHECKS),
    partitions_def=sessions,
    can_subset=True,
    retry_policy=RETRY_TRANSIENT,
)
def quality(context: dg.AssetExecutionContext, lake: LakeResource) -> StepEvents:
    """Score the quality of the session and write its note."""
    yield from derive_tables(context, lake, _SOURCE, _QUALITY_CHECKS, _quality_tables)


def _quality_tables(step: StepInputs) -> Iterator[DerivedTable]:
    scored = tuple(map(step.present.read, _SCORED_TABLES))
    rejects = tuple(map(step.present.read, _REJECTS_TABLES))
    scores = score_session(step.key.track, step.key.session, *scored, rejects=rejects)
    yield DerivedTable(QUALITY, scores, {"session_note": dg.MetadataValue.md(session_note_of(scores))})


GR_CUP_ASSETS = [official_timing, laps, telemetry, quality]
