"""Generates ``docs/reference.md`` from the docstrings of the public names, so the two always agree.

``make docs`` writes the page, and a test compares it with the docstrings.
"""

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import apex_pipeline
from apex_pipeline.catalog.lap_distance import LapComparison

_OPENING = """# Reference

Generated from the docstrings of `apex_pipeline` by `make docs`; change it there. [python.md](python.md) has examples.
"""
# Made by methods of the public names.
_RETURNED = (LapComparison,)
_SECTIONS = ("Args:", "Attributes:", "Returns:", "Raises:")
_ROLE = re.compile(r":\w+:`~?([^`]+)`")
# `<`, `|` and `*` of annotations and texts mean something in Markdown; code does not.
_ENTRY = re.compile(r"(\w+): (.*)", re.DOTALL)


def reference() -> str:
    """Return the page as Markdown."""
    public = [getattr(apex_pipeline, name) for name in apex_pipeline.__all__ if name != "__version__"]
    functions = [one for one in public if not inspect.isclass(one)]
    classes = [one for one in public if inspect.isclass(one)]
    blocks = [_OPENING]
    blocks += [_block("##", f"{one.__module__.split('.')[0]}.{one.__name__}", one) for one in functions]
    for one in (*classes, *_RETURNED):
        blocks.append(_block("##", one.__name__, one, has_signature=False))
        blocks += [_block("###", f"{one.__name__}.{name}", member) for name, member in _members(one)]
    return "\n".join(blocks)


def _members(one: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods and properties of a class, inherited ones too, in the order of the source."""
    seen: set[str] = set()
    for base in reversed(one.__mro__):
        if base.__module__.split(".")[0] != apex_pipeline.__name__:
            continue
        for name, member in vars(base).items():
            is_shown = inspect.isfunction(member) or isinstance(member, property | cached_property)
            if is_shown and not name.startswith("_") and name not in seen:
                seen.add(name)
                yield name, inspect.getattr_static(one, name)


def _block(level: str, title: str, member: Any, *, has_signature: bool = True) -> str:  # noqa: ANN401  -- any member
    """Return the heading, the signature and the docstring of a name."""
    lines = [f"{level} {title}", ""]
    if has_signature and inspect.isfunction(member):
        lines += ["```python", _signature(title, member), "```", ""]
    return "\n".join([*lines, *_as_markdown(inspect.getdoc(member) or "")])


def _signature(title: str, function: Callable[..., Any]) -> str:
    name, parameters = title.rsplit(".", 1)[-1], list(inspect.signature(function).parameters.values())
    shown = [str(one.replace(annotation=one.empty)) for one in parameters if one.name != "self"]
    first_named = next((at for at, one in enumerate(parameters) if one.kind is one.KEYWORD_ONLY), None)
    if first_named is not None:
        shown.insert(len(shown) - (len(parameters) - first_named), "*")
    return f"{name}({', '.join(shown)})"


def _as_markdown(text: str) -> Iterator[str]:
    """Yield the lines of a docstring as Markdown: its sections as lists, its code as code."""
    plain = _ROLE.sub(r"`\1`", text).replace("``", "`")
    heading, entries = "", list[str]()
    for line in [*plain.splitlines(), ""]:
        if line.strip() in _SECTIONS and not line.startswith(" "):
            yield from _section(heading, entries)
            heading, entries = line.strip(), []
        elif not heading:
            yield line
        elif line.startswith(" " * 8) and entries:
            entries[-1] += f" {line.strip()}"
        elif line.strip():
            entries.append(line.strip())
    yield from _section(heading, entries)


def _section(heading: str, entries: list[str]) -> Iterator[str]:
    if not heading:
        return
    yield from (f"**{heading.removesuffix(':')}**", "")
    if heading == "Returns:":
        yield from (" ".join(entries), "")
        return
    for entry in entries:
        found = _ENTRY.fullmatch(entry)
        yield f"- `{found[1]}`: {found[2]}" if found else f"- {entry}"
    yield ""


if __name__ == "__main__":
    sys.stdout.write(reference())
