"""Limits on raw files: defaults from the settings, and errors that name file, limit, setting and next step."""

import pytest

from apex_pipeline.errors import LimitExceededError, MalformedFileError
from apex_pipeline.settings import environment_variables, load_settings
from apex_pipeline.sources.limits import DEFAULT_LIMITS, Limits, RowBudget, format_bytes

_MB = 1_000_000


def test_the_default_limits_are_those_of_the_settings() -> None:
    assert Limits.from_settings(load_settings()) == DEFAULT_LIMITS


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("APEX_MAX_UNPACKED_SIZE", "2GB", Limits(unpacked_bytes=2_000 * _MB)),
        ("APEX_MAX_LAP_FILE_SIZE", "5MB", Limits(lap_file_bytes=5 * _MB)),
        ("APEX_MAX_COMPRESSION_RATIO", "1000", Limits(compression_ratio=1_000)),
        ("APEX_MAX_LINE_LENGTH", "64KiB", Limits(line_bytes=65_536)),
        ("APEX_MAX_CELL_LENGTH", "500", Limits(cell_characters=500)),
        ("APEX_MAX_COLUMNS", "5000", Limits(columns=5_000)),
        ("APEX_MAX_CARS", "20", Limits(cars=20)),
        ("APEX_MAX_NESTING", "3", Limits(nesting=3)),
    ],
)
def test_every_limit_is_a_setting(monkeypatch: pytest.MonkeyPatch, variable: str, text: str, expected: Limits) -> None:
    monkeypatch.setenv(variable, text)
    assert Limits.from_settings(load_settings()) == expected


@pytest.mark.parametrize(
    ("limits", "unpacked", "packed", "problem", "setting"),
    [
        (Limits(unpacked_bytes=9), 10, None, "is more than 9 bytes", "APEX_MAX_UNPACKED_SIZE"),
        (Limits(unpacked_bytes=9), 10, 5, "unpacks to more than 9 bytes", "APEX_MAX_UNPACKED_SIZE"),
        (Limits(lap_file_bytes=9).for_lap_file(), 10, None, "is more than 9 bytes", "APEX_MAX_LAP_FILE_SIZE"),
        (Limits(), 201 * _MB, _MB, "unpacks to more than 200 times its size", "APEX_MAX_COMPRESSION_RATIO"),
    ],
)
def test_a_file_that_is_too_large_is_refused_with_the_limit_and_its_setting(
    limits: Limits, unpacked: int, packed: int | None, problem: str, setting: str
) -> None:
    with pytest.raises(LimitExceededError) as caught:
        limits.check_size("spa/a.csv.gz", unpacked, packed)
    assert caught.value.problem == f"spa/a.csv.gz {problem} (limit {setting})."
    assert caught.value.hint == f"Check that it is race data; if so, raise {setting}."
    assert isinstance(caught.value, MalformedFileError)
    assert setting in environment_variables()


@pytest.mark.parametrize(
    ("largest", "packed"), [(100 * _MB, 1), (200 * _MB, _MB), (100_000 * _MB, None), (100_000 * _MB, 4_000 * _MB)]
)
def test_real_sizes_and_small_files_of_any_ratio_are_accepted(largest: int, packed: int | None) -> None:
    DEFAULT_LIMITS.check_size("spa/a.csv", largest, packed)
    with pytest.raises(LimitExceededError):
        DEFAULT_LIMITS.check_size("spa/a.csv", largest + 1, packed)


def test_too_many_columns_or_cars_are_refused() -> None:
    with pytest.raises(LimitExceededError, match=r"a\.csv has 1,001 columns, more than 1,000 .*APEX_MAX_COLUMNS"):
        DEFAULT_LIMITS.check_columns("a.csv", 1_001)
    with pytest.raises(LimitExceededError, match=r"a\.csv names more than 1,000 different cars .*APEX_MAX_CARS"):
        DEFAULT_LIMITS.check_cars("a.csv", 1_001)


def test_the_rows_of_several_files_share_a_budget() -> None:
    budget = RowBudget(memory_bytes=1_000, bytes_per_row=100)
    budget.take("a.csv", 4, 50)
    checkpoint = budget.checkpoint()
    with pytest.raises(LimitExceededError, match=r"b\.csv has more rows than fit in memory .*APEX_MEMORY_LIMIT"):
        budget.take("b.csv", 6, 0)
    # The rows of the refused file are dropped, so that a smaller one still fits.
    budget.rewind(checkpoint)
    budget.take("c.csv", 5, 50)


def test_rows_of_another_kind_fit_into_what_is_left() -> None:
    budget = RowBudget(memory_bytes=1_000, bytes_per_row=100)
    budget.take("official.csv", 4, 50)
    rest = budget.rest(bytes_per_row=50)
    rest.take("laps.csv", 10, 50)
    with pytest.raises(LimitExceededError, match="laps2"):
        rest.take("laps2.csv", 1, 0)
    # They are dropped again, and the official rows may take what they had.
    budget.take("official2.csv", 5, 0)


@pytest.mark.parametrize(
    ("size", "text"), [(800, "800 bytes"), (1_500, "1.5 kB"), (1_000_000, "1 MB"), (100_000_000_000, "100 GB")]
)
def test_sizes_are_written_with_a_unit(size: int, text: str) -> None:
    assert format_bytes(size) == text
