"""The report in a browser: nothing is cut at any width, nothing leaves the file, curves zoom by mouse and touch."""

import os
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest

from apex_pipeline.catalog import open_catalog
from apex_pipeline.reports.index_page import IndexFilter, index_page
from apex_pipeline.reports.index_tables import index_tables
from apex_pipeline.reports.session_report import facts_of, render_report
from apex_pipeline.reports.session_report.traces import Traces
from apex_pipeline_tests.reports.session_report.conftest import report
from apex_pipeline_tests.servers.chromium import Page, Scheme, chromium_page

# The browser takes 1 s to start and a page 0.3 s.
pytestmark = pytest.mark.slow

# Where the variable is set, as in the workflow, screenshots are kept for people to look at.
_SCREENSHOTS = Path(os.environ["APEX_TEST_SCREENSHOTS"]) if "APEX_TEST_SCREENSHOTS" in os.environ else None

# Texts that stick out of the page or of what cuts them off, and names beside a chart that lie on each other.
_CUT = """
[...document.querySelectorAll("h1, h2, h3, p, li, figcaption, summary, button, svg text")]
  .filter(one => !one.closest("details:not([open])") || one.tagName === "SUMMARY")
  .map(one => [one.textContent, one.getBoundingClientRect()])
  .filter(([words, box]) => box.width > 0 && (box.left < -0.5 || box.right > innerWidth + 0.5))
  .map(([words, box]) => `${words}: ${box.left} to ${box.right}`)
"""
_OVERLAPPING = """
[...document.querySelectorAll(".plot > svg")].flatMap(chart => {
  const boxes = [...chart.querySelectorAll("text")].map(one => [one.textContent, one.getBoundingClientRect()]);
  return boxes.flatMap(([a, x], at) => boxes.slice(at + 1)
    .filter(([b, y]) => x.right - 1 > y.left && y.right - 1 > x.left && x.bottom - 3 > y.top && y.bottom - 3 > x.top)
    .map(([b]) => `${a} on ${b}`));
})
"""
_WIDTHS = "[document.documentElement.scrollWidth, document.documentElement.clientWidth, innerWidth]"
_RANGES = "reportCharts().map(chart => [chart.scales.x.min, chart.scales.x.max].map(Math.round))"
# The middle of the first chart, scrolled into the window.
_PLACE = """
(() => { const over = reportCharts()[0].over; over.scrollIntoView({ block: "center" });
  const box = over.getBoundingClientRect(); return [box.left, box.top, box.width, box.height]; })()
"""
# What a reader sees of text on what is behind it: at least 4.5 to 1 (WCAG 2.1, AA).
_CONTRAST = """
(() => {
  const light = colour => { const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map(value => value / 255)
    .map(value => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = getComputedStyle(document.querySelector("section")).backgroundColor;
  const ratio = one => { const style = getComputedStyle(one);
    const [a, b] = [light(one.closest("svg") ? style.fill : style.color), light(behind)].sort();
    return (b + 0.05) / (a + 0.05); };
  return [...document.querySelectorAll("section p, section td, section th, .plot text, section a, summary")]
    .map(one => [one.textContent, ratio(one)]).filter(([, found]) => !(found >= 4.5));
})()
"""


