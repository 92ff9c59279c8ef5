"""Reading lap files row by row: every data row becomes a trigger or a reject with its reason."""

import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.errors import MalformedFileError
from apex_pipeline.sources.base import Reject
from apex_pipeline.sources.cells import quoted
from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.sources.gr_cup.laps.triggers import Trigger, is_wrong_session, read_triggers
from apex_pipeline_tests.sources.gr_cup.lap_builder import identity

PATH = identity(FileKind.LAP_TIME).path
GOOD = {
    "vehicle_id": "GR86-036-98",
    "lap": "7",
    "timestamp": "2025-09-06T18:40:02.123Z",
    "meta_time": "2025-09-06T18:40:03.500Z",
    "meta_session": "R1",
    "value": "98421",
}


def read(
    *rows: dict[str, str], kind: FileKind = FileKind.LAP_TIME, session: str | None = "R1"
) -> tuple[list[Trigger], list[Reject]]:
    lines = [",".join(rows[0])] + [",".join(row.values()) for row in rows]
    file = replace(identity(kind), session=session)
    return read_triggers(io.BytesIO("\n".join(lines).encode()), file)


def test_a_row_is_read_with_its_file_and_line() -> None:
    triggers, rejects = read(GOOD)
    assert rejects == []
    assert triggers == [
        Trigger(
            vehicle_id="GR86-036-98",
            trigger_utc_ms=1_757_184_002_123,
            kind=FileKind.LAP_TIME,
            unit_lap=7,
            received_utc_ms=1_757_184_003_500,
            unit_value_ms=98_421,
            file=PATH,
            line=2,
        )
    ]


def test_a_time_with_a_utc_offset_is_converted() -> None:
    (converted,), _ = read(GOOD | {"timestamp": "2025-09-06T13:40:02.123-05:00"})
    assert converted.trigger_utc_ms == 1_757_184_002_123


def test_lap_counter_32768_means_unknown_and_the_row_is_kept() -> None:
    triggers, rejects = read(GOOD | {"lap": "32768"})
    assert ([item.unit_lap for item in triggers], rejects) == ([None], [])


def test_lap_0_is_a_valid_lap_counter() -> None:
    assert read(GOOD | {"lap": "0"})[0][0].unit_lap == 0


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (FileKind.LAP_TIME, "98421", 98_421),
        (FileKind.LAP_TIME, "", None),
        (FileKind.LAP_TIME, "2025-09-06T18:40:02.123Z", None),
        (FileKind.LAP_END, "98421", None),
        (FileKind.LAP_START, "2025-09-06T18:40:02.123Z", None),
    ],
)
def test_only_numbers_in_lap_time_files_are_device_times(kind: FileKind, value: str, expected: int | None) -> None:
    assert read(GOOD | {"value": value}, kind=kind)[0][0].unit_value_ms == expected


def test_a_lap_time_file_without_a_value_column_has_no_device_times() -> None:
    bare = {name: value for name, value in GOOD.items() if name not in {"value", "meta_session"}}
    triggers, rejects = read(bare)
    assert ([item.unit_value_ms for item in triggers], rejects) == ([None], [])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"vehicle_id": ""}, "no_vehicle"),
        ({"timestamp": ""}, "bad_time"),
        ({"timestamp": "2025-09-06T18:40:02.123"}, "bad_time"),
        ({"timestamp": "18:40"}, "bad_time"),
        ({"meta_time": "soon"}, "bad_time"),
        ({"lap": ""}, "bad_lap"),
        ({"lap": "seven"}, "bad_lap"),
        ({"lap": "7.5"}, "bad_lap"),
        ({"lap": "-1"}, "bad_lap"),
        ({"lap": "1e30"}, "bad_lap"),
        ({"meta_session": "R2"}, "wrong_session"),
    ],
)
def test_a_bad_row_is_rejected_with_column_and_value_and_the_rest_is_read(change: dict[str, str], reason: str) -> None:
    triggers, rejects = read(GOOD, GOOD | change, GOOD)
    ((column, value),) = change.items()
    assert [item.line for item in triggers] == [2, 4]
    assert rejects == [Reject(PATH, 3, FileKind.LAP_TIME, reason, f"{column}={quoted(value)}")]


def test_a_long_value_is_truncated_in_its_reject() -> None:
    _, (reject,) = read(GOOD | {"lap": "7" * 500})
    assert reject.detail == f"lap={'7' * 40!r}"


def test_a_truncated_line_is_rejected() -> None:
    content = ",".join(GOOD) + "\n" + ",".join(GOOD.values()) + "\nGR86-036-98,8,2025"
    triggers, rejects = read_triggers(io.BytesIO(content.encode()), identity(FileKind.LAP_TIME))
    assert (len(triggers), [(item.line, item.reason) for item in rejects]) == (1, [(3, "too_few_columns")])


@pytest.mark.parametrize("column", ["vehicle_id", "lap", "timestamp", "meta_time"])
def test_a_missing_required_column_is_named_in_the_error(column: str) -> None:
    with pytest.raises(MalformedFileError, match=column):
        read({name: value for name, value in GOOD.items() if name != column})


@pytest.mark.parametrize(
    ("inside", "session", "expected"),
    [
        ("R1", "R1", False),
        ("R2", "R1", True),
        ("R1", "2026_R2", True),
        ("R2", "2026_R2", False),
        ("R01", "R1", False),
        ("R2", "practice", False),
        ("race", "R1", False),
        ("", "R1", False),
        ("R1", None, False),
    ],
)
def test_a_wrong_session_is_detected_only_if_both_names_have_a_race_number(
    inside: str, session: str | None, *, expected: bool
) -> None:
    assert is_wrong_session(inside, session) is expected


@given(st.lists(st.dictionaries(st.sampled_from(sorted(GOOD)), st.text("R12Z:-T.", max_size=25)), max_size=8))
def test_every_data_row_becomes_a_trigger_or_a_reject(changes: list[dict[str, str]]) -> None:
    triggers, rejects = read(GOOD, *(GOOD | change for change in changes))
    lines = [item.line for item in triggers] + [item.line for item in rejects]
    assert sorted(line or 0 for line in lines) == list(range(2, len(changes) + 3))
