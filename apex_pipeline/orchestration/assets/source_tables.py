"""Builds one Dagster asset that derives all tables of a source, for sources without assets of their own."""

from collections.abc import Iterator
from dataclasses import replace

import dagster as dg

from apex_pipeline.orchestration.assets._derivation import StepEvents, StepInputs, derive_tables, table_specs
from apex_pipeline.orchestration.checks import check_specs, shared_checks
from apex_pipeline.orchestration.failures import RETRY_TRANSIENT
from apex_pipeline.orchestration.partitions import sessions
from apex_pipeline.orchestration.resources import LakeResource, SourceResource
from apex_pipeline.sources.base import DerivedTable, Source, tables_of


def build_source_asset(origin: Source) -> dg.AssetsDefinition:
    """Return the asset that derives all tables of a session of this source.

    One table can be selected, but all are derived: a source does not say which of its tables need which others.
    """
    checks = shared_checks(origin, tables_of(origin))

    @dg.multi_asset(
        name=origin.name,
        specs=table_specs(origin, origin.name, tables_of(origin)),
        check_specs=check_specs(checks),
        partitions_def=sessions,
        can_subset=True,
        retry_policy=RETRY_TRANSIENT,
    )
    def derive(context: dg.AssetExecutionContext, lake: LakeResource, source: SourceResource) -> StepEvents:
        def tables(step: StepInputs) -> Iterator[DerivedTable]:
            workspace, rules = replace(step.workspace, progress=step.log), origin.load_rules(source.settings)
            return origin.derive(step.key, step.files, step.open_file, workspace, rules)

        yield from derive_tables(context, lake, origin, checks, tables)

    return derive
