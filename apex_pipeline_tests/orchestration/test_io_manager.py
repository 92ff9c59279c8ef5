"""Tests the IO manager on both backends: it stores roll-ups of every type and loads published tables as annotated.

Also shows how to test an IO manager without a run: with hand-built contexts, and an ephemeral instance for the dynamic
partitions.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from apex_pipeline.orchestration.io_manager import ParquetIOManager, StagedFile
from apex_pipeline.orchestration.partitions import sessions
from apex_pipeline.orchestration.resources import LakeResource
from apex_pipeline.storage.layout import table_key
from apex_pipeline.tables import LAPS, TRACKS
from apex_pipeline.tables.session_key import SessionKey
from apex_pipeline_tests.lake.tables import derive_tables, laps_of, publish_tables

_R1 = SessionKey("spa", "R1")
_R2 = SessionKey("spa", "R2")


_TRACKS = TRACKS.from_rows([{"track": "spa", "track_name": "Spa", "sessions": 2, "files": 8, "bytes": 100}])


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("sessions", [str(_R1), str(_R2)])
        yield instance


@pytest.fixture
def manager(lake_resource: LakeResource) -> ParquetIOManager:
    return ParquetIOManager(lake=lake_resource)


def _output(instance: dg.DagsterInstance, key: SessionKey | None, asset: tuple[str, str]) -> dg.OutputContext:
    return dg.build_output_context(
        asset_key=dg.AssetKey(asset),
        partition_key=str(key) if key else None,
        asset_partitions_def=sessions if key else None,
        instance=instance,
    )


def _input(
    instance: dg.DagsterInstance,
    keys: tuple[SessionKey, ...],
    wanted: object,
    asset: tuple[str, str],
    metadata: Mapping[str, Any] | None = None,
) -> dg.InputContext:
    return dg.build_input_context(
        asset_key=dg.AssetKey(asset),
        partition_key=str(keys[0]) if len(keys) == 1 else None,
        asset_partition_key_range=dg.PartitionKeyRange(str(keys[0]), str(keys[-1])) if len(keys) > 1 else None,
        asset_partitions_def=sessions if keys else None,
        dagster_type=dg.PythonObjectDagsterType(wanted),  # type: ignore[arg-type]
        definition_metadata=metadata,
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
    table = _TRACKS
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


def test_an_input_is_loaded_as_its_annotated_type(
    manager: ParquetIOManager, lake_resource: LakeResource, instance: dg.DagsterInstance
) -> None:
    publish_tables(lake_resource.open(), _R1, laps=3)
    frame = manager.load_input(_input(instance, (_R1,), pd.DataFrame, LAPS.asset_key))
    assert isinstance(frame, pd.DataFrame)
    assert list(frame["lap_number"]) == [1, 2, 3]
    dataset = manager.load_input(_input(instance, (_R1,), ds.Dataset, LAPS.asset_key))
    assert isinstance(dataset, ds.Dataset)
    assert dataset.count_rows() == 3
    with pytest.raises(TypeError, match=r"annotated .*; use pandas\.DataFrame"):
        manager.load_input(_input(instance, (_R1,), int, LAPS.asset_key))


def test_several_sessions_are_loaded_as_one_table(
    manager: ParquetIOManager, lake_resource: LakeResource, instance: dg.DagsterInstance
) -> None:
    for key, laps in ((_R1, 2), (_R2, 3)):
        publish_tables(lake_resource.open(), key, laps=laps)
    table = manager.load_input(_input(instance, (_R1, _R2), pa.Table, LAPS.asset_key))
    assert sorted(table["session"].to_pylist()) == ["R1", "R1", "R2", "R2", "R2"]


def test_a_session_is_loaded_as_published_and_never_as_it_is_being_derived(
    manager: ParquetIOManager, lake_resource: LakeResource, instance: dg.DagsterInstance
) -> None:
    publish_tables(lake_resource.open(), _R1, laps=2)
    derive_tables(lake_resource.open(), _R1, "v2", laps=5)
    lake_resource.open().write_bytes(table_key("tables", "laps", str(_R1)), b"somebody else's")
    assert manager.load_input(_input(instance, (_R1,), pa.Table, LAPS.asset_key)).num_rows == 2


def test_a_session_that_is_not_published_fails_the_input_by_name(
    manager: ParquetIOManager, lake_resource: LakeResource, instance: dg.DagsterInstance
) -> None:
    publish_tables(lake_resource.open(), _R1, laps=2)
    both = _input(instance, (_R1, _R2), pa.Table, LAPS.asset_key)
    with pytest.raises(dg.Failure, match="laps is not published for 1 of 2 sessions: spa/R2") as failed:
        manager.load_input(both)
    assert "Materialize tables/laps and lake/published" in str(failed.value.metadata["remedy"].value)
    assert not failed.value.allow_retries


def test_a_lenient_input_leaves_out_sessions_that_are_not_published(
    manager: ParquetIOManager, lake_resource: LakeResource, instance: dg.DagsterInstance
) -> None:
    publish_tables(lake_resource.open(), _R1, laps=2)
    lenient = {"allow_missing_partitions": True}
    both = _input(instance, (_R1, _R2), pa.Table, LAPS.asset_key, lenient)
    assert manager.load_input(both).num_rows == 2
    none = manager.load_input(_input(instance, (_R2,), pa.Table, LAPS.asset_key, lenient))
    assert (none.num_rows, none.schema.names) == (0, LAPS.schema.names)


def test_nothing_published_fails_the_input(manager: ParquetIOManager, instance: dg.DagsterInstance) -> None:
    with pytest.raises(dg.Failure, match="Nothing is published"):
        manager.load_input(_input(instance, (_R1,), pa.Table, LAPS.asset_key))


@pytest.mark.req("P-07")
def test_the_materialization_carries_rows_uri_size_and_hash(
    manager: ParquetIOManager, lake_resource: LakeResource, instance: dg.DagsterInstance
) -> None:
    context = _output(instance, None, TRACKS.asset_key)
    manager.handle_output(context, _TRACKS)
    metadata = context.get_logged_metadata()
    stored = lake_resource.open().head(table_key("catalog", "tracks"))
    assert stored is not None
    assert metadata["dagster/row_count"].value == 1
    assert metadata["dagster/uri"].value == lake_resource.open().uri_of(table_key("catalog", "tracks"))
    assert (metadata["bytes"].value, metadata["sha256"].value) == (stored.size, stored.sha256)
    assert "dagster/column_schema" not in metadata


def test_a_table_that_violates_its_schema_is_not_stored(
    manager: ParquetIOManager, lake_resource: LakeResource, instance: dg.DagsterInstance
) -> None:
    manager.handle_output(_output(instance, None, TRACKS.asset_key), _TRACKS)
    before = lake_resource.open().head(table_key("catalog", "tracks"))
    with pytest.raises(dg.Failure, match=r"tracks is not published: 1 rows repeat the key") as failed:
        manager.handle_output(_output(instance, None, TRACKS.asset_key), pa.concat_tables([_TRACKS, _TRACKS]))
    assert not failed.value.allow_retries
    assert lake_resource.open().head(table_key("catalog", "tracks")) == before


def test_an_equal_table_is_not_written_again(
    manager: ParquetIOManager, lake_resource: LakeResource, instance: dg.DagsterInstance
) -> None:
    manager.handle_output(_output(instance, None, TRACKS.asset_key), _TRACKS)
    before = lake_resource.open().head(table_key("catalog", "tracks"))
    manager.handle_output(_output(instance, None, TRACKS.asset_key), _TRACKS)
    assert lake_resource.open().head(table_key("catalog", "tracks")) == before


def test_a_table_of_a_session_is_written_by_its_own_step_only(
    manager: ParquetIOManager, lake_resource: LakeResource, instance: dg.DagsterInstance
) -> None:
    with pytest.raises(dg.Failure, match=r"tables/laps is a session's table, which only its own step writes"):
        manager.handle_output(_output(instance, _R1, LAPS.asset_key), laps_of(_R1, laps=3))
    assert list(lake_resource.open().list()) == []


@pytest.mark.parametrize("asset", [("tables", "my_laps"), ("lake", "laps"), ("races", "laps")])
def test_an_asset_that_is_no_table_of_the_lake_fails_by_name(
    manager: ParquetIOManager, lake_resource: LakeResource, instance: dg.DagsterInstance, asset: tuple[str, str]
) -> None:
    with pytest.raises(dg.Failure, match=f"{'/'.join(asset)} is not a table of this lake") as failed:
        manager.handle_output(_output(instance, None, asset), _TRACKS)
    assert "io_manager_key" in str(failed.value.metadata["remedy"].value)
    with pytest.raises(dg.Failure, match="is not a table of this lake"):
        manager.load_input(_input(instance, (), pa.Table, asset))
    assert list(lake_resource.open().list()) == []


def test_a_value_that_is_not_a_table_fails(manager: ParquetIOManager, instance: dg.DagsterInstance) -> None:
    with pytest.raises(dg.Failure, match="int cannot be stored as Parquet"):
        manager.handle_output(_output(instance, None, TRACKS.asset_key), 3)  # type: ignore[arg-type]


@pytest.mark.req("A-073")
def test_loading_a_missing_table_fails_with_its_name(manager: ParquetIOManager, instance: dg.DagsterInstance) -> None:
    with pytest.raises(dg.Failure, match=r"tracks\.parquet"):
        manager.load_input(_input(instance, (), pa.Table, TRACKS.asset_key))


@pytest.mark.parametrize("partition", ["../evil", "a...b", "/abs", "spa", "spa/R1/x"])
def test_an_invalid_partition_key_reads_nothing(lake_resource: LakeResource, partition: str) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("sessions", [partition])
        context = dg.build_input_context(
            asset_key=dg.AssetKey(LAPS.asset_key),
            partition_key=partition,
            asset_partitions_def=sessions,
            dagster_type=dg.PythonObjectDagsterType(pa.Table),
            instance=instance,
        )
        with pytest.raises(dg.Failure, match=r"not a track slug|not a session key"):
            ParquetIOManager(lake=lake_resource).load_input(context)
    assert list(lake_resource.open().list()) == []


def test_assets_of_another_code_location_load_our_tables(lake_resource: LakeResource) -> None:
    publish_tables(lake_resource.open(), _R1, laps=2)
    publish_tables(lake_resource.open(), _R2, laps=3)
    laps = dg.AssetSpec(LAPS.asset_key, partitions_def=sessions).with_io_manager_key("parquet_io")

    @dg.asset(ins={"laps": dg.AssetIn(LAPS.asset_key)}, partitions_def=sessions)
    def of_one_session(laps: pd.DataFrame) -> dg.MaterializeResult[Any]:
        return dg.MaterializeResult(metadata={"laps": len(laps)})

    @dg.asset(ins={"laps": dg.AssetIn(LAPS.asset_key)})
    def of_all_sessions(laps: ds.Dataset) -> dg.MaterializeResult[Any]:
        return dg.MaterializeResult(metadata={"laps": laps.count_rows()})

    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("sessions", [str(_R1), str(_R2)])
        resources = {"parquet_io": ParquetIOManager(lake=lake_resource)}
        found = {
            asset.key.to_user_string(): dg.materialize(
                [laps, asset], selection=[asset], partition_key=key, instance=instance, resources=resources
            ).asset_materializations_for_node(asset.key.path[-1])
            for asset, key in ((of_one_session, str(_R2)), (of_all_sessions, None))
        }
    counts = {name: events[0].metadata["laps"].value for name, events in found.items()}
    assert counts == {"of_one_session": 3, "of_all_sessions": 5}


def test_the_example_in_the_documentation_runs(tmp_path: Path) -> None:
    """Its settings are the default ones, so the lake is in this test's folder."""
    text = (Path(__file__).parents[2] / "docs" / "dagster.md").read_text(encoding="utf-8")
    example = text.split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(example, "docs/dagster.md", "exec"), names)  # noqa: S102  -- the project's own documentation
    publish_tables(names["resources"]["lake"].open(), _R1, laps=2)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("sessions", [str(_R1)])
        result = dg.materialize(
            [names["laps"], names["long_laps"]],
            selection=[names["long_laps"]],
            partition_key=str(_R1),
            instance=instance,
            resources=names["resources"],
        )
    (event,) = result.asset_materializations_for_node("mine__long_laps")
    assert event.metadata["dagster/partition_row_count"].value == 0
    assert (tmp_path / "lake" / "assets" / "mine" / "long_laps").is_dir()
