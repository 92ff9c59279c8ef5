"""The GR Cup as a source: its derivation gives the tables that its Dagster assets publish."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from apex_pipeline.lake.objects import read_table_file
from apex_pipeline.lake.raw_files import raw_file_opener
from apex_pipeline.sources.base import DerivedTable
from apex_pipeline.sources.gr_cup.source import GrCup
from apex_pipeline.sources.workspace import Workspace
from apex_pipeline_tests.shared_lakes import SyncedLake


def _rows(derived: DerivedTable) -> pa.Table:
    if isinstance(derived.content, Path):
        return pq.ParquetFile(derived.content).read().replace_schema_metadata(None)
    return derived.content.replace_schema_metadata(None)


def test_the_derivation_gives_the_published_tables(demo_lake: SyncedLake, tmp_path: Path) -> None:
    source, store, snapshot = GrCup(), demo_lake.store, demo_lake.catalog.snapshot
    rules, workspace = source.load_rules(demo_lake.settings), Workspace(1_000_000_000, tmp_path)
    record = snapshot.sessions[0]
    used = [file.identity for file in record.files if file.is_in_use]
    derived = {
        item.table.name: item for item in source.derive(record.key, used, raw_file_opener(store), workspace, rules)
    }
    assert derived.keys() == record.tables.keys()
    for name, table in record.tables.items():
        assert _rows(derived[name]).equals(read_table_file(store, table).replace_schema_metadata(None)), name
