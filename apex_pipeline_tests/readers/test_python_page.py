"""Every example of docs/python.md runs as printed."""

import ast
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "python.md"
_BLOCKS = re.findall(r"^```python\n(.*?)^```$", _PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
_PUBLIC = [
    *("sessions", "laps", "table", "results", "weather", "quality", "session", "snapshots", "diff", "sql"),
    *("best", "positions", "gaps", "penalties", "sectors", "best_lap", "lap", "telemetry", "telemetry_note", "note"),
]


def test_every_example_of_the_page_runs(lake: Path, tmp_path: Path) -> None:
    (tmp_path / "demo-lake").symlink_to(lake.absolute(), target_is_directory=True)
    names: dict[str, object] = {}
    statements = [statement for block in _BLOCKS for statement in ast.parse(block).body]
    for statement in statements:
        if ".sql(" in ast.unparse(statement) and find_spec("duckdb") is None:
            continue
        exec(compile(ast.Module([statement], []), str(_PAGE), "exec"), names)  # noqa: S102  -- our own page
    assert len(statements) > 30


@pytest.mark.parametrize("name", _PUBLIC)
def test_every_call_has_an_example(name: str) -> None:
    assert any(f".{name}" in block for block in _BLOCKS)
