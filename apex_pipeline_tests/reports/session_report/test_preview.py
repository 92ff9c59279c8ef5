"""The first lines of a report as plain text."""

from pathlib import Path

import pytest

from apex_pipeline.catalog import open_catalog
from apex_pipeline.reports.session_report import facts_of
from apex_pipeline.reports.session_report.preview import preview_of

_TRACK = "mesa_verde_raceway"


@pytest.mark.parametrize(
    ("session", "result", "best"),
    [
        ("31_cars", "Result: 1. #", "Best lap: 1:"),
        ("no_official", "There is no classification.", "Best lap: 1:"),
        ("no_laps", "There is no classification.", "No car has a valid lap with a time."),
    ],
)
def test_it_says_what_the_session_is_who_won_and_the_best_lap(
    odd_lake: Path, session: str, result: str, best: str
) -> None:
    facts = facts_of(open_catalog(odd_lake).session(_TRACK, session))
    first, second, third, *_ = preview_of(facts).splitlines()
    assert first.startswith(f"{facts.track_name}, {session}. ")
    assert first.endswith(f"From snapshot {facts.snapshot}.")
    assert second.startswith(result)
    assert third.startswith(best)


def test_three_places_are_named_and_the_note_ends_it(odd_lake: Path) -> None:
    facts = facts_of(open_catalog(odd_lake).session(_TRACK, "hostile"))
    preview = preview_of(facts)
    assert preview.splitlines()[1].count(". #") <= 3
    assert preview.endswith(facts.note)
    assert facts.note
