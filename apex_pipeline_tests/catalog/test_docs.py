"""The reference is generated from the docstrings and has every public name."""

from pathlib import Path

import pytest

import apex_pipeline
from apex_pipeline.catalog.docs import reference

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference.md"


def test_the_page_is_that_of_the_docstrings() -> None:
    assert _PAGE.read_text(encoding="utf-8") == reference(), "run `make docs`"


@pytest.mark.parametrize("name", [name for name in apex_pipeline.__all__ if name != "__version__"])
def test_every_public_name_has_a_section(name: str) -> None:
    headings = [line.split()[-1].split(".")[-1] for line in reference().splitlines() if line.startswith("## ")]
    assert name in headings


def test_docstrings_become_markdown() -> None:
    page = reference()
    assert "### RaceSession.best_lap\n\n```python\nbest_lap(*, car=None)\n```\n" in page
    assert "- `NotPublishedError`: There is no valid lap with a time.\n" in page
    assert "**Returns**\n\nThe samples; no rows where there are none, and `telemetry_note` says why.\n" in page
    for leftover in ("``", ":class:", ":meth:", ":attr:", "Args:", "Raises:"):
        assert leftover not in page.replace("```", "")
