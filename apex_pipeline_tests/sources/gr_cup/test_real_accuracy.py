"""Accuracy on the nine real races: cars are identified, official laps are listed once, blind laps are accurate."""

from collections.abc import Collection

import pandas as pd
import pyarrow as pa
import pytest

from apex_pipeline.sources.accuracy import AccuracyReport, pool_reports
from apex_pipeline.sources.gr_cup.accuracy import measure_accuracy
from apex_pipeline.sources.gr_cup.laps.confidence import (
    AT_PACE_NEXT_TO_SLOW,
    DOUBTFUL,
    ONE_SOURCE,
    SLOW,
    TWO_SOURCES,
)
from apex_pipeline.sources.gr_cup.reliability import Bin, reliability
from apex_pipeline_tests.sources.gr_cup.real_races import BARBER, COTA, ROAD_AMERICA, SEBRING, VIR, Races

SESSIONS = [
    *((BARBER, "R1"), (BARBER, "R2"), (COTA, "R1"), (COTA, "R2"), (ROAD_AMERICA, "R1")),
    *((SEBRING, "R1"), (SEBRING, "R2"), (VIR, "R1"), (VIR, "R2")),
]
# Data dictionary, section 11: vehicle ids with the number of another car, or with none.
WRONG_IDS = [
    *[(BARBER, session, "GR86-002-000", "2") for session in ("R1", "R2")],
    *[(BARBER, session, "GR86-060-2", "111") for session in ("R1", "R2")],
    *[(BARBER, session, "GR86-010-16", "22") for session in ("R1", "R2")],
    *[(BARBER, session, "GR86-004-78", "58") for session in ("R1", "R2")],
    *[(COTA, session, "GR86-037-03", "3") for session in ("R1", "R2")],
    *[(COTA, session, "GR86-040-3", "03") for session in ("R1", "R2")],
    (ROAD_AMERICA, "R1", "GR86-010-16", "22"),
    (ROAD_AMERICA, "R1", "GR86-037-03", "46"),
    *[(SEBRING, session, "GR86-060-031", "2") for session in ("R1", "R2")],
]


@pytest.mark.parametrize(("track", "session", "vehicle_id", "number"), WRONG_IDS)
def test_a_car_with_a_wrong_number_in_its_id_is_identified_by_crossings(
    races: Races, track: str, session: str, vehicle_id: str, number: str
) -> None:
    cars = races[track, session].derived().cars.to_pandas().set_index("vehicle_id")
    car = cars.loc[vehicle_id]
    assert (car["car_number"], car["method"]) == (number, "official_crossings")
    assert car["confidence"] > 0.6
    laps = races[track, session].derived().laps.to_pandas()
    assert set(laps[laps["vehicle_id"] == vehicle_id]["car_number"]) == {number}


@pytest.mark.parametrize(("track", "session"), SESSIONS)
def test_every_other_car_with_enough_crossings_has_the_number_in_its_id(races: Races, track: str, session: str) -> None:
    cars = races[track, session].derived().cars.to_pandas()
    wrong = {vehicle_id for place, other, vehicle_id, _ in WRONG_IDS if (place, other) == (track, session)}
    others = cars[(cars["method"] == "official_crossings") & ~cars["vehicle_id"].isin(wrong)]
    assert len(others) > 10
    assert (others["car_number"].astype(int) == others["suffix"].astype(int)).all()


@pytest.mark.parametrize("session", ["R1", "R2"])
def test_cars_sharing_a_printed_number_are_identified_separately(races: Races, session: str) -> None:
    cars = races[COTA, session].derived().cars.to_pandas().set_index("vehicle_id")
    vehicle_ids = ("GR86-037-03", "GR86-040-3")
    found = {
        vehicle_id: (cars.loc[vehicle_id]["official_number"], int(cars.loc[vehicle_id]["official_entry"]))
        for vehicle_id in vehicle_ids
    }
    assert found == {"GR86-037-03": ("3", 2), "GR86-040-3": ("3", 1)}


def test_a_car_matching_two_official_cars_stays_undecided_with_both(races: Races) -> None:
    cars = races[ROAD_AMERICA, "R1"].derived().cars.to_pandas().set_index("vehicle_id")
    car = cars.loc["GR86-004-78"]
    assert (car["method"], set(car["candidates"])) == ("undecided", {"41", "58"})
    assert pd.isna(car["car_number"])


