"""Tests what other code locations import: the lake's tables as specs, and their own tables stored beside them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from apex_pipeline.orchestration.interface import (
    PUBLISHED,
    LakeResource,
    ParquetIOManager,
    StagedFile,
    lake_resources,
    lake_specs,
    sessions,
)
from apex_pipeline.settings import load_settings
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.lake.tables import publish_tables

_R1, _R2 = SessionKey("spa", "R1"), SessionKey("spa", "R2")
_MINE = dg.AssetKey(["mine", "stints"])
_STINTS = pa.table({"stint": pa.array([1, 2]), "car": pa.array(["a", "b"])})
_DECLARED = dg.TableSchema(
    [
        dg.TableColumn("stint", "int64", constraints=dg.TableColumnConstraints(nullable=False)),
        dg.TableColumn("car", "string"),
    ]
)


@pytest.fixture
def local(tmp_path: Path) -> ParquetIOManager:
    return ParquetIOManager(lake=LakeResource.from_settings(load_settings(lake_dir=tmp_path / "lake")))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("sessions", [str(_R1), str(_R2)])
        yield instance


def _store(
    manager: ParquetIOManager,
    value: Any,
    *,
    declared: dg.TableSchema | None = None,
    partition: str | None = None,
    partitions: dg.PartitionsDefinition[Any] | None = None,
    instance: dg.DagsterInstance | None = None,
) -> Mapping[str, Any]:
    context = dg.build_output_context(
        asset_key=_MINE,
        partition_key=partition,
        asset_partitions_def=partitions,
        definition_metadata={"dagster/column_schema": declared} if declared else None,
        instance=instance,
    )
    manager.handle_output(context, value)
    return {key: value.value for key, value in context.get_logged_metadata().items()}


def _load(manager: ParquetIOManager, wanted: type = pa.Table, **context: Any) -> Any:
    kind = dg.PythonObjectDagsterType(wanted)
    return manager.load_input(dg.build_input_context(asset_key=_MINE, dagster_type=kind, **context))


def test_the_specs_name_every_table_with_its_columns_and_partitions() -> None:
    specs = {spec.key.to_user_string(): spec for spec in lake_specs()}
    assert {"tables/laps", "tables/telemetry", "catalog/sessions"} <= specs.keys()
    assert specs["tables/laps"].partitions_def == sessions
    assert specs["catalog/sessions"].partitions_def is None
    (laps,) = lake_specs(["laps"], io_manager_key="lake_io")
    assert "dagster/column_schema" in laps.metadata
    assert laps.metadata["dagster/io_manager_key"] == "lake_io"
    with pytest.raises(KeyError, match=r"stints: no such table; there are .*laps"):
        lake_specs(["stints"])


def test_an_asset_of_another_code_location_is_stored_and_loaded_per_session(
    lake_resource: LakeResource, instance: dg.DagsterInstance
) -> None:
    for key, laps in ((_R1, 2), (_R2, 3)):
        publish_tables(lake_resource.open(), key, laps=laps)

    @dg.asset(key=_MINE, ins={"laps": dg.AssetIn(["tables", "laps"])}, deps=[PUBLISHED], partitions_def=sessions)
    def stints(laps: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"laps": [len(laps)], "car": [laps["vehicle_id"].iloc[0]]})

    @dg.asset(ins={"stints": dg.AssetIn(_MINE)})
    def season(stints: pa.Table) -> dg.MaterializeResult[Any]:
        return dg.MaterializeResult(metadata={"laps": sum(stints["laps"].to_pylist())})

    assets = [*lake_specs(["laps"]), stints, season]
    resources = {"parquet_io": ParquetIOManager(lake=lake_resource), "io_manager": ParquetIOManager(lake=lake_resource)}
    for key in (_R1, _R2):
        made = dg.materialize(
            assets, selection=[stints], partition_key=str(key), instance=instance, resources=resources
        )
        (event,) = made.asset_materializations_for_node("mine__stints")
        assert event.metadata["dagster/partition_row_count"].value == 1
        assert "dagster/row_count" not in event.metadata
    result = dg.materialize(assets, selection=[season], instance=instance, resources=resources)
    assert result.asset_materializations_for_node("season")[0].metadata["laps"].value == 5
    assert {item.key for item in lake_resource.open().list("assets/")} == {
        f"assets/mine/stints/track=spa/session={name}/stints.parquet" for name in ("R1", "R2")
    }


def test_without_a_declared_schema_any_table_is_stored_and_its_columns_are_shown(local: ParquetIOManager) -> None:
    facts = _store(local, _STINTS.to_pandas())
    assert facts["dagster/row_count"] == 2
    assert [(column.name, column.type) for column in facts["dagster/column_schema"].columns] == [
        ("stint", "int64"),
        ("car", "string"),
    ]
    assert facts["dagster/uri"].endswith("assets/mine/stints/stints.parquet")
    assert _load(local).to_pylist() == _STINTS.to_pylist()
    assert isinstance(_load(local, pd.DataFrame), pd.DataFrame)


def test_with_a_declared_schema_a_matching_table_is_stored(local: ParquetIOManager, tmp_path: Path) -> None:
    _store(local, _STINTS.to_pandas(), declared=_DECLARED)
    pq.write_table(_STINTS, tmp_path / "staged.parquet")
    _store(local, StagedFile(tmp_path / "staged.parquet"), declared=_DECLARED)
    assert _load(local).num_rows == 2


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"stint": [1]}, "car is missing"),
        ({"stint": [1], "car": ["a"], "lap": [1]}, "lap is not declared"),
        ({"stint": [1.5], "car": ["a"]}, "stint is double, not int64"),
        ({"stint": pa.array([1, None]), "car": ["a", "b"]}, "stint is null in 1 rows"),
    ],
)
def test_a_table_that_differs_from_its_declaration_does_not_replace_the_former_one(
    local: ParquetIOManager, table: dict[str, Any], problem: str
) -> None:
    _store(local, _STINTS, declared=_DECLARED)
    with pytest.raises(dg.Failure, match=f"mine/stints is not stored: {problem}") as failed:
        _store(local, pa.table(table), declared=_DECLARED)
    assert not failed.value.allow_retries
    assert _load(local).to_pylist() == _STINTS.to_pylist()


def test_any_partition_key_stays_below_the_asset(local: ParquetIOManager) -> None:
    partitions = dg.StaticPartitionsDefinition(["../../data/x", "a,b c", "2026-09-06"])
    for key in partitions.get_partition_keys():
        _store(local, _STINTS, partition=key, partitions=partitions)
    keys = [item.key for item in local.lake.open().list()]
    assert len(keys) == 3
    assert all(key.startswith("assets/mine/stints/partition=") for key in keys)
    loaded = _load(local, asset_partitions_def=partitions, partition_key="a,b c")
    assert loaded.num_rows == 2


def test_a_fan_in_fails_on_a_missing_partition_by_name_or_skips_it(local: ParquetIOManager) -> None:
    partitions = dg.StaticPartitionsDefinition(["a", "b", "c"])
    _store(local, _STINTS, partition="b", partitions=partitions)
    every: dict[str, Any] = {
        "asset_partitions_def": partitions,
        "asset_partition_key_range": dg.PartitionKeyRange("a", "c"),
    }
    with pytest.raises(dg.Failure, match=r"mine/stints has no file for 2 of 3 partitions: a, c"):
        _load(local, **every)
    lenient = {"allow_missing_partitions": True}
    assert _load(local, **every, definition_metadata=lenient).num_rows == 2
    none = _load(local, asset_partitions_def=partitions, partition_key="a", definition_metadata=lenient)
    assert none.num_rows == 0
    with pytest.raises(dg.Failure, match="has no file for 1 of 1 partitions: its only file"):
        _load(local)


def test_a_run_of_several_partitions_is_refused(local: ParquetIOManager) -> None:
    partitions = dg.StaticPartitionsDefinition(["a", "b"])
    context = dg.build_output_context(
        asset_key=_MINE, asset_partitions_def=partitions, asset_partition_key_range=dg.PartitionKeyRange("a", "b")
    )
    with pytest.raises(dg.Failure, match="makes 2 partitions of mine/stints at once"):
        local.handle_output(context, _STINTS)


def test_a_session_partition_that_is_no_session_is_refused(local: ParquetIOManager) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("sessions", ["../evil"])
        with pytest.raises(dg.Failure, match=r"not a track slug|not a session key"):
            _store(local, _STINTS, partition="../evil", partitions=sessions, instance=instance)


def test_the_resources_are_those_of_the_settings(tmp_path: Path) -> None:
    resources = lake_resources(load_settings(lake_dir=tmp_path / "here"), io_manager_key="lake_io")
    manager = resources["lake_io"]
    assert isinstance(manager, ParquetIOManager)
    assert resources.keys() == {"lake", "lake_io"}
