"""Compares conversions of real telemetry with a simple computation in pandas that shares no code with them."""

import csv
import random
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest

from apex_pipeline.sources.gr_cup.telemetry.channels import PUBLISHED_NAMES
from apex_pipeline.sources.gr_cup.telemetry.crossings import TelemetryCrossing, find_telemetry_crossings
from apex_pipeline.sources.workspace import Workspace
from apex_pipeline_tests.sources.gr_cup.telemetry.readings import Converted, convert, telemetry_file, write_file

FILES = (
    "grcup/barber/R1_barber_telemetry_data.csv",
    "grcup/barber/R2_barber_telemetry_data.csv",
    "grcup_rebuilt/COTA/Race 1/R1_cota_telemetry_data.csv",
    "grcup_rebuilt/COTA/Race 2/R2_cota_telemetry_data.csv",
    "grcup_rebuilt/barber/R1_barber_telemetry_data.csv",
    "grcup_rebuilt/barber/R2_barber_telemetry_data.csv",
    "grcup_rebuilt/road-america/Road America/Race 1/R1_road_america_telemetry_data.csv",
    "grcup_rebuilt/sebring/Sebring/Race 1/sebring_telemetry_R1.csv",
    "grcup_rebuilt/virginia-international-raceway/VIR/Race 1/R1_vir_telemetry_data.csv",
    "grcup_rebuilt/virginia-international-raceway/VIR/Race 2/R2_vir_telemetry_data.csv",
)
BARBER = "grcup_rebuilt/barber/R1_barber_telemetry_data.csv"
FROZEN = "GR86-013-80"
LAP_S = 97.0
EXPECTED_CROSSINGS = {"R1": {(FROZEN, "gps"), ("GR86-049-88", "gps")}, "R2": {("GR86-022-13", "distance")}}


def convert_real(folder: Path, path: Path) -> Converted:
    return convert(folder, telemetry_file(path, "R2" if "R2" in path.name else "R1"))


@pytest.mark.parametrize("name", FILES)
def test_every_reading_is_a_cell_or_an_exact_duplicate(tmp_path: Path, real_data: Path, name: str) -> None:
    path = real_data / name
    with path.open(newline="") as stream:
        lines = sum(1 for _ in csv.reader(stream)) - 1
    raw = pd.read_csv(path, dtype={"vehicle_id": str, "original_vehicle_id": str})
    distinct = raw.drop_duplicates(["vehicle_id", "lap", "timestamp", "meta_time", "telemetry_name", "telemetry_value"])

    converted = convert_real(tmp_path, path)

    counts = converted.report.counts
    assert counts.readings_in == lines
    assert counts.exact_duplicates == lines - len(distinct)
    assert counts.cells_out == len(distinct)
    sums = distinct.groupby(["vehicle_id", "telemetry_name"])["telemetry_value"].agg(["sum", "count"])
    wide = converted.table.to_pandas()
    for expected in sums.reset_index().to_dict("records"):
        column = wide.loc[
            wide["vehicle_id"] == expected["vehicle_id"], PUBLISHED_NAMES[expected["telemetry_name"].lower()]
        ]
        assert column.count() == expected["count"], expected
        assert column.sum() == pytest.approx(expected["sum"], rel=1e-12), expected


def test_the_order_of_the_lines_does_not_matter(tmp_path: Path, real_data: Path) -> None:
    header, *lines = (real_data / BARBER).read_bytes().splitlines(keepends=True)
    random.Random(7).shuffle(lines)  # noqa: S311  -- the same order every time

    shuffled = convert(tmp_path, write_file(tmp_path, header + b"".join(lines))).table

    assert shuffled.equals(convert_real(tmp_path, real_data / BARBER).table)


def test_a_barber_car_with_a_frozen_clock_gets_the_receive_time(tmp_path: Path, real_data: Path) -> None:
    converted = convert_real(tmp_path, real_data / BARBER)

    assert [clock.vehicle_id for clock in converted.report.clocks if clock.is_frozen] == [FROZEN]
    car = converted.table.to_pandas().query("vehicle_id == @FROZEN")
    assert len(set(car["car_time"])) == 1
    assert (car["sample_time_utc"] == car["received_time_utc"]).all()


