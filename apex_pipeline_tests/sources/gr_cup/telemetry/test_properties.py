"""Properties of any conversion: no reading is lost or invented, and the order of the lines does not matter."""

import tempfile
from pathlib import Path

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from apex_pipeline_tests.sources.gr_cup.telemetry.readings import (
    COLUMNS,
    Converted,
    Row,
    car_moment,
    convert,
    csv_bytes,
    moment,
    reading,
    write_file,
)

# Few different values, so that duplicates and repeats are common; each list has valid and invalid ones.
TIMES = ("never", "", *(car_moment(second) for second in (0, 0.043, 60)))
READINGS = st.builds(
    lambda second, **columns: reading(second) | columns,
    st.sampled_from([0, 0.5, 30]),
    telemetry_name=st.sampled_from(["speed", "Speed", "gear", "new", "new!", ""]),
    telemetry_value=st.sampled_from(["1", "1.0", "-0.5", "7e0", "N/A", "", "nan", "inf"]),
    timestamp=st.sampled_from(TIMES),
    lap=st.sampled_from(["0", "3", "32768", "x"]),
    vehicle_id=st.sampled_from(["GR86-002-2", "GR86-013-80", ""]),
    meta_session=st.sampled_from(["R1", "R2"]),
)
# Lines as a file may hold them: complete readings and damaged ones.
LINES = st.one_of(
    READINGS.map(lambda row: csv_bytes([row]).splitlines()[1]),
    st.sampled_from([b"", b" ", b"cut,off", b'"open', b"NUL\0", b"a\rb", b"," * (len(COLUMNS) + 1)]),
)


def convert_lines(lines: list[bytes]) -> tuple[Converted, pa.Table]:
    with tempfile.TemporaryDirectory() as folder:
        header = csv_bytes([]).rstrip(b"\n")
        converted = convert(Path(folder), write_file(Path(folder), b"\n".join([header, *lines])))
        return converted, converted.table


@settings(max_examples=40)
@given(st.lists(LINES, max_size=25))
def test_every_line_is_a_cell_a_duplicate_or_a_reject_with_its_line_number(lines: list[bytes]) -> None:
    converted, table = convert_lines(lines)

    counts = converted.report.counts
    assert counts.readings_in == sum(1 for line in lines if line)
    assert counts.cells_out + counts.exact_duplicates + counts.rejected == counts.readings_in
    first_channel = table.schema.get_field_index("unit_lap") + 1
    assert counts.cells_out == sum(len(column) - column.null_count for column in table.columns[first_channel:])
    numbers = [line for line, _ in converted.samples]
    assert len(numbers) == len(set(numbers)) == counts.rejected
    assert all(lines[number - 2] for number in numbers if number)


@settings(max_examples=25)
@given(st.lists(READINGS, max_size=25), st.randoms(use_true_random=False))
def test_the_order_of_the_lines_and_a_second_copy_do_not_change_the_rows(rows: list[Row], shuffler: object) -> None:
    lines = csv_bytes(rows).splitlines()[1:]
    shuffled = [*lines, *lines]
    shuffler.shuffle(shuffled)  # type: ignore[attr-defined]  # a Random

    converted, table = convert_lines(lines)
    twice, table_of_shuffled = convert_lines(shuffled)

    assert table_of_shuffled.equals(table)
    assert twice.report.counts.cells_out == converted.report.counts.cells_out
    assert twice.report.counts.rejected == 2 * converted.report.counts.rejected


def test_readings_with_a_frozen_clock_are_ordered_by_receive_time() -> None:
    rows = [reading(0, meta_time=moment(second), timestamp=car_moment(0)) for second in range(12)]

    _, table = convert_lines(csv_bytes(rows).splitlines()[1:])

    assert [str(time)[11:19] for time in table["sample_time_utc"].to_pylist()] == [
        moment(second)[11:19] for second in range(12)
    ]
