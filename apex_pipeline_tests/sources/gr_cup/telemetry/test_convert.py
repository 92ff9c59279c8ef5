"""The rules of the wide table: columns by name, duplicates, repeats, clocks, laps, and the file that is written."""

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
from apex_pipeline.sources.gr_cup.telemetry import convert as conversion
from apex_pipeline.sources.gr_cup.telemetry.channels import columns_of
from apex_pipeline.sources.gr_cup.telemetry.chunks import TelemetryFile
from apex_pipeline.sources.gr_cup.telemetry.pivot import Pivoter
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
        made = convert_rows(tmp_path, [reading(0), reading(0, "gear", "4"), reading(1, "nmot", "6000")])

        assert field(made.rows, "speed_kph") == [100.5, None]
        assert field(made.rows, "gear") == [4.0, None]
        assert field(made.rows, "engine_rpm") == [None, 6000.0]

    @pytest.mark.parametrize("delimiter", [",", ";", "\t"])
    def test_columns_are_bound_by_name_in_any_order(self, tmp_path: Path, delimiter: str) -> None:
        rows = [reading(0), reading(1)]
        shuffled = random.Random(3).sample(COLUMNS, len(COLUMNS))  # noqa: S311  -- the same order every time
        plain = convert_rows(tmp_path, rows).table

        assert convert(tmp_path, write_file(tmp_path, csv_bytes(rows, shuffled, delimiter))).table.equals(plain)

    def test_a_column_nobody_knows_changes_nothing(self, tmp_path: Path) -> None:
        rows = [reading(0) | {"weather": "N/A"}]
        plain = convert_rows(tmp_path, rows).table

        assert convert(tmp_path, write_file(tmp_path, csv_bytes(rows, ("weather", *COLUMNS)))).table.equals(plain)

    def test_a_byte_order_mark_and_windows_line_ends_change_nothing(self, tmp_path: Path) -> None:
        rows = [reading(0), reading(1)]
        plain = convert_rows(tmp_path, rows).table
        content = b"\xef\xbb\xbf" + csv_bytes(rows, end="\r\n")

        assert convert(tmp_path, write_file(tmp_path, content)).table.equals(plain)

    def test_an_unknown_channel_keeps_its_name_and_is_told(self, tmp_path: Path) -> None:
        made = convert_rows(tmp_path, [reading(0), reading(0, "Oil Temp [C]", "97")])

        assert made.rows[0]["Oil_Temp_C"] == 97.0
        assert made.report.unknown_channels == ("Oil Temp [C]",)

    @pytest.mark.parametrize("channel", ["repeat", "Unit_Lap", "vehicle_id", "car_ms", "value", 'a"b', "a'b", "!!"])
    def test_a_channel_by_an_unlucky_name_harms_no_other_column(self, tmp_path: Path, channel: str) -> None:
        made = convert_rows(tmp_path, [reading(0), reading(0, channel, "7")])

        (row,) = made.rows
        assert row["vehicle_id"] == CAR
        assert (row["repeat"], row["unit_lap"], row["speed_kph"]) == (0, 3, 100.5)
        assert 7.0 in row.values()

    def test_unknown_channels_never_share_a_column(self) -> None:
        assert columns_of(["oil temp", "oil-temp", "Oil_Temp"]) == {
            "Oil_Temp": "Oil_Temp",
            "oil temp": "oil_temp_2",
            "oil-temp": "oil_temp_3",
        }
        assert columns_of(["a b", "a_B"]) == {"a b": "a_b", "a_B": "a_B_2"}

    def test_both_spellings_of_a_known_channel_share_its_column(self) -> None:
        assert columns_of(["Speed", "speed"]) == {"Speed": "speed_kph", "speed": "speed_kph"}


