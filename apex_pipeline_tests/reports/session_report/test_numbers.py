"""Numbers as people read them; what is not known is a dash."""

import pytest

from apex_pipeline.reports.session_report.numbers import count, decimals, known, lap, race_time, signed

_DASH = "\u2013"


@pytest.mark.parametrize("write", [lap, race_time, lambda value: decimals(value, 1), lambda value: signed(value, 1)])
@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_what_is_not_known_is_a_dash(write: object, value: float | None) -> None:
    assert callable(write)
    assert write(value) == _DASH
    assert known(None) == _DASH


def test_times_signs_and_counts() -> None:
    assert lap(97.4284) == "1:37.428"
    assert race_time(2727.792) == "45:27.792"
    assert race_time(3600 * 2 + 61.5) == "2:01:01.500"
    assert signed(-1.5, 3) == "\u22121.500"
    assert signed(30, 3) == "+30.000"
    assert (count(1, "lap"), count(1234, "lap"), count(2, "stretch has", "stretches have")) == (
        "1 lap",
        "1,234 laps",
        "2 stretches have",
    )
