"""The rejects table: sorted, numbered within a line, and complete."""

import pytest

from apex_pipeline.sources.base import Reject
from apex_pipeline.sources.gr_cup.kinds import FileKind
from apex_pipeline.sources.rejects import rejects_table
from apex_pipeline.tables import REJECTS


def reject(file: str, line: int | None, reason: str = "bad_time", detail: str = "timestamp='x'") -> Reject:
    return Reject(file, line, FileKind.LAP_END, reason, detail)


def test_no_rejects_give_an_empty_table_that_matches_the_schema() -> None:
    table = rejects_table("oval", "R1", [])
    assert table.num_rows == 0
    assert REJECTS.violations(table) == []


def test_every_field_of_a_reject_is_in_the_table() -> None:
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
def test_several_rejects_of_one_line_are_numbered_to_keep_the_key_unique(line: int | None) -> None:
    same_line = [reject("a.csv", line), reject("a.csv", line), reject("a.csv", line, "bad_lap")]
    table = rejects_table("oval", "R1", [*same_line, reject("b.csv", line)])
    assert REJECTS.violations(table) == []
    assert table.column("occurrence").to_pylist() == [0, 1, 2, 0]


def test_the_order_of_the_rejects_does_not_matter() -> None:
    rejects = [reject("b.csv", 2), reject("a.csv", 9), reject("a.csv", 3, "bad_lap"), reject("a.csv", 3)]
    table = rejects_table("oval", "R1", rejects)
    assert table.equals(rejects_table("oval", "R1", reversed(rejects)))
    locations = list(zip(table.column("source_file").to_pylist(), table.column("source_row").to_pylist(), strict=True))
    assert locations == [("a.csv", 3), ("a.csv", 3), ("a.csv", 9), ("b.csv", 2)]
