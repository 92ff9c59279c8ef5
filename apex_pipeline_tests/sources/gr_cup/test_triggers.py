"""Triggers: every data row becomes one or a reject that says why."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.errors import MalformedFileError
from apex_pipeline.sources.gr_cup.files import FileKind
from apex_pipeline.sources.gr_cup.triggers import is_other_race, read_triggers
from apex_pipeline_tests.sources.gr_cup.lap_builder import identity

_HEADER = "lap,meta_session,meta_time,timestamp,vehicle_id,value"
_GOOD = "4,R1,2025-09-06T18:44:42.583Z,2025-09-06T18:44:41.000Z,GR86-002-000,1476949"


def _read(*rows: str, kind: FileKind = FileKind.LAP_TIME):  # noqa: ANN202  -- as read_triggers
    return read_triggers(io.BytesIO("\n".join([_HEADER, *rows]).encode()), identity(kind))


def test_a_row_is_read_with_times_in_utc_milliseconds() -> None:
    (found,), rejects = _read(_GOOD)
    assert rejects == []
    assert (found.vehicle_id, found.unit_lap, found.unit_value_ms, found.line) == ("GR86-002-000", 4, 1476949, 2)
    assert found.received_utc_ms - found.trigger_utc_ms == 1583


def test_a_lost_lap_is_null_and_a_value_is_a_lap_time_only_in_lap_time_files() -> None:
    (found,), _ = _read(_GOOD.replace("4,R1", "32768,R1"), kind=FileKind.LAP_END)
    assert (found.unit_lap, found.unit_value_ms) == (None, None)


def test_a_time_with_an_offset_is_the_same_instant() -> None:
    (with_offset,), _ = _read(_GOOD.replace("18:44:41.000Z", "13:44:41.000-05:00"))
    (with_z,), _ = _read(_GOOD)
    assert with_offset.trigger_utc_ms == with_z.trigger_utc_ms


@pytest.mark.parametrize(
    ("bad", "reason", "detail"),
    [
        (_GOOD.replace("GR86-002-000", ""), "no_vehicle", "vehicle_id=''"),
        (_GOOD.replace("T18:44:41.000Z", ""), "bad_time", "timestamp='2025-09-06'"),
        (_GOOD.replace("18:44:42.583Z", "18:44:42.583"), "bad_time", "meta_time='2025-09-06T18:44:42.583'"),
        (_GOOD.replace("4,R1", "x,R1"), "bad_lap", "lap='x'"),
        (_GOOD.replace("4,R1", "-1,R1"), "bad_lap", "lap='-1'"),
        (_GOOD.replace("4,R1", "4,R2"), "wrong_session", "meta_session='R2'"),
    ],
)
def test_a_row_that_makes_no_sense_is_rejected_and_the_rest_goes_on(bad: str, reason: str, detail: str) -> None:
    found, rejects = _read(_GOOD, bad, _GOOD)
    assert len(found) == 2
    assert [(reject.line, reject.reason, reject.detail) for reject in rejects] == [(3, reason, detail)]


def test_a_file_without_the_columns_is_refused_by_name() -> None:
    with pytest.raises(MalformedFileError, match=r"lacks the column vehicle_id, lap, timestamp, meta_time"):
        read_triggers(io.BytesIO(b"a,b\n1,2\n"), identity(FileKind.LAP_END))


@pytest.mark.parametrize(
    ("inside", "session", "is_other"),
    [("R1", "R2", True), ("R2", "R2", False), ("R1", "2026_R2", True), ("R1", "practice", False), ("P1", "R2", False)],
)
def test_only_another_race_is_another_session(inside: str, session: str, is_other: bool) -> None:  # noqa: FBT001  -- a table
    assert is_other_race(inside, session) is is_other


@given(st.lists(st.sampled_from([_GOOD, _GOOD.replace("4,R1", "x,R1"), "short,row", "", _GOOD + ",9"])))
def test_rows_in_are_triggers_plus_rejects(rows: list[str]) -> None:
    found, rejects = _read(*rows)
    assert len(found) + len(rejects) == sum(1 for row in rows if row)
