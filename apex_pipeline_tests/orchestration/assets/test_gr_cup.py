"""Tests the telemetry asset: three tables of a session, derived from one raw file and marked with its version."""

from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from apex_pipeline.lake.snapshot import INPUTS_VERSION
from apex_pipeline.orchestration.assets.gr_cup import telemetry
from apex_pipeline.orchestration.resources import LakeResource
from apex_pipeline.settings import load_settings
from apex_pipeline.storage.layout import raw_key
from apex_pipeline.tables import FILES, LAPS, TELEMETRY, TELEMETRY_CARS, TELEMETRY_REJECTS
from apex_pipeline_tests.lake.tables import sessions_table
from apex_pipeline_tests.sources.gr_cup.telemetry.readings import CAR, KEY, NAME, Row, csv_bytes, reading

VERSION = "inputs-1"
OTHER_CAR = "GR86-003-3"


def files_table(content: bytes) -> pa.Table:
    row: dict[str, object] = {}
    row |= {"path": NAME, "bytes": len(content), "kind": "telemetry", "track": KEY.track, "session": KEY.session}
    row |= {"rule": "test", "evidence": [], "confidence": 1.0, "status": "ready"}
    return FILES.from_rows([row])


def materialize(folder: Path, content: bytes) -> dict[str, Any]:
    """Put a raw file into a new lake and materialize the asset; return its results by table name."""
    lake = LakeResource.from_settings(load_settings(lake_dir=folder / "lake", state_dir=folder / "state"))
    lake.open().write_bytes(raw_key(NAME), content)
    results = telemetry(
        context=dg.build_asset_context(partition_key=str(KEY)),
        lake=lake,
        files=files_table(content),
        session_list=sessions_table({KEY: VERSION}),
        laps=LAPS.empty(),
    )
    return {result.asset_key.path[-1]: result for result in results}  # type: ignore[union-attr]


def rows() -> list[Row]:
    return [reading(0), reading(1), reading(1, value="N/A"), reading(0, vehicle_id=OTHER_CAR)]


def test_a_session_has_tables_of_samples_cars_and_rejects(tmp_path: Path) -> None:
    results = materialize(tmp_path, csv_bytes(rows()))

    assert set(results) == {TELEMETRY.name, TELEMETRY_CARS.name, TELEMETRY_REJECTS.name}
    cars = results["telemetry_cars"].value
    assert TELEMETRY_CARS.violations(cars) == []
    assert [(row["vehicle_id"], row["readings"]) for row in cars.to_pylist()] == [(CAR, 2), (OTHER_CAR, 1)]
    assert results["telemetry_rejects"].value["reason"].to_pylist() == ["bad_number"]
    assert results["telemetry"].metadata["readings_in"] == len(rows())


def test_an_unknown_channel_is_kept_and_warned_about(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = materialize(tmp_path, csv_bytes([reading(0), reading(0, "tyre_temp", "80")]))

    assert "tyre_temp" in pq.read_schema(results["telemetry"].value.path).names
    warnings = [line for line in capsys.readouterr().err.splitlines() if "WARNING" in line]
    assert len(warnings) == 1
    assert "The channel tyre_temp is not known" in warnings[0]


def test_every_table_carries_the_version_of_its_inputs(tmp_path: Path) -> None:
    results = materialize(tmp_path, csv_bytes(rows()))

    for result in results.values():
        assert result.data_version == dg.DataVersion(VERSION)
    samples = pq.ParquetFile(results["telemetry"].value.path)
    metadata = [
        samples.metadata.metadata,
        *(results[name].value.schema.metadata for name in ("telemetry_cars", "telemetry_rejects")),
    ]
    assert [entries[INPUTS_VERSION.encode()] for entries in metadata] == [VERSION.encode()] * 3


def test_a_file_that_is_not_telemetry_fails_with_its_name_and_leaves_no_temp_file(tmp_path: Path) -> None:
    with pytest.raises(dg.Failure, match=NAME):
        materialize(tmp_path, b"a,b\n1,2\n")

    assert not list((tmp_path / "state" / "scratch").glob("telemetry-*"))
