"""Docstrings: every file they name exists."""

import ast
import re
from pathlib import Path

_PROJECT = Path(__file__).resolve().parents[1]
_PACKAGES = ("apex_pipeline", "apex_pipeline_tests", "benchmarks")
_MODULES = sorted(
    path.relative_to(_PROJECT).as_posix() for name in _PACKAGES for path in (_PROJECT / name).rglob("*.py")
)
_NAMES = {Path(module).name for module in _MODULES}
_NAMED_FILE = re.compile(r"(?<![\w{/.*-])((?:[\w.-]+/)*[\w-]+\.(?:py|md|yaml|toml))\b")
# Files that a user has or a test creates.
_ELSEWHERE = {"dagster.yaml", "telemetry.md"}


def _docstrings(module: str) -> list[str]:
    tree = ast.parse((_PROJECT / module).read_text(encoding="utf-8"))
    holders = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return [text for holder in holders if (text := ast.get_docstring(holder))]


def _exists(name: str, module: str) -> bool:
    """Return whether the file is next to the module or in one of the folders where a reader would look for it."""
    folders = [
        _PROJECT,
        *(_PROJECT / package for package in _PACKAGES),
        _PROJECT / "apex_pipeline" / "sources",
        *(_PROJECT / module).parents,
    ]
    in_tree = any((folder / name).is_file() for folder in folders if folder.is_relative_to(_PROJECT))
    return in_tree or name in _ELSEWHERE or name in _NAMES


def test_files_named_in_docstrings_exist() -> None:
    dangling = {
        f"{module}: {name}"
        for module in _MODULES
        for text in _docstrings(module)
        for name in _NAMED_FILE.findall(text)
        if not _exists(name, module)
    }
    assert dangling == set()


def test_a_dangling_file_name_is_detected() -> None:
    assert not _exists("no_such_module.py", "apex_pipeline/settings.py")
    assert _exists("tables/laps.py", "apex_pipeline/settings.py")
