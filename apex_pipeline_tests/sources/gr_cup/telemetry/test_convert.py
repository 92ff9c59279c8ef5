"""The rules of the table ``telemetry``: columns, duplicates, repeats, clocks, laps, and the written file."""

import errno
import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from apex_pipeline.errors import ReconciliationError, StorageFullError
from apex_pipeline.sources.gr_cup.telemetry import convert as convert_module
from apex_pipeline.sources.gr_cup.telemetry.chunks import TelemetryFile
from apex_pipeline.sources.gr_cup.telemetry.pivot import Pivoter
from apex_pipeline.sources.gr_cup.telemetry.report import CarClock
from apex_pipeline.sources.gr_cup.telemetry.spill import Frames, ReadingSpill
from apex_pipeline.sources.workspace import Workspace
from apex_pipeline.tables import TELEMETRY, TELEMETRY_COUNTS
from apex_pipeline_tests.sources.gr_cup.telemetry.readings import (
    CAR,
    COLUMNS,
    KEY,
    LISTED_COLUMNS,
    Row,
    car_moment,
    convert,
    convert_rows,
    csv_bytes,
    laps_table,
    listed,
    moment,
    reading,
    write_file,
)


def field(rows: list[dict[str, object]], name: str) -> list[object]:
    return [row.get(name) for row in rows]


def clock_time(row: dict[str, object], name: str = "sample_time_utc") -> str:
    return row[name].strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"  # type: ignore[attr-defined]  # a datetime


def listed_file(folder: Path, *rows: Row) -> TelemetryFile:
    return write_file(folder, csv_bytes(rows, LISTED_COLUMNS))


class TestColumns:
    def test_readings_of_one_sample_share_a_row_and_absent_channels_are_null(self, tmp_path: Path) -> None:
        converted = convert_rows(tmp_path, [reading(0), reading(0, "gear", "4"), reading(1, "nmot", "6000")])

        assert field(converted.rows, "speed_kph") == [100.5, None]
        assert field(converted.rows, "gear") == [4.0, None]
        assert field(converted.rows, "engine_rpm") == [None, 6000.0]

    @pytest.mark.parametrize("delimiter", [",", ";", "\t"])
    def test_columns_are_found_by_name_in_any_order(self, tmp_path: Path, delimiter: str) -> None:
        rows = [reading(0), reading(1)]
        shuffled = random.Random(3).sample(COLUMNS, len(COLUMNS))  # noqa: S311  -- the same order every time
        plain = convert_rows(tmp_path, rows).table

        assert convert(tmp_path, write_file(tmp_path, csv_bytes(rows, shuffled, delimiter))).table.equals(plain)

    def test_an_unknown_column_changes_nothing(self, tmp_path: Path) -> None:
        rows = [reading(0) | {"weather": "N/A"}]
        plain = convert_rows(tmp_path, rows).table

        assert convert(tmp_path, write_file(tmp_path, csv_bytes(rows, ("weather", *COLUMNS)))).table.equals(plain)

    def test_a_byte_order_mark_and_windows_line_endings_change_nothing(self, tmp_path: Path) -> None:
        rows = [reading(0), reading(1)]
        plain = convert_rows(tmp_path, rows).table
        content = b"\xef\xbb\xbf" + csv_bytes(rows, end="\r\n")

        assert convert(tmp_path, write_file(tmp_path, content)).table.equals(plain)

    def test_an_unknown_channel_keeps_its_name_and_is_reported(self, tmp_path: Path) -> None:
        converted = convert_rows(tmp_path, [reading(0), reading(0, "Oil Temp [C]", "97")])

        assert converted.rows[0]["Oil_Temp_C"] == 97.0
        assert converted.report.unknown_channels == ("Oil Temp [C]",)

    def test_a_channel_that_may_name_a_person_is_published_without_its_name(self, tmp_path: Path) -> None:
        converted = convert_rows(tmp_path, [reading(0), reading(0, "Quintessa Zebrowski", "7")])

        # The first six digits of the SHA-256 of the name.
        assert converted.rows[0]["unnamed_d36a73"] == 7.0
        told = f"{converted.report.facts()} {converted.report.warnings()} {converted.table.schema}"
        assert "Zebrowski" not in told
        assert "of 19 characters, not shown as they may name a person" in told
        assert "in the column unnamed_d36a73." in told

    @pytest.mark.parametrize("channel", ["repeat", "Unit_Lap", "vehicle_id", "car_ms", "value", 'a"b', "a'b", "!!"])
    def test_a_channel_with_a_conflicting_name_does_not_affect_other_columns(
        self, tmp_path: Path, channel: str
    ) -> None:
        converted = convert_rows(tmp_path, [reading(0), reading(0, channel, "7")])

        (row,) = converted.rows
        assert row["vehicle_id"] == CAR
        assert (row["repeat"], row["unit_lap"], row["speed_kph"]) == (0, 3, 100.5)
        assert 7.0 in row.values()


