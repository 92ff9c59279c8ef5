"""The columns of raw channels: the same in every session, and never one for two quantities."""

from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.sources.gr_cup.telemetry.channels import PUBLISHED_NAMES, columns_of, is_known

_NAMES = (
    "oil temp",
    "oil-temp",
    "Oil_Temp",
    "OIL TEMP",
    "Max Long",
    "VER",
    "Zebrowski",
    "tank",
    "speed",
    "Speed",
    "!!",
)


def test_the_channels_of_the_cars_have_their_columns() -> None:
    assert columns_of(PUBLISHED_NAMES) == PUBLISHED_NAMES


def test_both_spellings_of_a_known_channel_share_its_column() -> None:
    assert columns_of(["Speed", "speed"]) == {"Speed": "speed_kph", "speed": "speed_kph"}


def test_of_names_that_differ_only_in_punctuation_the_one_written_like_a_column_keeps_it() -> None:
    columns = columns_of(["oil temp", "oil-temp", "Oil_Temp"])
    assert columns["Oil_Temp"] == "Oil_Temp"
    assert columns["oil temp"].startswith("oil_temp_")
    assert columns["oil-temp"].startswith("oil_temp_")


@given(st.sets(st.text(max_size=12) | st.sampled_from(_NAMES), max_size=12))
def test_two_unknown_channels_never_share_a_column(channels: set[str]) -> None:
    unknown = {name for name in channels if not is_known(name)}
    columns = columns_of(channels)
    assert len({columns[name].lower() for name in unknown}) == len(unknown)
    assert {columns[name] for name in unknown}.isdisjoint(PUBLISHED_NAMES.values())


@given(st.sets(st.sampled_from(["Max Long", "VER", "Zebrowski", "tank", "王伟", "13"]), min_size=1))
def test_a_channel_without_a_shown_name_has_the_same_column_whatever_else_is_sent(channels: set[str]) -> None:
    alone = {name: columns_of([name])[name] for name in channels}
    assert columns_of([*channels, "speed", "Oil Temp"]).items() >= alone.items()
    assert not any(name in column for name, column in alone.items())


def test_channels_whose_codes_are_equal_have_a_column_each() -> None:
    # The SHA-256 of both starts with the same six digits.
    columns = columns_of(["Zebrowski 8871", "Zebrowski 8940"])
    assert len(set(columns.values())) == 2
    assert len({columns_of([name])[name] for name in columns}) == 1