# The distances at which the first chart has pixels with a colour: curves have one, the grid is grey.
_COLOURED_M = """
(() => {
  const chart = reportCharts()[0];
  const { left, top, width, height } = chart.bbox;
  const { data } = chart.ctx.getImageData(left, top, width, height);
  const isColoured = at => data[at + 3] > 0 &&
    Math.max(data[at], data[at + 1], data[at + 2]) - Math.min(data[at], data[at + 1], data[at + 2]) > 60;
  const columns = Array.from({ length: width }, (_, x) => x)
    .filter(x => Array.from({ length: height }, (_, y) => 4 * (y * width + x)).some(isColoured));
  return columns.map(x => chart.posToVal(left + x, "x", true));
})()
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Generator[Page]:
    with chromium_page(tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.fixture(autouse=True)
def nothing_is_asked_for_and_nothing_is_wrong(browser: Page) -> Generator[None]:
    browser.requests.clear()
    browser.problems.clear()
    yield
    assert browser.requests == []
    assert browser.problems == []


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, driven_lake: Path, odd_lake: Path) -> dict[str, Path]:
    """Return reports as files."""
    folder = tmp_path_factory.mktemp("reports")
    sessions = {
        "harbor": (driven_lake, "harbor_street_circuit", "R1"),
        "mesa": (driven_lake, "mesa_verde_raceway", "R1"),
    }
    names = ("31_cars", "60_cars", "one_car", "one_lap", "no_laps", "no_official", "hostile")
    sessions |= {name: (odd_lake, "mesa_verde_raceway", name) for name in names}
    index = index_page(index_tables(open_catalog(odd_lake)), IndexFilter(), "20250615T184000Z-0123abcd")
    (folder / "index.html").write_text(index, encoding="utf-8")
    for name, session in sessions.items():
        (folder / f"{name}.html").write_text(report(*session), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in (*sessions, "index")}


_ALL = ("harbor", "mesa", "31_cars", "60_cars", "one_car", "one_lap", "no_laps", "no_official", "hostile", "index")


@pytest.mark.parametrize("width", [390, 768, 1280])
@pytest.mark.parametrize("name", _ALL)
def test_nothing_is_cut_and_nothing_overlaps(browser: Page, pages: dict[str, Path], name: str, width: int) -> None:
    browser.open(pages[name], width)
    assert browser.value(_WIDTHS) == [width, width, width]
    assert browser.value(_CUT) == []
    assert browser.value(_OVERLAPPING) == []


# Of each table that is wider than its place, scrolled to its end: where its first column is, and its shadows.
_SCROLLED = """
[...document.querySelectorAll(".scroll")].filter(one => one.scrollWidth > one.clientWidth + 1).map(one => {
  one.scrollLeft = one.scrollWidth;
  const moved = one.querySelector("tbody th").getBoundingClientRect().left - one.getBoundingClientRect().left;
  return [Math.round(moved), getComputedStyle(one).backgroundAttachment];
})
"""


def test_a_table_that_is_too_wide_says_so_and_keeps_its_first_column(browser: Page, pages: dict[str, Path]) -> None:
    for name in ("31_cars", "index"):
        browser.open(pages[name], 390)
        tables = browser.value(_SCROLLED)
        assert tables
        assert tables == [[0, "local, local, scroll, scroll"]] * len(tables)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_text_is_readable_in_light_and_dark(
    browser: Page, pages: dict[str, Path], scheme: Scheme, width: int, tmp_path: Path
) -> None:
    for name in ("harbor", "31_cars", "index"):
        browser.open(pages[name], width, scheme)
        assert browser.value(_CONTRAST) == []
        kept = _SCREENSHOTS or tmp_path
        kept.mkdir(parents=True, exist_ok=True)
        browser.screenshot(kept / f"report-{name}-{width}-{scheme}.png")


def test_a_drag_zooms_every_chart_and_a_double_click_shows_the_whole_lap(browser: Page, pages: dict[str, Path]) -> None:
    browser.open(pages["harbor"], 1280)
    whole = browser.value(_RANGES)
    assert len(whole) >= 3
    left, top, width, height = browser.value(_PLACE)
    browser.drag((left + width * 0.25, top + height / 2), (left + width * 0.5, top + height / 2))
    zoomed = browser.value(_RANGES)
    assert len({tuple(one) for one in zoomed}) == 1
    assert zoomed[0] == pytest.approx([whole[0][1] * 0.25, whole[0][1] * 0.5], abs=10)
    browser.value('document.querySelector("[data-zoom=\\"\\"]").click()')
    assert browser.value(_RANGES) == whole
    browser.value('document.querySelector("[data-zoom=\\"0.5\\"]").click()')
    assert browser.value(_RANGES)[0] == pytest.approx([whole[0][1] * 0.25, whole[0][1] * 0.75], abs=2)


def test_two_fingers_zoom_every_chart(browser: Page, pages: dict[str, Path]) -> None:
    browser.open(pages["harbor"], 390)
    whole = browser.value(_RANGES)
    left, top, width, height = browser.value(_PLACE)
    y = top + height / 2
    near, far = (left + width * 0.4, left + width * 0.6), (left + width * 0.2, left + width * 0.8)
    browser.touch([(x, y) for x in near], [(x, y) for x in far])
    browser.value("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")
    zoomed = browser.value(_RANGES)
    assert len({tuple(one) for one in zoomed}) == 1
    # Three times as far apart: a third of the lap, around its middle.
    assert zoomed[0] == pytest.approx([whole[0][1] / 3, whole[0][1] * 2 / 3], abs=30)


def test_one_finger_moves_the_cursor_of_every_chart(browser: Page, pages: dict[str, Path]) -> None:
    browser.open(pages["harbor"], 390)
    left, top, width, height = browser.value(_PLACE)
    y = top + height / 2
    browser.touch([(left + width * 0.3, y)], [(left + width * 0.4, y)], [(left + width * 0.5, y)])
    browser.value("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")
    places = browser.value("reportCharts().map(chart => chart.cursor.idx)")
    assert len(set(places)) == 1
    assert places[0] > 0


def test_cursors_are_in_step_and_the_place_is_on_the_map(browser: Page, pages: dict[str, Path]) -> None:
    browser.open(pages["harbor"], 1280)
    assert browser.value('getComputedStyle(document.getElementById("here")).display') == "none"
    left, top, width, height = browser.value(_PLACE)
    browser.ask("Input.dispatchMouseEvent", type="mouseMoved", x=left + width / 2, y=top + height / 2)
    browser.value("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")
    places = browser.value("reportCharts().map(chart => chart.cursor.idx)")
    assert len(set(places)) == 1
    assert places[0] > 0
    assert browser.value('getComputedStyle(document.getElementById("here")).display') != "none"


def test_a_hole_is_a_gap_in_the_curve(browser: Page, driven_lake: Path, tmp_path: Path) -> None:
    facts = facts_of(open_catalog(driven_lake).session("harbor_street_circuit", "R1"))
    assert isinstance(facts.traces, Traces)
    for lap in facts.traces.on_distance:
        lap.channels["speed_kph"][(lap.distance_m > 1000) & (lap.distance_m < 1400)] = np.nan
    page = tmp_path / "hole.html"
    page.write_text(render_report(facts), encoding="utf-8")
    browser.open(page, 1280)
    coloured = browser.value(_COLOURED_M)
    assert [at for at in coloured if 1010 < at < 1390] == []
    assert len([at for at in coloured if 500 < at < 880]) > 90


def test_a_narrow_window_made_wide_redraws_the_curves(browser: Page, pages: dict[str, Path]) -> None:
    browser.open(pages["harbor"], 390)
    assert browser.value("reportCharts().every(chart => chart.width <= 358)")
    browser.ask("Emulation.setDeviceMetricsOverride", width=1280, height=900, deviceScaleFactor=1, mobile=False)
    browser.value("new Promise(done => setTimeout(done, 200))")
    assert browser.value("reportCharts().every(chart => chart.width > 900)")
    assert browser.value(_WIDTHS) == [1280, 1280, 1280]


def test_it_prints_in_dark_ink_on_white_without_what_only_a_screen_needs(browser: Page, pages: dict[str, Path]) -> None:
    browser.open(pages["harbor"], 1280, "dark")
    assert browser.print().startswith(b"%PDF")
    browser.ask("Emulation.setEmulatedMedia", media="print", features=[])
    browser.value("dispatchEvent(new Event('beforeprint'))")
    assert browser.value("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert browser.value("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert browser.value("reportCharts().every(chart => chart.width === 680)")
    browser.value("dispatchEvent(new Event('afterprint'))")
    browser.ask("Emulation.setEmulatedMedia", media="", features=[])