class TestRepeats:
    def test_an_exact_duplicate_is_dropped_and_counted(self, tmp_path: Path) -> None:
        converted = convert_rows(tmp_path, [reading(0), reading(0), reading(0)])

        counts = converted.report.counts
        assert (counts.cells_out, counts.exact_duplicates, counts.rows_out) == (1, 2, 1)

    def test_readings_with_one_car_time_are_kept_as_repeats_in_order_received(self, tmp_path: Path) -> None:
        rows = [
            reading(0, value="1", meta_time=moment(2)),
            reading(0, value="3", meta_time=moment(1)),
            reading(0, value="2", meta_time=moment(1)),
        ]

        converted = convert_rows(tmp_path, rows)

        assert field(converted.rows, "speed_kph") == [2.0, 3.0, 1.0]
        assert field(converted.rows, "repeat") == [0, 1, 2]
        assert converted.report.counts.repeat_rows == 2

    def test_the_receive_time_of_a_row_is_that_of_its_earliest_reading(self, tmp_path: Path) -> None:
        converted = convert_rows(
            tmp_path, [reading(0, meta_time=moment(5)), reading(0, "gear", "2", meta_time=moment(4))]
        )

        assert clock_time(converted.rows[0], "received_time_utc") == moment(4)

    def test_two_files_of_a_session_are_merged_and_their_overlap_is_dropped(self, tmp_path: Path) -> None:
        first = write_file(tmp_path, csv_bytes([reading(0), reading(1)]), "first.csv")
        second = write_file(tmp_path, csv_bytes([reading(1), reading(2), reading(3, value="N/A")]), "second.csv")

        converted = convert(tmp_path, first, second)

        assert (converted.report.counts.readings_in, converted.report.counts.cells_out) == (5, 3)
        assert converted.report.counts.exact_duplicates == 1
        assert [(reject.file, reject.line) for reject in converted.report.rejects] == [("second.csv", 4)]
        assert convert(tmp_path, second, first).table.equals(converted.table)


def offsets_s(clock: CarClock) -> list[float]:
    """Return the offset of each piece of a clock, in seconds."""
    return [piece.offset_ms / 1000 for piece in clock.pieces]


class TestClocks:
    def test_the_offset_is_the_lower_edge_of_receive_time_minus_car_time(self, tmp_path: Path) -> None:
        late = [0.9, 0.1, 0.2, 0.9, 40.0, 0.3]
        rows = [reading(second, meta_time=moment(second + late[second])) for second in range(6)]

        converted = convert_rows(tmp_path, rows)

        (clock,) = converted.report.clocks
        assert offsets_s(clock) == [pytest.approx(2 * 86_400 + 3 + 0.1)]
        assert not clock.is_frozen
        assert [clock_time(row) for row in converted.rows] == [moment(second + 0.1) for second in range(6)]
        assert [clock_time(row, "car_time") for row in converted.rows] == [car_moment(second) for second in range(6)]
        assert "time_flag" not in converted.rows[4]

    def test_one_message_in_two_hundred_received_too_early_does_not_move_the_offset(self, tmp_path: Path) -> None:
        rows = [reading(at / 10, meta_time=moment(at / 10 + (-1 if at == 7 else 1))) for at in range(201)]

        assert offsets_s(convert_rows(tmp_path, rows).report.clocks[0]) == [2 * 86_400 + 3 + 1]

    def test_each_car_has_its_own_clock(self, tmp_path: Path) -> None:
        rows = [reading(0), reading(0, vehicle_id="GR86-013-80", timestamp=moment(-60))]

        converted = convert_rows(tmp_path, rows)

        assert {clock.vehicle_id: offsets_s(clock) for clock in converted.report.clocks} == {
            CAR: [2 * 86_400 + 3],
            "GR86-013-80": [60.0],
        }
        assert {clock_time(row) for row in converted.rows} == {moment(0)}

    @pytest.mark.parametrize("stray", [0, 1])
    def test_a_frozen_clock_is_replaced_by_the_receive_time(self, tmp_path: Path, stray: int) -> None:
        frozen = [reading(second, timestamp=car_moment(0)) for second in range(40)]
        strays = [reading(40 + second, timestamp=car_moment(-9_999)) for second in range(stray)]

        converted = convert_rows(tmp_path, [*frozen, *strays])

        (clock,) = converted.report.clocks
        assert clock.is_frozen
        assert [clock_time(row) for row in converted.rows] == [moment(second) for second in range(40 + stray)]
        assert field(converted.rows, "repeat") == [0] * (40 + stray)

    def test_one_message_does_not_show_a_frozen_clock(self, tmp_path: Path) -> None:
        converted = convert_rows(tmp_path, [reading(0), reading(0, "gear", "2")])

        assert not converted.report.clocks[0].is_frozen


