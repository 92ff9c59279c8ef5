"""Contains the assets of the catalog: the tables ``files``, ``tracks`` and ``sessions``, and the manifest.

The catalog is built from the store's listing, so a bucket filled by another tool gives the same catalog. See
``ingest/catalog.py`` for building the tables and ``lake/snapshot.py`` for the snapshot. All four assets run in a pool
with one slot, because two concurrent writers would overwrite each other's state.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pyarrow as pa

from apex_pipeline.ingest.catalog import (
    add_ignored,
    build_files_table,
    build_sessions_table,
    build_tracks_table,
    session_sources,
    with_rules_version,
)
from apex_pipeline.ingest.quarantine import sync_quarantine
from apex_pipeline.lake.snapshot import publish
from apex_pipeline.lake.tables import read_stored_table
from apex_pipeline.orchestration.failures import RETRY_TRANSIENT, dagster_failure
from apex_pipeline.orchestration.resources import LakeResource, SourceResource
from apex_pipeline.orchestration.table_schema import table_metadata
from apex_pipeline.tables import FILES, SESSIONS, TRACKS
from apex_pipeline.tables.model import Table

CATALOG_POOL = "catalog"


@dg.asset(
    key=FILES.asset_key,
    deps=[dg.AssetKey(["lake", "files"]), dg.AssetKey(["lake", "unassigned_files"])],
    group_name="catalog",
    kinds={"parquet"},
    description=FILES.description,
    metadata=table_metadata(FILES),
    pool=CATALOG_POOL,
    retry_policy=RETRY_TRANSIENT,
    io_manager_key="parquet_io",
)
def catalog_files(lake: LakeResource, source: SourceResource) -> dg.MaterializeResult[pa.Table]:
    """List the lake, identify every file, and write the reasons for quarantined files."""
    with dagster_failure():
        store = lake.open()
        files = build_files_table(store, source.settings, read_stored_table(store, FILES))
        folder = source.scan()
        if folder:
            files = add_ignored(files, source.identify(folder))
        quarantined = sync_quarantine(store, files)
        table = with_rules_version(files, source.rules_version)
        return dg.MaterializeResult(value=table, metadata={"quarantined": quarantined})


@dg.asset(
    key=TRACKS.asset_key,
    ins={"files": dg.AssetIn(key=FILES.asset_key)},
    group_name="catalog",
    kinds={"parquet"},
    description=TRACKS.description,
    metadata=table_metadata(TRACKS),
    pool=CATALOG_POOL,
    io_manager_key="parquet_io",
)
def catalog_tracks(files: pa.Table) -> pa.Table:
    """Count sessions and files per track."""
    return build_tracks_table(files)


@dg.asset(
    key=SESSIONS.asset_key,
    ins={"files": dg.AssetIn(key=FILES.asset_key)},
    group_name="catalog",
    kinds={"parquet"},
    description=SESSIONS.description,
    metadata=table_metadata(SESSIONS),
    pool=CATALOG_POOL,
    io_manager_key="parquet_io",
)
def catalog_sessions(files: pa.Table) -> pa.Table:
    """List the sessions with their present and missing kinds of file."""
    return build_sessions_table(files)


def build_manifest_asset(session_tables: Iterable[Table]) -> dg.AssetsDefinition:
    """Return the last asset of the pipeline, which publishes the tables in the lake."""

    @dg.asset(
        key=["catalog", "manifest"],
        deps=[dg.AssetKey(table.asset_key) for table in session_tables] + [dg.AssetKey(TRACKS.asset_key)],
        ins={"session_list": dg.AssetIn(key=SESSIONS.asset_key), "files": dg.AssetIn(key=FILES.asset_key)},
        group_name="catalog",
        kinds={"json"},
        description="The published snapshot: every table file by its hash, replaced in one step.",
        pool=CATALOG_POOL,
        retry_policy=RETRY_TRANSIENT,
    )
    def catalog_manifest(lake: LakeResource, session_list: pa.Table, files: pa.Table) -> dg.MaterializeResult[Any]:
        """Publish the current tables of the lake."""
        with dagster_failure():
            snapshot = publish(lake.open(), session_list, datetime.now(UTC), session_sources(files))
            return dg.MaterializeResult(
                metadata={
                    "snapshot": snapshot.id,
                    "sessions": len(snapshot.sessions),
                    "rows": sum(table.rows for record in snapshot.sessions for table in record.tables.values()),
                },
                data_version=dg.DataVersion(snapshot.id),
            )

    return catalog_manifest
