"""Every test that docs/dagster.md names exists, and the page names one for each subject of its tables."""

import ast
import re
from pathlib import Path

import pytest

_TESTS = Path(__file__).resolve().parents[1]
_PAGE = _TESTS.parent / "docs" / "dagster.md"
_ROWS = re.findall(r"^\|(.+)\|$", _PAGE.read_text(encoding="utf-8"), re.MULTILINE)
# The subject, and what shows it: `file.py`, or `file.py`: `name`, `name`; several are separated by semicolons.
_NAMED = [
    (cells[0].strip(), part.strip())
    for cells in (row.split(" | ") for row in _ROWS)
    for part in cells[-1].split(";")
    if re.match(r"\s*`[\w/]+\.py`", part)
]


def _names_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}


@pytest.mark.parametrize(("subject", "shown_by"), _NAMED)
def test_what_the_page_names_exists(subject: str, shown_by: str) -> None:
    file, *names = re.findall(r"`([^`]+)`", shown_by)
    assert set(names) <= _names_in(_TESTS / file), subject


def test_the_page_has_the_twelve_subjects_and_the_rules_of_declarative_automation() -> None:
    assert len({subject for subject, part in _NAMED if "test_declarative.py" not in part}) >= 12
    declared = {name for _, part in _NAMED for name in re.findall(r"`(test_\w+)`", part)}
    rules = {name for name in _names_in(_TESTS / "orchestration" / "test_declarative.py") if name.startswith("test_")}
    assert rules <= declared
