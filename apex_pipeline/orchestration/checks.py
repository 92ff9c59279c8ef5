"""Defines the asset checks shared by all sources: each checks that a published table matches its schema.

The schema checks are generated from ``tables``, one per table, so new tables are covered automatically. They read the
published file, not the data in memory. See ``tables/model.py`` for the schema rules and
https://docs.dagster.io/guides/test/asset-checks
"""

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import dagster as dg

from apex_pipeline.errors import SchemaViolationError
from apex_pipeline.orchestration.io_manager import check_file
from apex_pipeline.orchestration.partitions import session_key_from, sessions
from apex_pipeline.orchestration.resources import LakeResource
from apex_pipeline.storage.layout import table_key
from apex_pipeline.tables import CATALOG_TABLES
from apex_pipeline.tables.model import Table

CheckFunction = Callable[..., dg.AssetCheckResult]


def partitioned_check(table: Table, name: str, description: str, *, is_blocking: bool) -> Any:  # noqa: ANN401
    """Decorate a check so that it runs on one session and its result is recorded for that session.

    ``partitions_def`` on a check is a preview feature of Dagster 1.13: without it, a check on a partitioned asset has
    no partition and would have to load every session. It is used only here, and this is the only warning ignored.
    """

    def decorate(function: CheckFunction) -> dg.AssetChecksDefinition:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.PreviewWarning)
            return dg.asset_check(
                asset=dg.AssetKey(table.asset_key),
                name=name,
                description=description,
                blocking=is_blocking,
                partitions_def=sessions,
            )(function)

    return decorate


def _session_schema_check(table: Table) -> dg.AssetChecksDefinition:
    @partitioned_check(
        table, "matches_schema", f"Columns, types, bounds and key of {table.name} are as declared.", is_blocking=True
    )
    def matches_schema(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
        return _schema_result(lake, table, str(session_key_from(context)))

    return matches_schema


def _catalog_schema_check(table: Table) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=dg.AssetKey(table.asset_key),
        name="matches_schema",
        description=f"Columns, types, bounds and key of {table.name} are as declared.",
        blocking=True,
    )
    def matches_schema(lake: LakeResource) -> dg.AssetCheckResult:
        return _schema_result(lake, table, None)

    return matches_schema


def _schema_result(lake: LakeResource, table: Table, partition: str | None) -> dg.AssetCheckResult:
    key = table_key(table.folder, table.name, partition)
    with lake.open().open_as_file(key) as path:
        try:
            rows = check_file(path, table)
        except SchemaViolationError as error:
            return dg.AssetCheckResult(passed=False, metadata={"problem": error.problem, "object": key})
    return dg.AssetCheckResult(passed=True, metadata={"rows": rows, "object": key})


def build_schema_checks(session_tables: Iterable[Table]) -> list[dg.AssetChecksDefinition]:
    """Return the schema check of every published table."""
    return [
        *(_session_schema_check(table) for table in session_tables),
        *(_catalog_schema_check(table) for table in CATALOG_TABLES),
    ]