class TestRepeats:
    def test_an_exact_duplicate_is_dropped_and_counted(self, tmp_path: Path) -> None:
        made = convert_rows(tmp_path, [reading(0), reading(0), reading(0)])

        counts = made.report.counts
        assert (counts.cells_out, counts.exact_duplicates, counts.rows_out) == (1, 2, 1)

    def test_separate_readings_at_one_car_time_are_kept_as_repeats_in_the_order_received(self, tmp_path: Path) -> None:
        rows = [
            reading(0, value="1", meta_time=moment(2)),
            reading(0, value="3", meta_time=moment(1)),
            reading(0, value="2", meta_time=moment(1)),
        ]

        made = convert_rows(tmp_path, rows)

        assert field(made.rows, "speed_kph") == [2.0, 3.0, 1.0]
        assert field(made.rows, "repeat") == [0, 1, 2]
        assert made.report.counts.repeat_rows == 2

    def test_a_row_was_received_with_its_earliest_reading(self, tmp_path: Path) -> None:
        made = convert_rows(tmp_path, [reading(0, meta_time=moment(5)), reading(0, "gear", "2", meta_time=moment(4))])

        assert clock_time(made.rows[0], "received_time_utc") == moment(4)

    def test_two_files_of_a_session_are_one_and_their_overlap_is_dropped(self, tmp_path: Path) -> None:
        first = write_file(tmp_path, csv_bytes([reading(0), reading(1)]), "first.csv")
        second = write_file(tmp_path, csv_bytes([reading(1), reading(2), reading(3, value="N/A")]), "second.csv")

        made = convert(tmp_path, first, second)

        assert (made.report.counts.readings_in, made.report.counts.cells_out) == (5, 3)
        assert made.report.counts.exact_duplicates == 1
        assert [(reject.file, reject.line) for reject in made.report.rejects] == [("second.csv", 4)]
        assert convert(tmp_path, second, first).table.equals(made.table)


class TestClocks:
    def test_the_offset_is_the_median_of_receive_time_minus_car_time(self, tmp_path: Path) -> None:
        late = [0.0, 0.1, 0.2, 0.9, 40.0]
        rows = [reading(second, meta_time=moment(second + late[second])) for second in range(5)]

        made = convert_rows(tmp_path, rows)

        (clock,) = made.report.clocks
        assert clock.offset_s == pytest.approx(2 * 86_400 + 3 + 0.2)
        assert (clock.method, clock.is_frozen) == ("offset", False)
        assert [clock_time(row) for row in made.rows] == [moment(second + 0.2) for second in range(5)]
        assert [clock_time(row, "car_time") for row in made.rows] == [car_moment(second) for second in range(5)]

    def test_between_two_middle_readings_the_offset_lies_halfway(self, tmp_path: Path) -> None:
        rows = [reading(0, meta_time=moment(1)), reading(1, meta_time=moment(4))]

        assert convert_rows(tmp_path, rows).report.clocks[0].offset_s == 2 * 86_400 + 3 + 2

    def test_every_reading_of_a_sample_weighs_in_the_median(self, tmp_path: Path) -> None:
        many = [reading(0, channel, meta_time=moment(1)) for channel in ("speed", "gear", "nmot")]

        made = convert_rows(tmp_path, [*many, reading(1, meta_time=moment(3)), reading(2, meta_time=moment(5))])

        assert made.report.clocks[0].offset_s == 2 * 86_400 + 3 + 1

    def test_each_car_has_its_own_clock(self, tmp_path: Path) -> None:
        rows = [reading(0), reading(0, vehicle_id="GR86-013-80", timestamp=moment(-60))]

        made = convert_rows(tmp_path, rows)

        assert {clock.vehicle_id: clock.offset_s for clock in made.report.clocks} == {
            CAR: 2 * 86_400 + 3,
            "GR86-013-80": 60.0,
        }
        assert {clock_time(row) for row in made.rows} == {moment(0)}

    @pytest.mark.parametrize("stray", [0, 1])
    def test_a_frozen_clock_gives_way_to_the_receive_time(self, tmp_path: Path, stray: int) -> None:
        frozen = [reading(second, timestamp=car_moment(0)) for second in range(40)]
        strays = [reading(40 + second, timestamp=car_moment(-9_999)) for second in range(stray)]

        made = convert_rows(tmp_path, [*frozen, *strays])

        (clock,) = made.report.clocks
        assert (clock.method, clock.is_frozen) == ("received", True)
        assert [clock_time(row) for row in made.rows] == [moment(second) for second in range(40 + stray)]
        assert field(made.rows, "repeat") == [0] * (40 + stray)

    def test_one_message_says_nothing_about_a_frozen_clock(self, tmp_path: Path) -> None:
        made = convert_rows(tmp_path, [reading(0), reading(0, "gear", "2")])

        assert not made.report.clocks[0].is_frozen