@pytest.mark.parametrize("name", FILES)
def test_no_row_of_a_running_clock_is_received_before_it_was_sampled(
    tmp_path: Path, real_data: Path, name: str
) -> None:
    converted = convert_real(tmp_path, real_data / name)
    running = [clock.vehicle_id for clock in converted.report.clocks if not clock.is_frozen]
    rows = converted.table.to_pandas()
    wide = rows[rows["vehicle_id"].isin(running)]

    late_s = (wide["received_time_utc"] - wide["sample_time_utc"]).dt.total_seconds()
    early = (late_s < -0.1).groupby(wide["vehicle_id"].astype(str)).mean()
    assert (early <= 0.01).all()
    assert sum(car.unexplained_rows for car in converted.report.cars) == 0


@pytest.mark.parametrize("name", FILES)
def test_sample_times_of_a_car_never_go_back_and_original_times_are_kept(
    tmp_path: Path, real_data: Path, name: str
) -> None:
    converted = convert_real(tmp_path, real_data / name)
    raw = pd.read_csv(real_data / name, dtype={"vehicle_id": str}, parse_dates=["timestamp", "meta_time"])

    wide = converted.table.to_pandas()

    for car, rows in wide.groupby("vehicle_id", observed=True):
        assert rows["sample_time_utc"].is_monotonic_increasing, car
        sent = raw[raw["vehicle_id"] == car]
        assert set(rows["car_time"]) == set(sent["timestamp"])
        assert set(rows["received_time_utc"]) <= set(sent["meta_time"])
    assert [car.backward_steps or 0 for car in converted.report.cars] == [0] * converted.report.counts.cars


def crossings_in(folder: Path, path: Path, session: str) -> list[TelemetryCrossing]:
    return find_telemetry_crossings([telemetry_file(path, session)], Workspace(500_000_000, folder))


def triggers_of(real_data: Path, session: str, car: str) -> list[float]:
    raw = pd.read_csv(real_data / "grcup" / "barber" / f"{session}_barber_lap_end.csv", parse_dates=["timestamp"])
    return [at.timestamp() for at in raw.loc[raw["vehicle_id"] == car, "timestamp"]]


@pytest.mark.parametrize("session", ["R1", "R2"])
def test_crossings_follow_the_triggers_of_the_car_by_the_message_delay(
    tmp_path: Path, real_data: Path, session: str
) -> None:
    path = real_data / "grcup_rebuilt" / "barber" / f"{session}_barber_telemetry_data.csv"

    found = crossings_in(tmp_path, path, session)

    assert {(crossing.vehicle_id, crossing.source) for crossing in found} == EXPECTED_CROSSINGS[session]
    for crossing in found:
        at = crossing.utc_ms / 1000
        late_s = min((at - trigger for trigger in triggers_of(real_data, session, crossing.vehicle_id)), key=abs)
        # Without laps, a clock is late by the shortest delay of a message; with a frozen one, each message is late by
        # its own delivery time.
        # GPS may show the line a moment early. The one crossing far from any trigger is that of car 88 in the pit lane.
        max_late_s = 10.0 if crossing.vehicle_id == FROZEN else 0.3
        assert -0.1 < late_s < max_late_s or late_s > LAP_S, crossing


def test_lap_times_between_crossings_are_the_official_ones(tmp_path: Path, real_data: Path) -> None:
    found = crossings_in(tmp_path, real_data / BARBER, "R1")

    car_ms = [crossing.car_ms for crossing in found if crossing.vehicle_id == "GR86-049-88"]
    laps = [(end - start) / 1000 for start, end in pairwise(car_ms) if start and end]
    # Laps 12 and 13 of car 88. The second ends at 40 km/h in the pit lane, where its device sent no trigger.
    assert laps == [pytest.approx(99.941, abs=0.05), pytest.approx(341.969, abs=0.5)]


@pytest.mark.parametrize("session", ["R1", "R2"])
def test_a_slice_in_which_no_car_crosses_the_line_has_no_crossings(
    tmp_path: Path, real_data: Path, session: str
) -> None:
    assert not crossings_in(tmp_path, real_data / f"grcup/barber/{session}_barber_telemetry_data.csv", session)
