"""The pictures in the documentation exist, are small, and are all used."""

import re
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

_DOCS = Path(__file__).resolve().parents[1] / "docs"
# A page of ten pictures should open within seconds on a phone.
_MOST_BYTES = 150_000


def test_every_picture_is_there_is_small_and_is_used() -> None:
    shown = {
        (page.parent / target).resolve()
        for page in _DOCS.rglob("*.md")
        for target in re.findall(r"!\[[^\]]+\]\(([^)\s]+\.(?:png|svg))\)", page.read_text(encoding="utf-8"))
    }
    assert shown == {*_DOCS.rglob("*.png"), *_DOCS.rglob("*.svg")} != set[Path]()
    assert {picture.name for picture in shown if picture.stat().st_size > _MOST_BYTES} == set()


def test_the_picture_of_the_layers_is_that_of_the_import_rules() -> None:
    project: Any = tomllib.loads((_DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    drawn = ET.fromstring((_DOCS / "layers.svg").read_text(encoding="utf-8"))  # noqa: S314  -- our own file
    assert [text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")] == layers


def test_every_drawing_has_a_title_and_asks_no_other_host() -> None:
    for path in _DOCS.rglob("*.svg"):
        text = path.read_text(encoding="utf-8")
        assert "<title" in text
        assert set(re.findall(r"https?://[^\"]+", text)) == {"http://www.w3.org/2000/svg"}
