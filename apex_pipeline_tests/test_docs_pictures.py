"""The pictures in the documentation exist, are small, and are all used."""

import re
from pathlib import Path

_DOCS = Path(__file__).resolve().parents[1] / "docs"
# A page of ten pictures should open within seconds on a phone.
_MOST_BYTES = 150_000


def test_every_picture_is_there_is_small_and_is_used() -> None:
    shown = {
        (page.parent / target).resolve()
        for page in _DOCS.rglob("*.md")
        for target in re.findall(r"!\[[^\]]+\]\(([^)\s]+\.png)\)", page.read_text(encoding="utf-8"))
    }
    assert shown == set(_DOCS.rglob("*.png")) != set[Path]()
    assert {picture.name for picture in shown if picture.stat().st_size > _MOST_BYTES} == set()
