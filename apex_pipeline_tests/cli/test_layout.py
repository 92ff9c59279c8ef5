"""Tables on a screen: whatever the cells hold, no line is wider than the screen and no value is cut or folded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from apex_pipeline.cli.layout import Column, Layout, arrange, measure, table_lines
from apex_pipeline.terminal import fit, printable

# Everything that strangers type into files: wide characters, combining ones, controls, escapes, directions, nothing.
_STRANGE = st.text(st.sampled_from("aZ09 _-/äß漢字👍́\x1b[31m\n\r\t\x00\x7f\x9b\u200b\u202e\u2028"), max_size=70)
_NUMBERS = st.floats(-1e6, 1e6).map(lambda number: f"{number:.3f}")


@st.composite
def _tables(draw: st.DrawFn) -> tuple[list[Column], list[tuple[str, ...]]]:
    count = draw(st.integers(1, 7))
    kinds = draw(st.lists(st.sampled_from(["text", "list", "number"]), min_size=count, max_size=count))
    names = draw(st.lists(st.text("abc_", min_size=1, max_size=20), min_size=count, max_size=count))
    rows = draw(st.integers(1, 4))
    cells = [[printable(draw(_NUMBERS if kind == "number" else _STRANGE)) for _ in range(rows)] for kind in kinds]
    columns = [
        measure(name, texts, is_number=kind == "number", is_list=kind == "list")
        for name, kind, texts in zip(names, kinds, cells, strict=True)
    ]
    return columns, list(zip(*cells, strict=True))


def _lines(columns: list[Column], rows: list[tuple[str, ...]], layout: Layout, width: int | None) -> list[str]:
    return [line.text for line in table_lines(columns, layout, lambda: (("", row) for row in rows), width)]


@given(_tables(), st.integers(20, 200), st.integers(0, 3), st.booleans())
def test_no_line_is_wider_than_the_screen_and_every_value_is_shown_whole_or_its_column_named(
    table: tuple[list[Column], list[tuple[str, ...]]],
    width: int,
    keys: int,
    may_drop: bool,  # noqa: FBT001  -- drawn by Hypothesis
) -> None:
    columns, rows = table
    layout = arrange(columns, width, keys=keys, may_drop=may_drop)
    lines = _lines(columns, rows, layout, width)
    assert max(map(cell_len, lines), default=0) <= width
    assert all(printable(line) == line for line in lines)
    shown = {place for block in layout.blocks for place in block} | {*layout.above, *layout.below}
    assert shown | {*layout.dropped} == set(range(len(columns)))
    assert not shown & {*layout.dropped}
    text = "\n".join(lines)
    joined = " ".join(text.split())
    for row in rows:
        for place in shown - {*layout.below}:
            assert row[place].strip() in text
        for place in {*layout.below}:
            assert " ".join(row[place].split()) in joined  # words are never cut, only continued on the next line


@given(_tables(), st.integers(20, 200))
def test_asked_for_columns_are_left_out_only_if_nothing_could_show_them(
    table: tuple[list[Column], list[tuple[str, ...]]], width: int
) -> None:
    columns, _ = table
    for place in arrange(columns, width, may_drop=False).dropped:
        column = columns[place]
        assert column.width > width - 4
        assert not column.may_go_below or column.word_width > width


@given(_tables())
def test_without_a_width_every_row_is_one_line_with_all_columns(
    table: tuple[list[Column], list[tuple[str, ...]]],
) -> None:
    columns, rows = table
    layout = arrange(columns, None)
    assert layout == Layout((tuple(range(len(columns))),), (), (), ())
    assert len(_lines(columns, rows, layout, None)) == len(rows) + 1


def test_columns_that_do_not_fit_are_dropped_from_the_end() -> None:
    columns = [Column(name, 10) for name in "abcdefg"]
    assert arrange(columns, 40) == Layout(((0, 1, 2),), (), (), (3, 4, 5, 6))


def test_asked_for_columns_continue_in_blocks_that_repeat_the_keys() -> None:
    columns = [Column(name, 10) for name in "abcdefg"]
    assert arrange(columns, 40, may_drop=False).blocks == ((0, 1, 2), (0, 3, 4), (0, 5, 6))


def test_a_wide_key_goes_above_its_row_and_a_sentence_below() -> None:
    slug, sentence = "a" * 60, "The unit had lost count, so its laps are counted by crossings of the line."
    rows = [(slug, "1", sentence)]
    columns = [
        measure(name, [rows[0][place]], is_number=name == "lap") for place, name in enumerate(("car", "lap", "why"))
    ]
    assert _lines(columns, rows, arrange(columns, 64), 64) == [
        *("    lap", slug, "      1"),
        *("    why: The unit had lost count, so its laps are counted by", "         crossings of the line."),
    ]


@given(st.text(max_size=200), st.integers(20, 120))
def test_messages_are_continued_between_words_and_lose_nothing(text: str, width: int) -> None:
    lines = list(fit(text, width))
    assert all(printable(line) == line for line in lines)
    for line in lines:
        assert cell_len(line) <= width or len(line.split()) <= 2  # a word that is wider, perhaps with its label
    wanted = "".join("".join(map(printable, text.split("\n"))).split())
    assert "".join("".join(lines).split()) == wanted


@pytest.mark.parametrize(
    ("text", "shown"),
    [("\x1b]0;title\x07", "\\x1b]0;title\\x07"), ("a\nb", "a\\nb"), ("\u202e", "\\u202e"), ("漢字 é", "漢字 é")],
)
def test_text_that_would_act_on_a_terminal_is_shown_as_escapes(text: str, shown: str) -> None:
    assert printable(text) == shown
