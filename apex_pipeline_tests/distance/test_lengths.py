"""Track lengths: the data file, the user's own, and what official timing says."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.distance import length_from_official, read_track_lengths
from apex_pipeline.errors import ConfigurationError


def test_each_known_track_has_a_length_its_evidence_and_a_place() -> None:
    lengths = read_track_lengths()
    assert lengths["barber_motorsports_park"].length_m == pytest.approx(3701.48)
    assert all(1_000 < length.length_m < 10_000 and length.evidence and length.place for length in lengths.values())


def test_an_own_file_adds_tracks_and_replaces_known_ones(tmp_path: Path) -> None:
    own = tmp_path / "lengths.yaml"
    own.write_text(
        "tracks:\n"
        "  - {slug: barber_motorsports_park, length_m: 3700, evidence: measured by wheel}\n"
        "  - {slug: my_track, length_m: 1200.5, evidence: the owner}\n"
    )
    lengths = read_track_lengths(own)
    assert lengths["barber_motorsports_park"].length_m == 3700
    assert lengths["my_track"].place is None
    assert "sebring" in lengths


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("tracks: [{slug: x, length_m: -1, evidence: e}]", "tracks.0.length_m"),
        ("tracks: [{slug: x, length_m: 1000}]", "evidence"),
        ("tracks: [{slug: x, length_m: .nan, evidence: e}]", "length_m"),
        ("tracks: [{slug: ../x, length_m: 1000, evidence: e}]", "slug"),
        ("- a", "the file"),
        ("", "the file"),
        ("a: [", "cannot be read"),
        ("tracks: 2025-13-01", "cannot be read"),
        ("[" * 1_000, "cannot be read"),
    ],
)
def test_a_wrong_own_file_is_refused_by_name(tmp_path: Path, text: str, named: str) -> None:
    own = tmp_path / "lengths.yaml"
    own.write_text(text)
    with pytest.raises(ConfigurationError, match=named) as refused:
        read_track_lengths(own)
    assert "lengths.yaml" in str(refused.value)


def test_a_missing_own_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="APEX_TRACK_LENGTHS_FILE"):
        read_track_lengths(tmp_path / "none.yaml")


@given(st.floats(300, 25_000), st.lists(st.floats(40, 600), min_size=30, max_size=60), st.integers(0, 5))
def test_official_speeds_and_times_give_the_length_within_their_rounding(
    length: float, times: list[float], wrong: int
) -> None:
    time_s = np.array(times)
    average_kph = np.round(length / time_s * 3.6, 1)
    average_kph[:wrong] *= 1.3  # cells that are wrong do not matter
    found = length_from_official(average_kph.tolist(), times)
    assert found is not None
    assert found.length_m == pytest.approx(length, abs=0.06 * np.sort(time_s[wrong:])[:2].max() / 3.6)


@pytest.mark.parametrize(
    ("average_kph", "lap_time_s"),
    [
        ([], []),
        ([120.0, 121.0], [100.0, 99.0]),
        ([np.nan] * 9, [100.0] * 9),
        ([0.0] * 9, [100.0] * 9),
        ([100.0, 150.0, 200.0, 250.0], [100.0] * 4),
        ([5.0] * 9, [1.0] * 9),
    ],
)
def test_laps_that_do_not_agree_give_no_length(average_kph: list[float], lap_time_s: list[float]) -> None:
    assert length_from_official(average_kph, lap_time_s) is None
