"""The style that all pages share: colours, light and dark, tables that scroll by themselves on a phone."""

from functools import cache
from importlib import resources


@cache
def page_style() -> str:
    """Return the style sheet."""
    return resources.files("apex_pipeline.reports").joinpath("assets", "page.css").read_text(encoding="utf-8")
