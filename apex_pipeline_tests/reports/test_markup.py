"""HTML is written so that text stays text."""

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.reports.markup import Column, name, paragraph, table, text


class _Texts(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.found = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.found += data


@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"]), max_size=60))
def test_any_text_comes_back_as_it_was(words: str) -> None:
    read = _Texts(f"<p>{text(words)}</p>")
    assert read.tags == ["p"]
    assert read.found == words


@given(st.text(max_size=40))
def test_any_text_at_all_can_be_written_into_a_file(words: str) -> None:
    text(words).encode()
    assert _Texts(name(words)).tags == ["bdi"]


def test_a_table_has_a_caption_and_heads_its_columns_and_rows() -> None:
    found = table("Laps & cars", [Column("Car", is_text=True), Column("Time, s")], [["#1", "97.1"]])
    assert '<th scope="col" class="t">Car</th><th scope="col">Time, s</th>' in found
    assert '<th scope="row" class="t">#1</th><td>97.1</td>' in found
    assert "<caption>Laps &amp; cars</caption>" in found


def test_no_sentence_is_no_paragraph() -> None:
    assert paragraph("") == ""
