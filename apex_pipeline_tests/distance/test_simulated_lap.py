"""Laps of Automobilista 2 compared with laps of real cars: on the share of their own track's length."""

from pathlib import Path

import numpy as np
import pytest

from apex_pipeline.catalog import Catalog, open_catalog
from apex_pipeline.errors import ConfigurationError, ObjectMissingError
from apex_pipeline_tests.distance.driven_lake import publish_lake
from apex_pipeline_tests.distance.driving import LENGTH_M
from apex_pipeline_tests.distance.simulated import LAP_TIMES_S, add_race, remove_samples

RACE = "0198f0a0-0000-7000-8000-000000000001"
LONGER = "0198f0a0-0000-7000-8000-000000000002"
TOO_LONG = "0198f0a0-0000-7000-8000-000000000003"
ELSEWHERE = "0198f0a0-0000-7000-8000-000000000004"
UNKNOWN = "0198f0a0-0000-7000-8000-00000000000f"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lake = publish_lake(tmp_path_factory.mktemp("simulated"))
    add_race(lake, RACE)
    add_race(lake, LONGER, length_m=LENGTH_M * 1.03)
    add_race(lake, TOO_LONG, length_m=LENGTH_M * 1.2)
    add_race(lake, ELSEWHERE, track=("Interlagos", "GP"))
    return lake


@pytest.fixture
def catalog(lake: Path) -> Catalog:
    return open_catalog(lake)


@pytest.mark.parametrize("race_id", [RACE, LONGER])
def test_a_simulated_lap_is_compared_by_the_share_of_its_own_length(catalog: Catalog, race_id: str) -> None:
    mine = catalog.session("harbor", "R1").lap(car="13", number=2)
    assert mine.time_s is not None
    simulated = catalog.simulated_lap(race_id, 1)
    assert (simulated.track, simulated.place) == ("harbor_street_circuit", "Harbor, Street Circuit")
    both = mine.compare(simulated, step_m=10)
    assert both.delta_s[-1] == pytest.approx(simulated.time_s - mine.time_s, abs=1e-9)
    assert both.method == "integrated_speed / lap_distance_m"
    assert both.distance_m[-1] == pytest.approx(LENGTH_M, rel=1e-4)
    assert any("share of its own track's length" in note for note in both.notes)
    assert any("not part of error_s" in note for note in both.notes)
    # The game's lap is driven at an even pace, so its time at each place is that share of the lap time.
    own = mine.on_distance(10)["time_s"].to_numpy()
    expected = simulated.time_s * both.distance_m / LENGTH_M - own
    assert np.nanmax(np.abs(both.delta_s - expected)) < 0.15
    assert np.nanmedian(both.error_s) > np.nanmedian(mine.on_distance(10)["error_s"])


def test_its_channels_have_the_names_and_units_of_real_ones(catalog: Catalog) -> None:
    mine = catalog.session("harbor", "R1").lap(car="13", number=2)
    simulated = catalog.simulated_lap(RACE, 2)
    speed_kph = np.nanmedian(simulated.samples.channels["speed_kph"])
    assert speed_kph == pytest.approx(3.6 * LENGTH_M / LAP_TIMES_S[1], rel=0.02)
    frame = mine.compare(simulated, step_m=50).frame(["speed_kph", "brake_pedal_pct"])
    assert frame["b_speed_kph"].notna().mean() > 0.9
    assert frame["a_brake_pedal_pct"].isna().all()


def test_the_best_valid_lap_is_taken_unless_one_is_named(catalog: Catalog) -> None:
    best = catalog.simulated_lap(RACE)
    assert (best.number, best.time_s) == (2, pytest.approx(min(LAP_TIMES_S), abs=0.05))
    assert repr(best).startswith("<SimulatedLap 2 of race 0198f0a0")


def test_another_track_and_another_layout_are_refused(catalog: Catalog) -> None:
    mine = catalog.session("harbor", "R1").lap(car="13", number=2)
    with pytest.raises(ConfigurationError, match="driven at Interlagos, GP, which is not known as harbor") as error:
        mine.compare(catalog.simulated_lap(ELSEWHERE))
    assert "APEX_TRACKS_FILE" in error.value.hint
    with pytest.raises(ConfigurationError, match="not the same layout"):
        mine.compare(catalog.simulated_lap(TOO_LONG))
    on_mesa = catalog.session("mesa_verde_raceway", "R1").best_lap()
    with pytest.raises(ConfigurationError, match="not known as mesa_verde_raceway"):
        on_mesa.compare(catalog.simulated_lap(RACE))


def test_what_is_no_lap_of_a_race_is_an_error_with_those_there_are(catalog: Catalog, lake: Path) -> None:
    with pytest.raises(ConfigurationError, match="has no lap 3 that can be compared") as error:
        catalog.simulated_lap(RACE, 3)
    assert error.value.hint == "Its laps from line to line: 1, 2."
    with pytest.raises(ObjectMissingError, match=f"has no race {UNKNOWN}"):
        catalog.simulated_lap(UNKNOWN)
    with pytest.raises(ConfigurationError, match="is not the id of a race"):
        catalog.simulated_lap("../..")
    gone = "0198f0a0-0000-7000-8000-000000000005"
    add_race(lake, gone)
    remove_samples(lake, gone)
    with pytest.raises(ObjectMissingError, match=f"has no race {gone}"):
        catalog.simulated_lap(gone)