@pytest.mark.parametrize(
    ("track", "session", "numbers"),
    [
        (BARBER, "R1", {"41", "51"}),
        (BARBER, "R2", {"41", "51"}),
        (ROAD_AMERICA, "R1", {"51", "58"}),
        (SEBRING, "R1", {"78"}),
        (SEBRING, "R2", {"78"}),
        (VIR, "R1", {"61", "111"}),
        (VIR, "R2", {"61", "111"}),
    ],
)
def test_official_cars_without_a_device_are_listed(races: Races, track: str, session: str, numbers: set[str]) -> None:
    cars = races[track, session].derived().cars.to_pandas()
    assert set(cars[cars["method"] == "official_only"]["car_number"]) == numbers


@pytest.mark.parametrize(("track", "session"), SESSIONS)
def test_every_official_lap_of_a_known_car_is_listed_once_with_its_time(races: Races, track: str, session: str) -> None:
    derived, official = races[track, session].derived(), races[track, session].official_laps()
    cars = derived.cars.to_pandas().dropna(subset=["vehicle_id", "official_number"])
    expected = official.merge(
        cars, left_on=["car_number", "entry"], right_on=["official_number", "official_entry"], suffixes=("", "_car")
    )
    laps = derived.laps.to_pandas().dropna(subset=["official_lap_number"])
    found = zip(laps["vehicle_id"], laps["official_lap_number"].astype(int), laps["lap_time_s"], strict=True)
    listed = zip(expected["vehicle_id"], expected["lap_number"], expected["lap_time_s"], strict=True)
    assert sorted(found) == sorted(listed)
    assert (laps["official_lap_time_s"] == laps["lap_time_s"]).all()


@pytest.mark.parametrize(("track", "session"), SESSIONS)
def test_the_best_lap_is_the_official_best(races: Races, track: str, session: str) -> None:
    laps, official = races[track, session].derived().laps.to_pandas(), races[track, session].official_laps()
    assert laps[laps["is_valid"]]["lap_time_s"].min() == official["lap_time_s"].min()


@pytest.mark.parametrize(("track", "session"), SESSIONS)
def test_only_laps_in_official_timing_are_valid(races: Races, track: str, session: str) -> None:
    laps = races[track, session].derived().laps.to_pandas()
    assert laps[laps["is_valid"]]["official_lap_number"].notna().all()


@pytest.mark.parametrize(("track", "session"), SESSIONS)
def test_laps_of_a_car_never_overlap(races: Races, track: str, session: str) -> None:
    laps = races[track, session].derived().laps.to_pandas().sort_values(["vehicle_id", "lap_number"])
    for _, of_car in laps.groupby("vehicle_id", observed=True):
        starts, ends = of_car["lap_start_utc"], of_car["lap_end_utc"]
        assert (starts <= ends).all()
        assert (starts.iloc[1:].to_numpy() >= ends.iloc[:-1].to_numpy()).all()


def test_laps_after_a_truncated_export_are_flagged_and_official_only(races: Races) -> None:
    """Road America race 1: 225 of 415 official crossings come after the last trigger."""
    laps = races[ROAD_AMERICA, "R1"].derived().laps.to_pandas()
    truncated = laps[laps["flags"].map(lambda flags: "truncated_export" in flags)]
    assert len(truncated) > 190
    assert truncated["trigger_lap_time_s"].isna().all()
    assert (truncated["lap_time_method"] == "official").all()


def test_field_wide_jumps_are_flagged_only_where_they_occur(races: Races) -> None:
    """COTA race 1, lap 2: official time is about 8.8 s longer for every car."""
    laps = races[COTA, "R1"].derived().laps.to_pandas()
    second = laps[(laps["official_lap_number"] == 2) & laps["delta_to_official_s"].notna()]
    assert len(second) >= 29
    assert second["flags"].map(lambda flags: "field_wide_jump" in flags).all()
    assert pd.Series(second["delta_to_official_s"]).median() == pytest.approx(-8.3, abs=0.6)
    elsewhere = races[VIR, "R1"].derived().laps.to_pandas()["flags"]
    assert not elsewhere.map(lambda flags: "field_wide_jump" in flags).any()


def _report(races: Races, key: tuple[str, str]) -> AccuracyReport:
    race = races[key]
    derived, blind = race.derived(), race.derived(is_blind=True)
    return measure_accuracy(blind.laps, derived.laps, derived.cars, race.official_table())


def test_blind_laps_outside_cota_meet_the_accuracy_target(races: Races) -> None:
    """The target is 98.5 % within 0.5 s and 85 % within 0.1 s; plain trigger differences reach 98.2 and 82.6 %."""
    report = pool_reports([_report(races, key) for key in SESSIONS if key[0] != COTA])
    assert report.matched > 2_490
    assert report.missed == 0
    assert report.within_500ms / report.matched >= 0.985
    assert report.within_100ms / report.matched >= 0.85


