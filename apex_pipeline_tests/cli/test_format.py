"""Formatting of sizes, dollars and counts."""

import pytest

from apex_pipeline.cli.format import count, dollars, size


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (5_040_000, "5.0 MB"),
        (3_600_000_000, "3.6 GB"),
        (2 * 10**15, "2,000.0 TB"),
    ],
)
def test_sizes_are_shown_in_a_suitable_unit(number: int, written: str) -> None:
    assert size(number) == written


@pytest.mark.parametrize(
    ("usd", "written"),
    [(0, "$0.00"), (0.00005, "under $0.0001"), (0.004, "$0.0040"), (0.069, "$0.07"), (1234.5, "$1,234.50")],
)
def test_fractions_of_a_cent_are_shown(usd: float, written: str) -> None:
    assert dollars(usd) == written


@pytest.mark.parametrize(("number", "written"), [(0, "0 files"), (1, "1 file"), (1200, "1,200 files")])
def test_counts_use_the_singular_and_the_plural(number: int, written: str) -> None:
    assert count(number, "file") == written
