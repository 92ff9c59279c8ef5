"""Every requirement has a test marked with it, and every marker names a requirement.

requirements.yaml lists the numbers; tests are marked with ``@pytest.mark.req("A-061", ...)``. The test files are
parsed, not imported, so the result does not depend on which tests are selected or skipped.
"""

import ast
import importlib
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

_HERE = Path(__file__).resolve().parent
_LIST = (_HERE / "requirements.yaml").read_text(encoding="utf-8")
_REQUIREMENTS: dict[str, dict[str, str]] = yaml.safe_load(_LIST)
_FEATURE = re.compile(r"Feature: aws-s3-data-hosting, Property (\d): ")
_MIN_EXAMPLES = 100

Tree = ast.Module | ast.ClassDef


def _trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(_HERE.rglob("test_*.py")):
        yield path, ast.parse(path.read_bytes())


def _markers(tree: Tree) -> Iterator[ast.Call]:
    """Yield the calls of ``pytest.mark.req`` that pytest applies: on tests, test classes and the module."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark":
            yield from _calls(node.value)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name.lower().startswith("test"):
            for decorator in node.decorator_list:
                yield from _calls(decorator)
            if isinstance(node, ast.ClassDef):
                yield from _markers(node)


def _calls(node: ast.AST) -> Iterator[ast.Call]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Call) and ast.unparse(inner.func) == "pytest.mark.req":
            yield inner


def _marked() -> dict[str, set[str]]:
    """Return the requirement numbers in markers, each with the test files that name it."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for path, tree in _trees():
        for call in _markers(tree):
            for argument in call.args:
                found[ast.literal_eval(argument)].add(path.relative_to(_HERE).as_posix())
    return found


def _properties() -> list[tuple[Path, str, int]]:
    """Return file, function and number of every test tagged as one of the eight properties."""
    return [
        (path, node.name, int(tag[1]))
        for path in sorted(_HERE.rglob("test_*.py"))
        # Every worker collects the tests, so only the few files that have a tag are parsed.
        if _FEATURE.search(text := path.read_text(encoding="utf-8"))
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef) and (tag := _FEATURE.match(ast.get_docstring(node) or ""))
    ]


@pytest.mark.req("K-13")
def test_every_requirement_has_a_test_and_every_marker_a_requirement() -> None:
    marked = set(_marked())
    assert sorted(set(_REQUIREMENTS["tested"]) - marked) == [], "no test is marked with these requirements"
    unknown = {number: sorted(files) for number, files in _marked().items() if number not in _REQUIREMENTS["tested"]}
    assert unknown == {}, "these are not requirements, or requirements.yaml says that they have no test"


def test_every_number_is_listed_once_in_order_with_a_description() -> None:
    numbers = re.findall(r"^  ([A-Z]-\d+): \S+", _LIST, re.MULTILINE)
    assert len(numbers) == len(set(numbers)) == sum(map(len, _REQUIREMENTS.values()))
    assert set(_REQUIREMENTS) == {"tested", "otherwise"}
    for part in _REQUIREMENTS.values():
        assert list(part) == sorted(part)
    # A number mentioned in a reason must exist.
    named = re.findall(r"\b[A-Z]-\d+\b", " ".join(_REQUIREMENTS["otherwise"].values()))
    assert set(named) <= set(numbers)


def test_every_file_named_in_the_list_exists() -> None:
    named = re.findall(r"\b[\w/]+\.(?:py|md)\b", _LIST)
    assert len(named) >= 5
    roots = (_HERE, _HERE.parent, _HERE.parent / "apex_pipeline")
    assert [name for name in named if not any((root / name).is_file() for root in roots)] == []


@pytest.mark.req("A-155")
def test_all_eight_properties_have_a_test() -> None:
    assert {number for _, _, number in _properties()} == set(range(1, 9))


@pytest.mark.req("A-155")
@pytest.mark.parametrize(("path", "name"), [(path, name) for path, name, _ in _properties()])
def test_a_property_is_tested_with_at_least_a_hundred_examples(path: Path, name: str) -> None:
    module = importlib.import_module(".".join(path.relative_to(_HERE.parent).with_suffix("").parts))
    function: Any = getattr(module, name)
    assert function.is_hypothesis_test
    # Hypothesis stores the settings on the function and has no public way to read them.
    assert vars(function)["_hypothesis_internal_use_settings"].max_examples >= _MIN_EXAMPLES
