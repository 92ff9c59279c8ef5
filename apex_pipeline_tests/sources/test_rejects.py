"""Rejects as a table: sorted, numbered within a line, and nothing left out."""

import pytest

from apex_pipeline.sources.base import Reject
from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.sources.rejects import rejects_table
from apex_pipeline.tables import REJECTS


def reject(file: str, line: int | None, reason: str = "bad_time", detail: str = "timestamp='x'") -> Reject:
    return Reject(file, line, FileKind.LAP_END, reason, detail)


def test_no_rejects_are_an_empty_table_of_the_right_shape() -> None:
    table = rejects_table("oval", "R1", [])
    assert table.num_rows == 0
    assert REJECTS.violations(table) == []


def test_a_reject_keeps_all_it_says() -> None:
    assert rejects_table("oval", "R1", [reject("a.csv", 7)]).to_pylist() == [
        {
            "track": "oval",
            "session": "R1",
            "source_file": "a.csv",
            "source_row": 7,
            "occurrence": 0,
            "kind": "lap_end",
            "reason": "bad_time",
            "detail": "timestamp='x'",
        }
    ]


@pytest.mark.parametrize("line", [4, None], ids=["line known", "line unknown"])
def test_several_rejects_of_one_line_are_numbered_so_that_the_key_holds(line: int | None) -> None:
    same = [reject("a.csv", line), reject("a.csv", line), reject("a.csv", line, "bad_lap")]
    table = rejects_table("oval", "R1", [*same, reject("b.csv", line)])
    assert REJECTS.violations(table) == []
    assert table.column("occurrence").to_pylist() == [0, 1, 2, 0]


def test_the_order_handed_in_changes_nothing() -> None:
    some = [reject("b.csv", 2), reject("a.csv", 9), reject("a.csv", 3, "bad_lap"), reject("a.csv", 3)]
    table = rejects_table("oval", "R1", some)
    assert table.equals(rejects_table("oval", "R1", reversed(some)))
    places = list(zip(table.column("source_file").to_pylist(), table.column("source_row").to_pylist(), strict=True))
    assert places == [("a.csv", 3), ("a.csv", 3), ("a.csv", 9), ("b.csv", 2)]
