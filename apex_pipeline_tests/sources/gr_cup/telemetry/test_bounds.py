"""Measurements that no car reaches become null, are counted as rejected and reported."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from apex_pipeline_tests.sources.gr_cup.telemetry.readings import convert, csv_bytes, reading, write_file


@pytest.mark.parametrize(
    ("channel", "column", "good", "bad"),
    [
        ("speed", "speed_kph", "215.5", "6553.5"),
        ("nmot", "engine_rpm", "7373", "65535"),
        ("pbrake_f", "brake_front_bar", "152", "-999"),
        ("accx_can", "accel_long_g", "-1.68", "327.67"),
        ("Steering_Angle", "steering_deg", "-304", "3276.7"),
        ("VBOX_Lat_Min", "latitude_deg", "33.5", "2011.8"),
        ("VBOX_Long_Minutes", "longitude_deg", "-86.6", "999"),
    ],
)
def test_a_reading_beyond_its_bounds_is_null_and_told(
    tmp_path: Path, channel: str, column: str, good: str, bad: str
) -> None:
    rows = [reading(0, channel, good), reading(1, channel, bad), reading(2, channel, bad)]
    converted = convert(tmp_path, write_file(tmp_path, csv_bytes(rows)))
    assert pq.read_table(converted.path)[column].to_pylist() == [float(good), None, None]
    assert converted.report.rejects_by_reason == {"out_of_range": 2}
    assert converted.report.counts.reconciles
    (told,) = [reject for reject in converted.report.rejects if reject.reason == "out_of_range"]
    assert told.detail.startswith(f"{column}: 2 readings, the first {float(bad):g}, are not within")