class TestLaps:
    def test_the_lap_is_found_by_time_its_end_belonging_to_the_next(self, tmp_path: Path) -> None:
        laps = laps_table((CAR, 1, 10, 20), (CAR, 2, 20, 30), ("GR86-999-9", 7, 0, 99))
        rows = [reading(second) for second in (9, 10, 19.999, 20, 29.999, 30)]

        assert field(convert_rows(tmp_path, rows, laps).rows, "lap_number") == [None, 1, 1, 2, 2, None]

    @pytest.mark.parametrize("laps", [None, laps_table(), laps_table(("GR86-999-9", 1, 0, 9))])
    def test_without_laps_of_the_car_the_lap_is_null(self, tmp_path: Path, laps: pa.Table | None) -> None:
        assert field(convert_rows(tmp_path, [reading(0)], laps).rows, "lap_number") == [None]

    @pytest.mark.parametrize(
        ("lap", "kept", "unreadable"),
        [("0", 0, 0), ("32768", None, 0), ("-1", None, 1), ("", None, 1), ("x", None, 1), ("99999999999", None, 1)],
    )
    def test_a_lost_or_unreadable_unit_lap_is_null_and_the_reading_stays(
        self, tmp_path: Path, lap: str, kept: int | None, unreadable: int
    ) -> None:
        made = convert_rows(tmp_path, [reading(0, lap=lap)])

        assert field(made.rows, "unit_lap") == [kept]
        assert made.report.unreadable_laps == unreadable
        assert made.report.counts.cells_out == 1

    def test_a_row_takes_the_highest_lap_of_its_readings(self, tmp_path: Path) -> None:
        laps = [("speed", "32768"), ("gear", "4"), ("nmot", "5"), ("ath", "x")]

        made = convert_rows(tmp_path, [reading(0, channel, lap=lap) for channel, lap in laps])

        assert field(made.rows, "unit_lap") == [5]