class TestLaps:
    def test_laps_are_found_by_time_and_the_end_belongs_to_the_next_lap(self, tmp_path: Path) -> None:
        laps = laps_table((CAR, 1, 10, 20), (CAR, 2, 20, 30), ("GR86-999-9", 7, 0, 99))
        rows = [reading(second) for second in (9, 10, 19.999, 20, 29.999, 30)]

        assert field(convert_rows(tmp_path, rows, laps).rows, "lap_number") == [None, 1, 1, 2, 2, None]

    @pytest.mark.parametrize("laps", [None, laps_table(), laps_table(("GR86-999-9", 1, 0, 9))])
    def test_the_lap_is_null_if_the_car_has_no_laps(self, tmp_path: Path, laps: pa.Table | None) -> None:
        assert field(convert_rows(tmp_path, [reading(0)], laps).rows, "lap_number") == [None]

    @pytest.mark.parametrize(
        ("lap", "kept", "unreadable"),
        [("0", 0, 0), ("32768", None, 0), ("-1", None, 1), ("", None, 1), ("x", None, 1), ("99999999999", None, 1)],
    )
    def test_a_lost_or_unreadable_device_lap_is_null_and_the_reading_is_kept(
        self, tmp_path: Path, lap: str, kept: int | None, unreadable: int
    ) -> None:
        converted = convert_rows(tmp_path, [reading(0, lap=lap)])

        assert field(converted.rows, "unit_lap") == [kept]
        assert converted.report.unreadable_laps == unreadable
        assert converted.report.counts.cells_out == 1

    def test_a_row_has_the_highest_lap_of_its_readings(self, tmp_path: Path) -> None:
        laps = [("speed", "32768"), ("gear", "4"), ("nmot", "5"), ("ath", "x")]

        converted = convert_rows(tmp_path, [reading(0, channel, lap=lap) for channel, lap in laps])

        assert field(converted.rows, "unit_lap") == [5]


