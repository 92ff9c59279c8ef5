"""A command looks for garbage rarely, and still finds it."""

import gc
from collections.abc import Iterator

import pytest

from apex_pipeline.process.garbage import collect_rarely


@pytest.fixture(autouse=True)
def pythons_own() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield
    gc.set_threshold(*before)


def test_the_youngest_objects_are_looked_through_less_often() -> None:
    collect_rarely()
    assert gc.get_threshold()[0] > 7_000
    assert gc.isenabled()


def test_what_refers_to_itself_is_found_while_objects_are_made() -> None:
    collect_rarely()
    before = gc.get_stats()[0]["collections"]
    kept = [[number] for number in range(2 * gc.get_threshold()[0])]
    assert gc.get_stats()[0]["collections"] > before
    assert len(kept) > 0
