"""Puts the parts of a report in order, into one HTML file that loads nothing."""

from dataclasses import dataclass
from functools import cache
from importlib import resources

from apex_pipeline.lake.session_reports import sealed
from apex_pipeline.reports.content_policy import content_policy
from apex_pipeline.reports.markup import is_missing_something, paragraph, text
from apex_pipeline.reports.page_style import page_style
from apex_pipeline.reports.session_report.bests import bests_section
from apex_pipeline.reports.session_report.cars import CarKey, CarNames, car_key
from apex_pipeline.reports.session_report.facts import SessionFacts
from apex_pipeline.reports.session_report.gaps import gaps_section
from apex_pipeline.reports.session_report.line_chart import COLOURS
from apex_pipeline.reports.session_report.order import order_section
from apex_pipeline.reports.session_report.quality import quality_section
from apex_pipeline.reports.session_report.result import result_section
from apex_pipeline.reports.session_report.trace_section import trace_data, trace_section
from apex_pipeline.reports.session_report.track_drawing import map_section
from apex_pipeline.reports.session_report.weather import weather_section

_PARTS = {
    "result": "Result",
    "order": "Lap chart",
    "gaps": "Gaps",
    "bests": "Best laps",
    "traces": "Traces",
    "map": "Map",
    "weather": "Weather",
    "quality": "Quality",
}


@dataclass(frozen=True)
class Report:
    """The report of a session.

    Attributes:
        page: One HTML document, with the digest of its bytes in the last line.
        lacking: Names of the parts that say in a sentence what is missing.
    """

    page: str
    lacking: tuple[str, ...]


def render_report(facts: SessionFacts) -> str:
    """Return the report of a session as one HTML document; the same facts give the same bytes."""
    return compose_report(facts).page


def compose_report(facts: SessionFacts) -> Report:
    """Return the report of a session with what is known about it."""
    names = CarNames([*facts.chart, *facts.penalties, *facts.sectors, *facts.best])
    colours = _colours(facts)
    title = f"{facts.track_name}, {facts.session}"
    data = trace_data(facts, names)
    parts = (
        result_section(facts, names),
        order_section(facts, names, colours),
        gaps_section(facts, names, colours),
        bests_section(facts, names),
        trace_section(facts, names),
        map_section(facts, names),
        weather_section(facts),
        quality_section(facts, names),
    )
    links = " ".join(f'<a href="#{anchor}">{text(name)}</a>' for anchor, name in _PARTS.items())
    scripts = [_asset("uplot/uPlot.iife.min.js"), _asset("touch_zoom.js"), _asset("charts.js")] if data else []
    style = page_style() + _asset("report.css") + (_asset("uplot/uPlot.min.css") if data else "")
    numbers = f'<script type="application/json" id="data">{data}</script>' if data else ""
    page = (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">{content_policy(style, scripts)}'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<title>{text(title)}</title><style>{style}</style></head><body>"
        f"<header><h1><bdi>{text(facts.track_name)}</bdi> <bdi>{text(facts.session)}</bdi></h1>"
        f'{paragraph(about(facts), "m")}<nav aria-label="Parts">{links}</nav></header><main>{"".join(parts)}</main>'
        f"{numbers}{''.join(f'<script>{script}</script>' for script in scripts)}</body></html>\n"
    )
    lacking = tuple(name for name, part in zip(_PARTS.values(), parts, strict=True) if is_missing_something(part))
    return Report(sealed(page), lacking)


def about(facts: SessionFacts) -> str:
    """Return what a session is, and from which snapshot its facts are, in a line."""
    kind = f"{facts.session_type.capitalize()}: " if facts.session_type else ""
    times = [row["observed_utc"] for row in facts.weather]
    day = f", {min(times):%d %B %Y}" if times else ""
    return f"{kind}{facts.track}/{facts.session}{day}. From snapshot {facts.snapshot}."


def _colours(facts: SessionFacts) -> dict[CarKey, int]:
    """Return a colour for the first cars of the result, or of the fastest ones where there is none."""
    rows = [row for row in facts.penalties if row["position"] is not None] or facts.sectors
    return {car_key(row): colour for colour, row in enumerate(rows[:COLOURS])}


@cache
def _asset(path: str) -> str:
    return resources.files("apex_pipeline.reports.session_report").joinpath("assets", path).read_text(encoding="utf-8")
