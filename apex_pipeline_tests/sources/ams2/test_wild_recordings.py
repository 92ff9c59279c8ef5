"""Made-up recordings: every whole lap is found within one sampling interval, with its kind, and none is invented."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apex_pipeline.sources.ams2.recording import Recording
from apex_pipeline_tests.sources.ams2.reading import misread_laps, read_blob
from apex_pipeline_tests.sources.ams2.wild import WildRecording, wild_recording

_SOAKED = 1_000


@given(st.integers(0, 2**32))
@settings(max_examples=30)  # 0.1 s each; the soak below has more
def test_every_whole_lap_is_found_and_none_is_invented(seed: int) -> None:
    _check(wild_recording(seed))


@pytest.mark.soak
def test_every_whole_lap_is_found_in_many_recordings() -> None:
    for seed in range(_SOAKED):
        _check(wild_recording(seed))


def _check(wild: WildRecording) -> None:
    result = read_blob(wild.blob)
    assert misread_laps(wild.script, _comparable(wild, result), wild.tolerance_s) == []
    laps = result.laps.to_pylist()
    published = [row["lap_number"] for row in laps if row["is_published"]]
    assert len(published) == len(set(published))
    for row in laps:
        sectors = [row[name] for name in ("s1_s", "s2_s", "s3_s")]
        assert (
            (row["lap_time_s"] is None) == (row["lap_time_method"] is None) == (row["lap_time_uncertainty_s"] is None)
        )
        if None not in sectors:
            assert sum(sectors) == pytest.approx(row["lap_time_s"], abs=wild.tolerance_s)


def _comparable(wild: WildRecording, result: Recording) -> Recording:
    """Return the recording with the true numbers of its sessions, after a look at which laps share one.

    The numbers also count sessions in which only others drove; where the game's state comes too seldom, two may be one.
    """
    true = [lap.session for lap in wild.script.laps if lap.lap_time_s is not None]
    places = [place for place, time in enumerate(result.laps["lap_time_s"].to_pylist()) if time is not None]
    if len(places) != len(true):
        return result
    sessions = result.laps["session_index"].to_pylist()
    if wild.is_told:
        found = [sessions[place] for place in places]
        assert [a == b for a, b in pairwise(found)] == [a == b for a, b in pairwise(true)]
    for place, session in zip(places, true, strict=True):
        sessions[place] = session
    column = result.laps.schema.get_field_index("session_index")
    laps = result.laps.set_column(column, result.laps.schema.field(column), [sessions])
    return replace(result, laps=laps)
