"""What looks like an event inside of a comment, a CDATA section or an instruction is none, however large these are."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apex_pipeline.sources.events.model import EventLimits
from apex_pipeline_tests.sources.events.reading import payloads, read, reasons

_HIDDEN = "<EVENT id='hidden'/>"
_SECTIONS = {"comment": ("<!--", "-->"), "CDATA": ("<![CDATA[", "]]>"), "instruction": ("<?p ", "?>")}
# Larger than the window, which has a megabyte per read and the largest event of one.
_FAR = "y" * 3_000_000


def _section(kind: str, inside: str) -> str:
    before, after = _SECTIONS[kind]
    return f"{before}{inside}{after}"


def _encoded(text: str, encoding: str) -> bytes:
    return f"\ufeff{text}".encode(encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
@pytest.mark.parametrize("kind", _SECTIONS)
@pytest.mark.parametrize(
    ("place", "rejected"),
    [
        ("<EVENTS><EVENT id='1'/>{}<EVENT id='2'/></EVENTS>", {"comment": 0, "CDATA": 1, "instruction": 0}),
        ("<EVENTS><EVENT id='1'/><EVENT>{}</EVENT><EVENT id='2'/></EVENTS>", dict.fromkeys(_SECTIONS, 1)),
        ("<EVENTS><EVENT id='1'/><m>{}</m><EVENT id='2'/></EVENTS>", {"comment": 0, "CDATA": 1, "instruction": 0}),
        ("<EVENT id='1'/>\n{}\n<EVENT id='2'/>", {"comment": 0, "CDATA": 1, "instruction": 0}),
    ],
    ids=["between events", "in an event", "in the envelope", "without an envelope"],
)
def test_a_section_larger_than_the_window_hides_its_events(
    place: str, rejected: dict[str, int], kind: str, encoding: str
) -> None:
    for inside in (_HIDDEN + _FAR, _FAR + _HIDDEN, f"</EVENT>{_HIDDEN}{_FAR}{_HIDDEN}<EVENT>"):
        items = read(_encoded(place.format(_section(kind, inside)), encoding))
        assert payloads(items) == [{"@id": "1"}, {"@id": "2"}]
        assert len(reasons(items)) == rejected[kind]


def test_a_document_whose_only_event_is_hidden_has_none() -> None:
    items = read(f"<doc><![CDATA[{_FAR}{_HIDDEN}]]></doc>".encode())
    assert (payloads(items), reasons(items)) == ([], ["too_large"])


def test_the_end_of_an_element_is_not_looked_for_in_a_section() -> None:
    items = read(f"<EVENTS><m><![CDATA[</m>{_HIDDEN}]]></m><EVENT id='1'/></EVENTS>".encode())
    assert (payloads(items), reasons(items)) == ([{"@id": "1"}], ["outside_events"])


def test_a_bad_event_gives_no_event_out_of_its_sections() -> None:
    items = read(f"<EVENTS><EVENT><a></b><!--{_HIDDEN}--></EVENT><EVENT id='1'/></EVENTS>".encode())
    assert (payloads(items), reasons(items)) == ([{"@id": "1"}], ["malformed_xml"])


@pytest.mark.parametrize("opened", ["<!--", "<![CDATA[", "<?p ", "<EVENT><![CDATA["])
def test_a_section_that_is_never_closed_hides_nothing_beyond_the_window(opened: str) -> None:
    rest = "<EVENT id='1'/>" + " " * 3_000_000 + "<EVENT id='2'/></EVENTS>"
    items = read(f"<EVENTS>{opened}{rest}".encode())
    assert payloads(items) == [{"@id": "1"}, {"@id": "2"}]
    assert len(reasons(items)) == 1


def test_wide_text_is_passed_without_splitting_a_character() -> None:
    rest = "\u20ac\U0001f600" * 400_000
    items = read(_encoded(f"<EVENTS><EVENT>{rest}<EVENT id='1'/></EVENTS>", "utf-16-be"))
    assert (payloads(items), reasons(items)) == ([{"@id": "1"}], ["too_large"])
    assert payloads(read(_encoded(f"{rest}<EVENT id='1'/>", "utf-16-be"))) == [{"@id": "1"}]


@pytest.mark.parametrize("kind", _SECTIONS)
@pytest.mark.parametrize("is_closed", [True, False])
def test_tens_of_thousands_of_sections_take_seconds(kind: str, *, is_closed: bool) -> None:
    before, after = _SECTIONS[kind]
    many = (before + after * is_closed) * 50_000
    started_s = time.process_time()
    items = read(f"<EVENTS>{many}<EVENT id='1'/></EVENTS>".encode())
    # Under a second each; searching for the event anew behind every section took minutes.
    assert time.process_time() - started_s < 8
    assert payloads(items) == [{"@id": "1"}]


_INSIDE = st.lists(st.sampled_from([_HIDDEN, "</EVENT>", "<EVENT>", "</EVENTS>", "</m>", "y" * 90, " "]), max_size=6)
_ANY_SECTION = st.builds(_section, st.sampled_from(list(_SECTIONS)), _INSIDE.map("".join))
_PARTS = st.one_of(
    st.just("<EVENT id='seen'/>"),
    _ANY_SECTION,
    _ANY_SECTION.map(lambda section: f"<EVENT id='seen'>{section}</EVENT>"),
    _ANY_SECTION.map(lambda section: f"<m>{section}</m>"),
)


@given(st.lists(_PARTS, max_size=8), st.sampled_from(["utf-8", "utf-16-le"]), st.integers(40, 400))
@settings(max_examples=150)
def test_events_in_sections_are_never_events_wherever_the_reads_end(
    parts: list[str], encoding: str, block_bytes: int
) -> None:
    limit = 100
    parts = ["<EVENT id='seen'/>", *parts]  # without any, the document would be one event
    content = _encoded(f"<EVENTS>{''.join(parts)}</EVENTS>", encoding)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("apex_pipeline.sources.events.window._BLOCK_BYTES", block_bytes)
        items = read(content, EventLimits(event_bytes=limit))
    found = [node["@id"] for node in payloads(items)]
    assert found == ["seen"] * sum(part.startswith("<EVENT") and len(part) <= limit for part in parts)
    assert reasons(items).count("too_large") == sum(part.startswith("<EVENT") and len(part) > limit for part in parts)
