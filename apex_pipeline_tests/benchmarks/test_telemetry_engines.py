"""Inputs, digests and reference of the telemetry benchmark: errors in them could hide a wrong result."""

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest

Load = Callable[[str], ModuleType]

HEADER = (
    "expire_at,lap,meta_event,meta_session,meta_source,meta_time,original_vehicle_id,outing,telemetry_name,"
    "telemetry_value,timestamp,vehicle_id,vehicle_number"
)


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return lambda name: importlib.import_module(f"telemetry_engines.{name}")


def line(channel: str, value: str, *, lap: int = 1, received_s: int = 5) -> str:
    time = "2025-09-05T00:28:20.593Z"
    received = f"2025-09-06T18:40:0{received_s}.000Z"
    return f",{lap},E,R1,kafka,{received},GR86-002-000,0,{channel},{value},{time},GR86-002-000,0"


def wide(**columns: list[object]) -> pa.Table:
    rows = len(next(iter(columns.values())))
    keys = {"vehicle_id": ["GR86-002-000"] * rows, "car_time": pa.array(range(rows), pa.timestamp("ms", "UTC"))}
    return pa.table({**keys, **{name: pa.array(values, pa.float64()) for name, values in columns.items()}})


def test_the_reference_drops_duplicates_and_numbers_repeats_by_receive_time(load: Load, tmp_path: Path) -> None:
    lines = [
        line("speed", "80", received_s=7),
        line("speed", "90", received_s=6, lap=32768),
        line("speed", "90", received_s=6, lap=32768),
        line("gear", "3", received_s=7, lap=2),
        line("gear", "N/A"),
    ]
    path = tmp_path / "telemetry.csv"
    path.write_text("\n".join([HEADER, *lines]) + "\n", encoding="utf-8")

    table, unreadable = load("slow_reference").reference_table(path)

    rows = {row["repeat"]: row for row in table.to_pylist()}
    assert (rows[0]["speed_kph"], rows[0]["gear"], rows[1]["speed_kph"], rows[1]["gear"]) == (90, 3, 80, None)
    assert (rows[0]["unit_lap"], rows[1]["unit_lap"]) == (2, 1)
    assert rows[1]["received_time_utc"] - rows[0]["received_time_utc"] == 1_000
    assert (len(rows), unreadable) == (2, 1)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(wide(gear=[3, 2, None]), id="two cells swapped"),
        pytest.param(wide(gear=[2, None, 3]), id="a cell moved to another time"),
        pytest.param(wide(gear=[2, 3 + 2**-51, None]), id="a change in the last bit of a cell"),
    ],
)
def test_the_hash_detects_changes_that_counts_and_sums_do_not_show(load: Load, other: pa.Table) -> None:
    digests = load("digests")
    one, two = (digests.digest(table, ["gear"]) for table in (wide(gear=[2, 3, None]), other))

    assert digests.coarse_differences(one, two) == []
    assert digests.columns_with_other_cells(one, two) == ["gear"]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (wide(gear=[2, 3]), "3 rows against 2"),
        (wide(gear=[2, None, None]), "gear: 2 cells against 1"),
        (wide(gear=[2, 4, None]), "gear: sum 5.0 against 6.0"),
    ],
)
def test_differences_in_rows_cells_and_sums_are_reported(load: Load, other: pa.Table, message: str) -> None:
    digests = load("digests")
    one, two = (digests.digest(table, ["gear"]) for table in (wide(gear=[2, 3, None]), other))

    assert digests.coarse_differences(one, two) == [message]


def test_the_digest_does_not_depend_on_the_order_of_rows(load: Load) -> None:
    table = wide(gear=[2, 3, None], speed_kph=[None, 80.5, 81])
    digest = load("digests").digest

    assert digest(table.take([2, 0, 1]), ["gear", "speed_kph"]) == digest(table, ["gear", "speed_kph"])


def test_repeats_are_reduced_to_the_largest_value_of_each_time(load: Load) -> None:
    once = wide(gear=[2, 3])
    twice = pa.concat_tables([once, wide(gear=[1, None])])

    assert load("digests").reduced(twice, ["gear"]).select(once.column_names).equals(once)


def test_a_generated_file_has_the_size_and_the_defects_of_real_files(load: Load, tmp_path: Path) -> None:
    path, second_path = tmp_path / "one.csv", tmp_path / "two.csv"
    for output in (path, second_path):
        load("inputs").write_input(output, 2, 7, is_shuffled=False)

    readings = pa_csv.read_csv(path).drop_columns(["expire_at"]).to_pandas()
    frame_and_channel = ["vehicle_id", "timestamp", "telemetry_name"]
    distinct = readings.drop_duplicates()
    assert path.read_bytes() == second_path.read_bytes()
    assert path.stat().st_size == pytest.approx(2e6, rel=0.03)
    assert list(readings["vehicle_id"].unique()) == sorted(set(readings["vehicle_id"]))
    assert len(set(readings["vehicle_id"])) == 20
    assert 1 - len(distinct) / len(readings) == pytest.approx(0.008, abs=0.004)
    assert distinct.duplicated(frame_and_channel).mean() == pytest.approx(0.01, abs=0.004)
    assert np.count_nonzero(readings["lap"] == 32768) > 0


def test_a_shuffled_file_holds_the_same_lines_in_a_different_order(load: Load, tmp_path: Path) -> None:
    published, shuffled = tmp_path / "published.csv", tmp_path / "shuffled.csv"
    load("inputs").write_input(published, 0.5, 7, is_shuffled=False)
    load("inputs").write_input(shuffled, 0.5, 7, is_shuffled=True)

    one, other = (path.read_text(encoding="utf-8").splitlines() for path in (published, shuffled))
    assert one != other
    assert (one[0], sorted(one)) == (other[0], sorted(other))
