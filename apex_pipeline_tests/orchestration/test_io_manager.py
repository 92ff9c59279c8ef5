"""Tests the IO manager on both backends: it stores every supported type, loads the annotated type, and checks schemas.

Also shows how to test an IO manager without a run: with hand-built contexts, and an ephemeral instance for the dynamic
partitions.
"""

from pathlib import Path

import dagster as dg
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from apex_pipeline.orchestration.io_manager import ParquetIOManager, StagedFile
from apex_pipeline.orchestration.partitions import sessions
from apex_pipeline.orchestration.resources import LakeResource
from apex_pipeline.settings import load_settings
from apex_pipeline.storage.layout import history_key, table_key
from apex_pipeline.tables import LAPS, TRACKS
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.lake.tables import laps_of
from apex_pipeline_tests.servers.s3_server import S3Bucket

_R1 = SessionKey("spa", "R1")
_R2 = SessionKey("spa", "R2")


@pytest.fixture
def instance() -> dg.DagsterInstance:
    instance = dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions("sessions", [str(_R1), str(_R2)])
    return instance


@pytest.fixture(params=["local", "s3"])
def lake(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LakeResource:
    if request.param == "local":
        return LakeResource.from_settings(load_settings(lake_dir=tmp_path / "lake"))
    bucket: S3Bucket = request.getfixturevalue("s3_bucket")
    for name, value in bucket.environment.items():
        monkeypatch.setenv(name, value)
    return LakeResource.from_settings(load_settings(use_s3_data=True, bucket=bucket.name))


@pytest.fixture
def manager(lake: LakeResource) -> ParquetIOManager:
    return ParquetIOManager(lake=lake)


def _output(instance: dg.DagsterInstance, key: SessionKey | None, asset: tuple[str, str]) -> dg.OutputContext:
    return dg.build_output_context(
        asset_key=dg.AssetKey(asset),
        partition_key=str(key) if key else None,
        asset_partitions_def=sessions if key else None,
        instance=instance,
    )


def _input(
    instance: dg.DagsterInstance, keys: tuple[SessionKey, ...], wanted: object, asset: tuple[str, str]
) -> dg.InputContext:
    return dg.build_input_context(
        asset_key=dg.AssetKey(asset),
        partition_key=str(keys[0]) if len(keys) == 1 else None,
        asset_partition_key_range=dg.PartitionKeyRange(str(keys[0]), str(keys[-1])) if len(keys) > 1 else None,
        asset_partitions_def=sessions if keys else None,
        dagster_type=dg.PythonObjectDagsterType(wanted),  # type: ignore[arg-type]
        instance=instance,
    )


def _staged(table: pa.Table, folder: Path) -> StagedFile:
    path = folder / "staged.parquet"
    pq.write_table(table, path)
    return StagedFile(path)


@pytest.mark.req("P-03", "A-068")
@pytest.mark.parametrize("kind", ["arrow", "pandas", "batches", "staged"])
def test_a_table_of_every_supported_type_round_trips(
    manager: ParquetIOManager, instance: dg.DagsterInstance, tmp_path: Path, kind: str
) -> None:
    table = TRACKS.from_rows([{"track": "spa", "track_name": "Spa", "sessions": 2, "files": 8, "bytes": 100}])
    given = {
        "arrow": table,
        "pandas": table.to_pandas(),
        "batches": pa.RecordBatchReader.from_batches(table.schema, table.to_batches()),
        "staged": _staged(table, tmp_path),
    }[kind]
    manager.handle_output(_output(instance, None, TRACKS.asset_key), given)
    loaded = manager.load_input(_input(instance, (), pa.Table, TRACKS.asset_key))
    assert loaded.to_pylist() == table.to_pylist()
    assert not (tmp_path / "staged.parquet").exists() or kind != "staged"


def test_an_input_is_loaded_as_its_annotated_type(manager: ParquetIOManager, instance: dg.DagsterInstance) -> None:
    manager.handle_output(_output(instance, _R1, LAPS.asset_key), laps_of(_R1, laps=3))
    frame = manager.load_input(_input(instance, (_R1,), pd.DataFrame, LAPS.asset_key))
    assert isinstance(frame, pd.DataFrame)
    assert list(frame["lap_number"]) == [1, 2, 3]
    dataset = manager.load_input(_input(instance, (_R1,), ds.Dataset, LAPS.asset_key))
    assert isinstance(dataset, ds.Dataset)
    assert dataset.count_rows() == 3
    with pytest.raises(TypeError, match=r"annotated .*; use pandas\.DataFrame"):
        manager.load_input(_input(instance, (_R1,), int, LAPS.asset_key))


def test_several_sessions_are_loaded_as_one_table(manager: ParquetIOManager, instance: dg.DagsterInstance) -> None:
    for key, laps in ((_R1, 2), (_R2, 3)):
        manager.handle_output(_output(instance, key, LAPS.asset_key), laps_of(key, laps=laps))
    table = manager.load_input(_input(instance, (_R1, _R2), pa.Table, LAPS.asset_key))
    assert sorted(table["session"].to_pylist()) == ["R1", "R1", "R2", "R2", "R2"]


@pytest.mark.req("P-07")
def test_the_materialization_carries_rows_uri_size_hash_and_columns(
    manager: ParquetIOManager, lake: LakeResource, instance: dg.DagsterInstance
) -> None:
    context = _output(instance, _R1, LAPS.asset_key)
    manager.handle_output(context, laps_of(_R1, laps=3))
    metadata = context.get_logged_metadata()
    key = table_key("tables", "laps", str(_R1))
    stored = lake.open().head(key)
    assert stored is not None
    assert metadata["dagster/partition_row_count"].value == 3
    assert metadata["dagster/uri"].value == lake.open().uri_of(key)
    assert (metadata["bytes"].value, metadata["sha256"].value) == (stored.size, stored.sha256)
    columns = metadata["dagster/column_schema"].value.columns  # type: ignore[union-attr]  -- a table schema
    descriptions = {column.name: column.description for column in columns}
    assert descriptions["lap_time_s"] == "Best estimate of the lap time. [seconds]"


def test_an_unpartitioned_table_reports_its_total_row_count(
    manager: ParquetIOManager, instance: dg.DagsterInstance
) -> None:
    context = _output(instance, None, TRACKS.asset_key)
    manager.handle_output(context, TRACKS.empty())
    assert context.get_logged_metadata()["dagster/row_count"].value == 0


def test_a_table_that_violates_its_schema_is_not_published(
    manager: ParquetIOManager, lake: LakeResource, instance: dg.DagsterInstance
) -> None:
    manager.handle_output(_output(instance, _R1, LAPS.asset_key), laps_of(_R1, laps=3))
    before = lake.open().head(table_key("tables", "laps", str(_R1)))
    repeated = pa.concat_tables([laps_of(_R1, laps=1)] * 2)
    with pytest.raises(dg.Failure, match=r"laps is not published: 1 rows repeat the key") as failed:
        manager.handle_output(_output(instance, _R1, LAPS.asset_key), repeated)
    assert not failed.value.allow_retries
    assert lake.open().head(table_key("tables", "laps", str(_R1))) == before


def test_a_replaced_table_goes_to_history_and_an_equal_one_is_not_rewritten(
    manager: ParquetIOManager, lake: LakeResource, instance: dg.DagsterInstance
) -> None:
    store, key = lake.open(), table_key("tables", "laps", str(_R1))
    manager.handle_output(_output(instance, _R1, LAPS.asset_key), laps_of(_R1, laps=3))
    first = store.head(key)
    manager.handle_output(_output(instance, _R1, LAPS.asset_key), laps_of(_R1, laps=3))
    assert store.head(key) == first
    assert first is not None
    assert first.sha256 is not None
    content = store.read_bytes(key)
    manager.handle_output(_output(instance, _R1, LAPS.asset_key), laps_of(_R1, laps=4))
    assert store.read_bytes(history_key(first.sha256)) == content


def test_a_value_that_is_not_a_table_fails(manager: ParquetIOManager, instance: dg.DagsterInstance) -> None:
    with pytest.raises(dg.Failure, match="int cannot be stored as Parquet"):
        manager.handle_output(_output(instance, None, TRACKS.asset_key), 3)  # type: ignore[arg-type]


@pytest.mark.req("A-073")
def test_loading_a_missing_table_fails_with_its_name(manager: ParquetIOManager, instance: dg.DagsterInstance) -> None:
    with pytest.raises(dg.Failure, match=r"tracks\.parquet"):
        manager.load_input(_input(instance, (), pa.Table, TRACKS.asset_key))


@pytest.mark.parametrize("partition", ["../evil", "a...b", "/abs", "", "spa", "spa/R1/x"])
def test_an_invalid_partition_key_writes_nothing(lake: LakeResource, partition: str) -> None:
    instance = dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions("sessions", [partition])
    context = dg.build_output_context(
        asset_key=dg.AssetKey(LAPS.asset_key),
        partition_key=partition,
        asset_partitions_def=sessions,
        instance=instance,
    )
    with pytest.raises(dg.Failure, match=r"no track slug|not a session key|not correspond to a partitioned asset"):
        ParquetIOManager(lake=lake).handle_output(context, laps_of(_R1, laps=1))
    assert list(lake.open().list()) == []
