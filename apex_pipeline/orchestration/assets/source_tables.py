"""Builds one Dagster asset that derives all tables of a source, for sources without assets of their own."""

from collections.abc import Iterator
from pathlib import Path

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
from apex_pipeline.progress import ByteProgressLog
from apex_pipeline.sources.base import DerivedTable, Source, tables_of
from apex_pipeline.sources.workspace import Workspace
from apex_pipeline.tables import FILES, SESSIONS


def build_source_asset(derivation: Source) -> dg.AssetsDefinition:
    """Return the asset that derives all tables of a session of this source."""

    @dg.multi_asset(
        name=derivation.name,
        outs={
            table.name: table_output(table, is_required=table in derivation.required_tables)
            for table in tables_of(derivation)
        },
        ins={"files": dg.AssetIn(key=FILES.asset_key), "session_list": dg.AssetIn(key=SESSIONS.asset_key)},
        partitions_def=sessions,
        group_name="tables",
        retry_policy=RETRY_TRANSIENT,
    )
    def derive(
        context: dg.AssetExecutionContext,
        lake: LakeResource,
        source: SourceResource,
        files: pa.Table,
        session_list: pa.Table,
    ) -> Iterator[dg.MaterializeResult[StagedFile | pa.Table]]:
        with dagster_failure():
            key = session_key_from(context)
            version, used = input_version(session_list, key), session_files(files, key, derivation.name)
            log = ByteProgressLog("read", derivation.work_bytes(used), context.log.info)
            workspace = Workspace(lake.memory_limit, lake.temp_dir, log, {INPUTS_VERSION: version})
            rules = derivation.load_rules(source.settings)
            for derived in derivation.derive(key, used, raw_file_opener(lake.open()), workspace, rules):
                for warning in derived.warnings:
                    context.log.warning(warning)
                yield materialize_table(derived.table, _stored(derived, version), version, derived.facts)

    return derive


def _stored(derived: DerivedTable, version: str) -> StagedFile | pa.Table:
    return (
        StagedFile(derived.content)
        if isinstance(derived.content, Path)
        else with_input_version(derived.content, version)
    )