class TestLists:
    def test_each_element_of_a_list_is_a_reading(self, tmp_path: Path) -> None:
        first = '[{"name": "speed", "value": 90.5}, {"name": "gear", "value": "3"}]'

        converted = convert(
            tmp_path, listed_file(tmp_path, listed(0, first), listed(1, '[{"name":"speed","value":91}]'))
        )

        assert field(converted.rows, "speed_kph") == [90.5, 91.0]
        assert field(converted.rows, "gear") == [3.0, None]
        assert converted.report.counts.readings_in == 3

    @pytest.mark.parametrize(
        ("value", "reasons"),
        [
            ("", ["bad_list"]),
            ("[]", ["bad_list"]),
            ("not json", ["bad_list"]),
            ('{"name": "speed", "value": 1}', ["bad_list"]),
            ('[{"value": 1}]', ["no_channel"]),
            ("[1, null]", ["no_channel", "no_channel"]),
            ('[{"name": "speed"}, {"name": "speed", "value": "x"}]', ["bad_number", "bad_number"]),
            ('[{"name": "speed", "value": NaN}]', ["not_a_number"]),
        ],
    )
    def test_elements_that_are_not_readings_are_rejected_and_others_kept(
        self, tmp_path: Path, value: str, reasons: list[str]
    ) -> None:
        good = listed(1, '[{"name": "speed", "value": 91}]')

        converted = convert(tmp_path, listed_file(tmp_path, listed(0, value), good))

        assert converted.samples == [(2, reason) for reason in reasons]
        assert field(converted.rows, "speed_kph") == [91.0]
        assert converted.report.counts.readings_in == 1 + len(reasons)

    @pytest.mark.parametrize(("name", "source"), [("x{y}", "kafka"), ("speed", "{kafka}"), ("a, b", "kafka")])
    def test_braces_and_commas_in_names_are_not_counted_as_readings(
        self, tmp_path: Path, name: str, source: str
    ) -> None:
        rows = [listed(at, f'[{{"name": "{name}", "value": {at}}}]', meta_source=source) for at in range(3)]

        converted = convert(tmp_path, listed_file(tmp_path, *rows))

        assert converted.report.counts.readings_in == converted.report.counts.cells_out == 3

    def test_lists_of_another_race_are_rejected_reading_by_reading(self, tmp_path: Path) -> None:
        two = '[{"name": "speed", "value": 1}, {"name": "gear", "value": 2}]'

        converted = convert(tmp_path, listed_file(tmp_path, listed(0, two), listed(1, two, meta_session="R2")))

        assert converted.samples == [(3, "wrong_session")] * 2
        assert converted.report.counts.cells_out == 2

    def test_readings_in_lists_are_counted_independently_of_the_parser(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lose_readings(monkeypatch, lambda frames: frames.value != 92)
        rows = [listed(second, f'[{{"name": "speed", "value": {91 + second}}}]') for second in range(2)]

        with pytest.raises(ReconciliationError, match="2 readings went in, 1 cells"):
            convert(tmp_path, listed_file(tmp_path, *rows))


class TestOutput:
    def test_each_car_is_a_row_group_and_rows_are_sorted(self, tmp_path: Path) -> None:
        cars = ("GR86-010-7", CAR, "GR86-004-78")
        converted = convert_rows(tmp_path, [reading(second, vehicle_id=car) for second in (2, 0, 1) for car in cars])

        file = pq.ParquetFile(converted.path)
        groups = [file.read_row_group(index) for index in range(file.num_row_groups)]
        assert [set(group["vehicle_id"].to_pylist()) for group in groups] == [{CAR}, {cars[2]}, {cars[0]}]
        order = [(row["vehicle_id"], row["sample_time_utc"]) for row in converted.rows]
        assert order == sorted(order)

    def test_the_file_has_the_published_schema_and_its_counts(self, tmp_path: Path) -> None:
        converted = convert(tmp_path, write_file(tmp_path, csv_bytes([reading(0)])), metadata={"owner": "test"})

        assert TELEMETRY.violations(converted.table) == []
        assert converted.table.schema.equals(TELEMETRY.schema)
        assert converted.table.schema.field("speed_kph").metadata[b"unit"] == b"km/h"
        metadata = pq.read_metadata(converted.path).metadata
        assert metadata[b"owner"] == b"test"
        assert json.loads(metadata[TELEMETRY_COUNTS.encode()])["cells_out"] == 1

    def test_columns_are_encoded_as_configured(self, tmp_path: Path) -> None:
        channels = ("VBOX_Lat_Min", "nmot", "speed", "gear")
        converted = convert_rows(tmp_path, [reading(0, channel, "33.5") for channel in channels])

        group = pq.read_metadata(converted.path).row_group(0)
        columns = {group.column(index).path_in_schema: group.column(index) for index in range(group.num_columns)}
        assert "DELTA_BINARY_PACKED" in columns["sample_time_utc"].encodings
        assert "BYTE_STREAM_SPLIT" in columns["latitude_deg"].encodings
        assert "BYTE_STREAM_SPLIT" in columns["engine_rpm"].encodings
        assert not columns["speed_kph"].has_dictionary_page
        assert columns["gear"].has_dictionary_page
        assert {column.compression for column in columns.values()} == {"ZSTD"}

    def test_sort_order_and_statistics_are_written_for_readers(self, tmp_path: Path) -> None:
        converted = convert_rows(tmp_path, [reading(0), reading(9, value="-3")])

        group = pq.read_metadata(converted.path).row_group(0)
        names = [group.column(at.column_index).path_in_schema for at in group.sorting_columns]
        assert names == ["vehicle_id", "sample_time_utc", "repeat"]
        speed = group.column(converted.table.schema.get_field_index("speed_kph")).statistics
        assert (speed.min, speed.max, speed.null_count) == (-3.0, 100.5, 0)

    @pytest.mark.parametrize("content", [None, csv_bytes([]), csv_bytes([]).rstrip()])
    def test_no_file_and_no_rows_give_an_empty_table(self, tmp_path: Path, content: bytes | None) -> None:
        converted = convert(tmp_path, *([] if content is None else [write_file(tmp_path, content)]))

        assert converted.table.num_rows == 0
        assert converted.table.schema.equals(TELEMETRY.schema)
        assert converted.report.counts.readings_in == 0

    def test_progress_reports_every_byte_once(self, tmp_path: Path) -> None:
        content = csv_bytes([reading(second) for second in range(50)])
        reported: list[int] = []
        workspace = Workspace(1_000_000_000, tmp_path / "scratch", reported.append)

        files = [write_file(tmp_path, content)]
        convert_module.convert_telemetry(KEY, files, None, tmp_path / "out.parquet", workspace)

        assert sum(reported) == len(content)

    def test_wildcards_in_a_file_name_are_taken_literally(self, tmp_path: Path) -> None:
        write_file(tmp_path, csv_bytes([reading(5)]), "a1.csv")

        converted = convert(tmp_path, write_file(tmp_path, csv_bytes([reading(0)]), "a[1]*?'.csv"))

        assert converted.report.counts.readings_in == 1


class TestFailure:
    @pytest.mark.parametrize("step", [(ReadingSpill, "add"), (convert_module, "measure_clock"), (Pivoter, "pivot")])
    @pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), MemoryError()])
    def test_a_full_disk_is_reported_and_leaves_the_previous_file_unchanged(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: tuple[object, str], error: BaseException
    ) -> None:
        before = convert_rows(tmp_path, [reading(0)]).path.read_bytes()

        def fail(*_: object) -> None:
            raise error

        monkeypatch.setattr(*step, fail)
        with pytest.raises(StorageFullError, match=r"APEX_MEMORY_LIMIT.*APEX_STATE_DIR"):
            convert_rows(tmp_path, [reading(1)])

        assert (tmp_path / "out.parquet").read_bytes() == before
        assert list((tmp_path / "scratch").iterdir()) == []
        assert list(tmp_path.glob("*.partial")) == []

    def test_other_os_errors_are_not_reported_as_a_full_disk(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(ReadingSpill, "add", fail)
        with pytest.raises(OSError, match="Input/output error"):
            convert_rows(tmp_path, [reading(0)])

    def test_an_os_error_while_reading_is_not_reported_as_a_malformed_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object, **__: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

        file = write_file(tmp_path, csv_bytes([reading(0)]))
        monkeypatch.setattr(Path, "open", fail)
        with pytest.raises(PermissionError):
            convert(tmp_path, file)

    def test_counts_that_do_not_add_up_are_never_published(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lose_readings(monkeypatch, lambda frames: frames.value != 1)
        with pytest.raises(ReconciliationError, match="2 readings went in, 1 cells"):
            convert_rows(tmp_path, [reading(0), reading(0.5, "gear", "1")])
        assert list(tmp_path.glob("out.parquet*")) == []


def lose_readings(monkeypatch: pytest.MonkeyPatch, kept: Callable[[Frames], npt.NDArray[np.bool_]]) -> None:
    """Drop frames before they are stored; each frame must hold one reading."""
    add = ReadingSpill.add
    monkeypatch.setattr(ReadingSpill, "add", lambda self, car, frames: add(self, car, frames.filter(kept(frames))))


def race(cars: int, seconds: float) -> list[Row]:
    """Return shuffled readings of several cars: three channels every 40 ms, with bursts and duplicates."""
    times = np.arange(0, seconds, 0.04)
    rows = [
        reading(at, channel, str(round(100 + at * factor, 3)), vehicle_id=f"GR86-00{car}-{car}")
        for car in range(cars)
        for at in times
        for channel, factor in (("speed", 1.0), ("gear", 0.1), ("accx_can", -0.01))
    ]
    burst = [row | {"telemetry_value": "7", "meta_time": moment(seconds)} for row in rows[::50]]
    mixed = [*rows, *burst, *rows[::70]]
    random.Random(3).shuffle(mixed)  # noqa: S311  -- a shuffle, not a secret
    return mixed


class TestMemory:
    @pytest.mark.req("A-123")
    def test_splitting_a_large_car_into_row_groups_does_not_change_its_rows(self, tmp_path: Path) -> None:
        file = write_file(tmp_path, csv_bytes(race(2, 20)))

        in_one_part = convert(tmp_path, file)
        expected, facts = in_one_part.table, in_one_part.report.cars
        in_parts = convert(tmp_path, file, memory_limit=300_000)

        assert pq.ParquetFile(in_parts.path).num_row_groups > 2 * 3
        assert in_parts.table.equals(expected)
        assert in_parts.report.cars == facts
        assert in_parts.report.counts == in_one_part.report.counts

    def test_a_car_with_a_frozen_clock_is_split_by_receive_time(self, tmp_path: Path) -> None:
        rows = [row | {"timestamp": car_moment(0)} for row in race(1, 20)]
        file = write_file(tmp_path, csv_bytes(rows))

        expected = convert(tmp_path, file).table
        in_parts = convert(tmp_path, file, memory_limit=300_000)

        assert pq.ParquetFile(in_parts.path).num_row_groups > 3
        assert in_parts.table.equals(expected)

    def test_a_car_with_most_readings_at_its_first_time_is_split_after_that_time(self, tmp_path: Path) -> None:
        rows = [reading(0, value=str(number)) for number in range(900)] + [reading(at / 10) for at in range(1, 100)]
        file = write_file(tmp_path, csv_bytes(rows))

        expected = convert(tmp_path, file).table
        in_parts = convert(tmp_path, file, memory_limit=1_210_000)

        assert pq.ParquetFile(in_parts.path).num_row_groups == 2
        assert in_parts.table.equals(expected)

    def test_a_range_that_holds_more_than_estimated_is_split_again(self, tmp_path: Path) -> None:
        # The repeats at every tenth of a second take a row each; the estimate is one row per time.
        rows = [reading(at / 10, value=str(number)) for at in range(30) for number in range(100)]
        file = write_file(tmp_path, csv_bytes(rows))

        expected = convert(tmp_path, file)
        in_parts = convert(tmp_path, file, memory_limit=2_000_000)

        assert pq.ParquetFile(in_parts.path).num_row_groups > 2
        assert in_parts.table.equals(expected.table)
        assert in_parts.report.counts == expected.report.counts
        assert in_parts.report.cars == expected.report.cars

    def test_any_number_of_copies_of_a_line_is_counted_in_bounded_memory(self, tmp_path: Path) -> None:
        header, line = csv_bytes([reading(0)]).splitlines(keepends=True)
        file = write_file(tmp_path, header + line * 100_000 + csv_bytes([reading(9)]).splitlines()[1])

        converted = convert(tmp_path, file, memory_limit=1_000_000)

        assert converted.report.counts.exact_duplicates == 99_999
        assert [row["speed_kph"] for row in converted.rows] == [100.5, 100.5]

    def test_more_readings_at_one_time_than_fit_in_memory_leave_the_files_out(self, tmp_path: Path) -> None:
        rows = [reading(0, value=str(number)) for number in range(9_000)]
        files = [write_file(tmp_path, csv_bytes(rows), "a.csv"), write_file(tmp_path, csv_bytes([reading(1)]), "b.csv")]

        converted = convert(tmp_path, *files, memory_limit=1_000_000)

        problem = "has more readings of GR86-002-2 at one time than fit in memory (limit APEX_MEMORY_LIMIT)."
        assert converted.refused == [f"a.csv {problem}", f"b.csv {problem}"]
        assert (converted.table.num_rows, converted.report.counts.readings_in) == (0, 0)

    def test_nothing_is_left_in_the_scratch_folder(self, tmp_path: Path) -> None:
        convert_rows(tmp_path, race(1, 1))

        assert list((tmp_path / "scratch").iterdir()) == []
