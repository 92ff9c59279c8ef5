"""Every example of docs/python.md and docs/distance.md runs as printed."""

import ast
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

_DOCS = Path(__file__).resolve().parents[2] / "docs"
_BLOCKS = {
    page: re.findall(r"^```python\n(.*?)^```$", (_DOCS / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    for page in ("python.md", "distance.md")
}
_PUBLIC = [
    *("sessions", "laps", "table", "results", "weather", "quality", "session", "snapshots", "diff", "sql"),
    *("best", "positions", "gaps", "penalties", "sectors", "best_lap", "lap", "telemetry", "telemetry_note", "note"),
    *("compare", "on_distance", "track_map"),
]


@pytest.mark.parametrize(("page", "least"), [("python.md", 30), ("distance.md", 7)])
def test_every_example_of_the_page_runs(lake: Path, tmp_path: Path, page: str, least: int) -> None:
    (tmp_path / "demo-lake").symlink_to(lake.absolute(), target_is_directory=True)
    names: dict[str, object] = {}
    statements = [statement for block in _BLOCKS[page] for statement in ast.parse(block).body]
    for statement in statements:
        if ".sql(" in ast.unparse(statement) and find_spec("duckdb") is None:
            continue
        exec(compile(ast.Module([statement], []), page, "exec"), names)  # noqa: S102  -- our own page
    assert len(statements) >= least


@pytest.mark.parametrize("name", _PUBLIC)
def test_every_call_has_an_example(name: str) -> None:
    assert any(f".{name}" in block for blocks in _BLOCKS.values() for block in blocks)