class TestLists:
    def test_each_element_of_a_list_is_a_reading(self, tmp_path: Path) -> None:
        first = '[{"name": "speed", "value": 90.5}, {"name": "gear", "value": "3"}]'

        made = convert(tmp_path, listed_file(tmp_path, listed(0, first), listed(1, '[{"name":"speed","value":91}]')))

        assert field(made.rows, "speed_kph") == [90.5, 91.0]
        assert field(made.rows, "gear") == [3.0, None]
        assert made.report.counts.readings_in == 3

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
    def test_what_is_no_reading_is_rejected_and_the_rest_kept(
        self, tmp_path: Path, value: str, reasons: list[str]
    ) -> None:
        good = listed(1, '[{"name": "speed", "value": 91}]')

        made = convert(tmp_path, listed_file(tmp_path, listed(0, value), good))

        assert made.samples == [(2, reason) for reason in reasons]
        assert field(made.rows, "speed_kph") == [91.0]
        assert made.report.counts.readings_in == 1 + len(reasons)

    @pytest.mark.parametrize(("name", "source"), [("x{y}", "kafka"), ("speed", "{kafka}"), ("a, b", "kafka")])
    def test_braces_and_commas_in_names_are_no_readings(self, tmp_path: Path, name: str, source: str) -> None:
        rows = [listed(at, f'[{{"name": "{name}", "value": {at}}}]', meta_source=source) for at in range(3)]

        made = convert(tmp_path, listed_file(tmp_path, *rows))

        assert made.report.counts.readings_in == made.report.counts.cells_out == 3

    def test_lists_of_another_race_are_rejected_reading_by_reading(self, tmp_path: Path) -> None:
        two = '[{"name": "speed", "value": 1}, {"name": "gear", "value": 2}]'

        made = convert(tmp_path, listed_file(tmp_path, listed(0, two), listed(1, two, meta_session="R2")))

        assert made.samples == [(3, "wrong_session")] * 2
        assert made.report.counts.cells_out == 2

    def test_the_lines_of_lists_are_counted_apart_from_the_engine(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lose_readings(monkeypatch, lambda frames: frames.value != 92)
        rows = [listed(second, f'[{{"name": "speed", "value": {91 + second}}}]') for second in range(2)]

        with pytest.raises(ReconciliationError, match="2 readings went in, 1 cells"):
            convert(tmp_path, listed_file(tmp_path, *rows))


class TestOutput:
    def test_a_car_is_a_row_group_and_rows_are_sorted(self, tmp_path: Path) -> None:
        cars = ("GR86-010-7", CAR, "GR86-004-78")
        made = convert_rows(tmp_path, [reading(second, vehicle_id=car) for second in (2, 0, 1) for car in cars])

        file = pq.ParquetFile(made.path)
        groups = [file.read_row_group(index) for index in range(file.num_row_groups)]
        assert [set(group["vehicle_id"].to_pylist()) for group in groups] == [{CAR}, {cars[2]}, {cars[0]}]
        order = [(row["vehicle_id"], row["sample_time_utc"]) for row in made.rows]
        assert order == sorted(order)

    def test_the_table_keeps_its_schema_and_tells_its_counts(self, tmp_path: Path) -> None:
        made = convert(tmp_path, write_file(tmp_path, csv_bytes([reading(0)])), metadata={"who": "asked"})

        assert TELEMETRY.violations(made.table) == []
        assert made.table.schema.equals(TELEMETRY.schema)
        assert made.table.schema.field("speed_kph").metadata[b"unit"] == b"km/h"
        metadata = pq.read_metadata(made.path).metadata
        assert metadata[b"who"] == b"asked"
        assert json.loads(metadata[TELEMETRY_COUNTS.encode()])["cells_out"] == 1

    def test_each_column_is_packed_in_its_own_way(self, tmp_path: Path) -> None:
        channels = ("VBOX_Lat_Min", "nmot", "speed", "gear")
        made = convert_rows(tmp_path, [reading(0, channel, "33.5") for channel in channels])

        group = pq.read_metadata(made.path).row_group(0)
        columns = {group.column(index).path_in_schema: group.column(index) for index in range(group.num_columns)}
        assert "DELTA_BINARY_PACKED" in columns["sample_time_utc"].encodings
        assert "BYTE_STREAM_SPLIT" in columns["latitude_deg"].encodings
        assert "BYTE_STREAM_SPLIT" in columns["engine_rpm"].encodings
        assert not columns["speed_kph"].has_dictionary_page
        assert columns["gear"].has_dictionary_page
        assert {column.compression for column in columns.values()} == {"ZSTD"}

    def test_order_and_statistics_are_told_to_readers(self, tmp_path: Path) -> None:
        made = convert_rows(tmp_path, [reading(0), reading(9, value="-3")])

        group = pq.read_metadata(made.path).row_group(0)
        names = [group.column(at.column_index).path_in_schema for at in group.sorting_columns]
        assert names == ["vehicle_id", "sample_time_utc", "repeat"]
        speed = group.column(made.table.schema.get_field_index("speed_kph")).statistics
        assert (speed.min, speed.max, speed.null_count) == (-3.0, 100.5, 0)

    @pytest.mark.parametrize("content", [None, csv_bytes([]), csv_bytes([]).rstrip()])
    def test_no_file_and_no_rows_give_an_empty_table(self, tmp_path: Path, content: bytes | None) -> None:
        made = convert(tmp_path, *([] if content is None else [write_file(tmp_path, content)]))

        assert made.table.num_rows == 0
        assert made.table.schema.equals(TELEMETRY.schema)
        assert made.report.counts.readings_in == 0

    def test_progress_tells_every_byte_once(self, tmp_path: Path) -> None:
        content = csv_bytes([reading(second) for second in range(50)])
        told: list[int] = []
        workspace = Workspace(1_000_000_000, tmp_path / "scratch", told.append)

        files = [write_file(tmp_path, content)]
        conversion.convert_telemetry(KEY, files, None, tmp_path / "out.parquet", workspace)

        assert sum(told) == len(content)

    def test_a_file_name_full_of_wildcards_is_just_a_name(self, tmp_path: Path) -> None:
        write_file(tmp_path, csv_bytes([reading(5)]), "a1.csv")

        made = convert(tmp_path, write_file(tmp_path, csv_bytes([reading(0)]), "a[1]*?'.csv"))

        assert made.report.counts.readings_in == 1


class TestFailure:
    @pytest.mark.parametrize("step", [(ReadingSpill, "add"), (conversion, "measure_clock"), (Pivoter, "widen")])
    @pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), MemoryError()])
    def test_no_room_is_said_and_leaves_the_earlier_file_alone(
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

    def test_other_trouble_of_the_machine_is_not_called_a_full_disk(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(ReadingSpill, "add", fail)
        with pytest.raises(OSError, match="Input/output error"):
            convert_rows(tmp_path, [reading(0)])

    def test_trouble_of_the_machine_while_reading_is_not_blamed_on_the_file(
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
    """Let frames get lost on their way to the cars; each holds one reading."""
    add = ReadingSpill.add
    monkeypatch.setattr(ReadingSpill, "add", lambda self, car, frames: add(self, car, frames.only(kept(frames))))


def race(cars: int, seconds: float) -> list[Row]:
    """Return readings of several cars: three channels every 40 ms, bursts and copies among them, in no order."""
    times = np.arange(0, seconds, 0.04)
    rows = [
        reading(at, channel, str(round(100 + at * factor, 3)), vehicle_id=f"GR86-00{car}-{car}")
        for car in range(cars)
        for at in times
        for channel, factor in (("speed", 1.0), ("gear", 0.1), ("accx_can", -0.01))
    ]
    burst = [row | {"telemetry_value": "7", "meta_time": moment(seconds)} for row in rows[::50]]
    mixed = [*rows, *burst, *rows[::70]]
    random.Random(3).shuffle(mixed)  # noqa: S311  -- a shuffle, no secret
    return mixed


class TestMemory:
    @pytest.mark.req("A-123")
    def test_a_car_too_large_for_the_memory_gives_the_same_rows_in_several_row_groups(self, tmp_path: Path) -> None:
        file = write_file(tmp_path, csv_bytes(race(2, 20)))

        whole = convert(tmp_path, file)
        expected, facts = whole.table, whole.report.cars
        in_parts = convert(tmp_path, file, memory_limit=300_000)

        assert pq.ParquetFile(in_parts.path).num_row_groups > 2 * 3
        assert in_parts.table.equals(expected)
        assert in_parts.report.cars == facts
        assert in_parts.report.counts == whole.report.counts

    def test_a_frozen_clock_is_split_by_the_time_that_counts(self, tmp_path: Path) -> None:
        rows = [row | {"timestamp": car_moment(0)} for row in race(1, 20)]
        file = write_file(tmp_path, csv_bytes(rows))

        expected = convert(tmp_path, file).table
        in_parts = convert(tmp_path, file, memory_limit=300_000)

        assert pq.ParquetFile(in_parts.path).num_row_groups > 3
        assert in_parts.table.equals(expected)

    def test_a_car_with_most_readings_at_its_first_time_is_split_after_it(self, tmp_path: Path) -> None:
        rows = [reading(0, value=str(number)) for number in range(900)] + [reading(at / 10) for at in range(1, 100)]
        file = write_file(tmp_path, csv_bytes(rows))

        expected = convert(tmp_path, file).table

        assert convert(tmp_path, file, memory_limit=100_000).table.equals(expected)

    def test_nothing_is_left_in_the_scratch_folder(self, tmp_path: Path) -> None:
        convert_rows(tmp_path, race(1, 1))

        assert list((tmp_path / "scratch").iterdir()) == []
