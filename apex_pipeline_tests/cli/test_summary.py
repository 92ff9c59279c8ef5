"""The end of a sync: the best lap of every session that has one."""

import pandas as pd

from apex_pipeline.cli.summary import best_lap


def test_a_session_without_a_valid_lap_has_no_best_lap() -> None:
    laps = pd.DataFrame({"is_valid": [False], "lap_time_s": [63.6], "vehicle_id": ["GR86-036-98"], "lap_number": [21]})
    assert best_lap(laps) == "none"
