"""Only row groups that may contain the window, according to the footer, are read."""

from dataclasses import replace

import pytest

from apex_pipeline.catalog.telemetry_file import RowGroup, Window, read_footer
from apex_pipeline.tables import TELEMETRY
from apex_pipeline_tests.catalog.race_lake import IN_TWO_GROUPS, START_MS, STEP_MS, VEHICLES, Race

_GROUP = RowGroup(0, ("GR86-002-2", "GR86-004-4"), (1_000, 2_000))


@pytest.mark.parametrize(
    ("window", "is_held"),
    [
        (Window(), True),
        (Window("GR86-001-1"), False),
        (Window("GR86-002-2"), True),
        (Window("GR86-003-3"), True),
        (Window("GR86-004-4"), True),
        (Window("GR86-005-5"), False),
        (Window(start_ms=2_000), True),
        (Window(start_ms=2_001), False),
        (Window(end_ms=1_001), True),
        (Window(end_ms=1_000), False),
        (Window("GR86-003-3", 1_200, 1_300), True),
        (Window("GR86-001-1", 1_200, 1_300), False),
        (Window("GR86-003-3", 500, 900), False),
    ],
)
def test_a_row_group_is_read_if_it_may_contain_the_window(window: Window, *, is_held: bool) -> None:
    assert _GROUP.may_hold(window) is is_held


def test_a_row_group_without_statistics_is_always_read() -> None:
    elsewhere = Window("GR86-001-1", 5_000, 6_000)
    assert not replace(_GROUP, cars=None).may_hold(elsewhere)
    assert not replace(_GROUP, span_ms=None).may_hold(elsewhere)
    assert replace(_GROUP, cars=None, span_ms=None).may_hold(elsewhere)


def test_the_footer_has_cars_times_and_columns(race: Race) -> None:
    footer = read_footer(race.store, race.catalog.snapshot.sessions[0].tables["telemetry"])
    assert footer.cars == list(VEHICLES)
    assert footer.columns == tuple(TELEMETRY.schema.names)
    spans = [group.span_ms for group in footer.groups if group.may_hold(Window(IN_TWO_GROUPS))]
    half = race.rows // 2
    assert spans == [
        (START_MS, START_MS + (half - 1) * STEP_MS),
        (START_MS + half * STEP_MS, START_MS + (race.rows - 1) * STEP_MS),
    ]