def test_blind_laps_at_cota_are_accurate_without_field_wide_jumps(races: Races) -> None:
    report = pool_reports([_report(races, (COTA, session)) for session in ("R1", "R2")])
    steady = report.matched - report.jumping
    assert (report.within_500ms - report.jumping_within_500ms) / steady >= 0.95
    # Counted as in the data dictionary: relative to the 806 laps that match by time of day alone.
    assert report.within_500ms / 806 >= 0.83


@pytest.mark.parametrize(("track", "session"), SESSIONS)
def test_blind_derivation_invents_no_lap_and_no_false_best(races: Races, track: str, session: str) -> None:
    report = _report(races, (track, session))
    assert report.invented == ()
    assert report.is_right
    assert report.best_hidden_s is not None
    assert report.best_official_s is not None
    assert report.best_hidden_s > report.best_official_s - 0.5


@pytest.mark.parametrize(("track", "session"), [key for key in SESSIONS if key[0] not in {BARBER, ROAD_AMERICA}])
def test_most_official_laps_are_matched_when_the_export_covers_the_race(races: Races, track: str, session: str) -> None:
    official = races[track, session].official_laps()
    assert _report(races, (track, session)).matched / (official["lap_number"] > 1).sum() >= 0.88


_TRACKS = (BARBER, COTA, ROAD_AMERICA, SEBRING, VIR)
_Tables = dict[tuple[str, str], tuple[pa.Table, pa.Table]]


@pytest.fixture(scope="module")
def laps(races: Races) -> _Tables:
    """Return the laps of each session, derived without official timing and with it."""
    return {key: (races[key].derived(is_blind=True).laps, races[key].derived().laps) for key in SESSIONS}


def _bins(laps: _Tables, tracks: Collection[str], *, least: int) -> dict[float, Bin]:
    """Return the bins of at least so many laps by confidence."""
    found = reliability(tables for (track, _), tables in laps.items() if track in tracks)
    return {item.confidence: item for item in found if item.laps >= least}


def test_the_confidence_of_a_blind_lap_is_the_share_that_is_right_on_all_tracks_together(laps: _Tables) -> None:
    bins = _bins(laps, _TRACKS, least=100)
    assert len(bins) >= 4
    assert {value: item.share for value, item in bins.items()} == {
        value: pytest.approx(value, abs=0.05) for value in bins
    }


# Values that the other tracks do not predict to 5 points: at COTA official timing measures at another line than the
# cars, which makes slow laps and their neighbours wrong there and hardly anywhere else.
_NOT_PREDICTED = {
    *((track, SLOW) for track in (BARBER, COTA, ROAD_AMERICA, SEBRING, VIR)),
    *((track, AT_PACE_NEXT_TO_SLOW) for track in (COTA, ROAD_AMERICA, SEBRING, VIR)),
    (COTA, DOUBTFUL),
}
_PREDICTED = {
    *((track, TWO_SOURCES) for track in (COTA, ROAD_AMERICA, SEBRING, VIR)),
    *((track, ONE_SOURCE) for track in (BARBER, SEBRING, VIR)),
    (BARBER, AT_PACE_NEXT_TO_SLOW),
}


def test_the_share_on_a_track_is_that_of_the_others_for_all_values_but_those_known_to_differ(laps: _Tables) -> None:
    """Calibrated with the track left out; bins of 20 laps or more there."""
    apart: dict[tuple[str, float], float] = {}
    for track in _TRACKS:
        others = _bins(laps, set(_TRACKS) - {track}, least=1)
        for value, item in _bins(laps, {track}, least=20).items():
            apart[track, value] = abs(item.share - others[value].share)
    assert {key for key, by in apart.items() if by <= 0.05} == _PREDICTED
    assert {key for key, by in apart.items() if by > 0.05} == _NOT_PREDICTED


@pytest.mark.parametrize("track", _TRACKS)
def test_the_confidence_of_laps_of_even_pace_holds_on_each_track_alone(laps: _Tables, track: str) -> None:
    even = {TWO_SOURCES, ONE_SOURCE}.intersection(bins := _bins(laps, {track}, least=20))
    assert even
    for value in even:
        assert bins[value].share == pytest.approx(value, abs=0.05)


def test_the_confidence_of_slow_laps_is_a_mix_and_that_of_no_track(laps: _Tables) -> None:
    """8.6 % are right at COTA and 96 to 100 % elsewhere; docs/laps.md says so."""
    shares = {track: _bins(laps, {track}, least=20)[SLOW].share for track in _TRACKS}
    assert shares.pop(COTA) == pytest.approx(0.086, abs=0.001)
    assert min(shares.values()) > 0.96
