"""The report as a file: what it says of sessions of every kind, what it may load, how large it is."""

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from apex_pipeline.catalog import open_catalog
from apex_pipeline.reports.session_report import facts_of, render_report
from apex_pipeline_tests.reports.session_report.conftest import ARABIC, report

_PARTS = ["result", "order", "gaps", "bests", "traces", "map", "weather", "quality"]
_SESSIONS = ["31_cars", "60_cars", "one_car", "one_lap", "no_laps", "no_official", "no_weather", "hostile"]
_MESA = "mesa_verde_raceway"
_VOID = {"meta", "link", "circle", "path", "rect"}


class _Reader(HTMLParser):
    """Collects elements and text, and checks that each element is closed where it should be."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in {"script", "style"}:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.mark.parametrize("session", _SESSIONS)
def test_every_report_has_all_parts_in_order_and_is_well_formed(odd_lake: Path, session: str) -> None:
    read = _Reader(report(odd_lake, _MESA, session))
    assert [of["id"] for tag, of in read.elements if tag == "section"] == _PARTS
    titles = [tag for tag, _ in read.elements if tag == "title"]
    assert len(titles) == 1 + sum(tag == "g" for tag, _ in read.elements) + sum(
        of.get("role") == "img" for tag, of in read.elements if tag == "svg"
    )


@pytest.mark.parametrize("session", _SESSIONS)
def test_nothing_is_loaded_and_no_element_has_code(odd_lake: Path, session: str) -> None:
    for tag, attributes in _Reader(report(odd_lake, _MESA, session)).elements:
        assert not [name for name in attributes if name.startswith("on") or name in {"style", "srcdoc", "src"}]
        address = attributes.get("href") or "#"
        assert address.startswith("#") or (tag, address) == ("link", "data:,")


def test_the_browser_may_run_and_style_only_what_the_file_holds(driven_lake: Path) -> None:
    page = report(driven_lake, "harbor_street_circuit", "R1")
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy[1].split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    for rule, pattern in (("script-src", r"<script>(.*?)</script>"), ("style-src", r"<style>(.*?)</style>")):
        held = re.findall(pattern, page, re.DOTALL)
        assert rules[rule].split() == [
            f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'" for one in held
        ]
    # A report without curves needs no script, so none may run.
    assert "unsafe" not in policy[1]


def test_a_report_without_curves_has_no_script(odd_lake: Path) -> None:
    page = report(odd_lake, _MESA, "31_cars")
    assert "<script" not in page
    assert "script-src 'none'" in page


@pytest.mark.parametrize(("session", "most"), [("31_cars", 400_000), ("60_cars", 400_000), ("day", 400_000)])
def test_a_report_is_small(odd_lake: Path, session: str, most: int) -> None:
    assert len(report(odd_lake, _MESA, session).encode()) <= most


def test_the_same_snapshot_gives_the_same_bytes(driven_lake: Path) -> None:
    assert report(driven_lake, "harbor_street_circuit", "R1") == report(driven_lake, "harbor_street_circuit", "R1")


def test_the_result_names_penalties_and_the_winner_on_the_road(odd_lake: Path) -> None:
    text = _Reader(report(odd_lake, _MESA, "31_cars")).text
    assert "The result changes the time of 2 cars:" in text
    assert "#1 +30.000 s" in text
    assert re.search(r"The winner on the road, #1, is in place \d+ of the result\.", text)
    # Two cars with the printed number 3 are told apart.
    assert "#3 (1)" in text
    assert "#3 (2)" in text


def test_the_best_sectors_are_said_to_be_slower_where_sectors_are_missing(odd_lake: Path) -> None:
    text = _Reader(report(odd_lake, _MESA, "31_cars")).text
    assert re.search(r"\d+ laps of \d+ lack sectors: the best sectors may be slower", text)


@pytest.mark.parametrize(
    ("session", "sentences"),
    [
        (
            "no_laps",
            ["There is no classification", "No car has a valid lap with a time", "The order on the road is not"],
        ),
        ("no_laps", ["No gap is known", "No car has a lap that counts", "None of the session's files has telemetry"]),
        ("no_laps", ["None of the session's files has weather", "The session has no quality scores"]),
        ("no_official", ["There is no classification", "There is no official timing", "No lap has sector times"]),
        ("31_cars", ["None of the session's files has telemetry", "The length of mesa_verde_raceway is not known"]),
        ("no_weather", ["None of the session's files has weather", "The session has no quality scores"]),
    ],
)
def test_a_part_without_data_says_why(odd_lake: Path, session: str, sentences: list[str]) -> None:
    text = _Reader(report(odd_lake, _MESA, session)).text
    assert [sentence for sentence in sentences if sentence not in text] == []


def test_what_files_and_notes_say_is_text_and_never_markup(odd_lake: Path) -> None:
    page = report(odd_lake, _MESA, "hostile")
    read = _Reader(page)
    assert "<script" not in page
    assert "<img" not in page
    assert '</p><script>alert("note")</script>&lt;' in read.text
    assert "#<img src=x>" in read.text


def test_names_of_tracks_may_be_in_any_script(odd_lake: Path) -> None:
    facts = facts_of(open_catalog(odd_lake).session(_MESA, "one_car"))
    read = _Reader(render_report(replace(facts, track_name=ARABIC)))
    assert ARABIC in read.text
    assert render_report(replace(facts, track_name="\x00\x1b\ud800")).encode()


def test_a_long_race_has_a_column_for_some_laps_only(odd_lake: Path) -> None:
    assert "Position at the end of each lap; every 3 laps" in _Reader(report(odd_lake, _MESA, "day")).text
