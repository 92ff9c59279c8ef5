"""What is made of a lap's samples: the comparison of two laps, and fuel; and what happens when the samples are gone."""

import pyarrow as pa
import pytest

from apex_pipeline.errors import ObjectMissingError, StoreUnavailableError
from apex_pipeline.races import process as process_module
from apex_pipeline.races.comparison import compare_laps
from apex_pipeline.races.errors import RaceNotFoundError, RaceNotReadyError
from apex_pipeline.races.fuel import LapFuel, lap_fuel
from apex_pipeline.races.lap_data import lap_rows, lap_samples
from apex_pipeline.races.process import process_race
from apex_pipeline.races.services import RaceServices
from apex_pipeline.races.submit import submit_race
from apex_pipeline.races.views import require_laps, view_race
from apex_pipeline.storage.layout import lap_file_key
from apex_pipeline_tests.races_service.conftest import LAP_TIMES_S, two_laps

_CHANNELS = ("speed_mps", "throttle", "brake", "steering", "pos_x_m", "pos_z_m")
_LENGTH_M = 3_000.0
_SAMPLES = 600


def _lap(seconds: float, slower_from: float = 1.0, lost_s: float = 0.0, length_m: float = _LENGTH_M) -> pa.Table:
    """Return a lap at an even pace that loses time, evenly, in the tenth of the track behind a share of it."""
    shares = [place / _SAMPLES for place in range(_SAMPLES)]
    lost = [lost_s * min(max((share - slower_from) / 0.1, 0.0), 1.0) for share in shares]
    columns = {
        "lap_distance_m": [share * length_m for share in shares],
        "current_time_s": [share * seconds + more for share, more in zip(shares, lost, strict=True)],
        "gear": [1.0 + int(share * 5) for share in shares],
        **dict.fromkeys(_CHANNELS, shares),
    }
    return pa.table(columns)


def test_the_delta_at_the_line_is_the_difference_of_the_lap_times() -> None:
    found = compare_laps(_lap(90.0), _lap(90.0, 0.5, 0.75), (90.0, 90.75), 2_000)
    assert found.delta_s[0] == 0
    assert found.delta_s[-1] == pytest.approx(0.75, abs=0.001)
    assert len(found.distance_m) == len(found.delta_s) == 2_000
    assert found.gains == []
    assert 1 <= len(found.losses) <= 5
    assert [loss.delta_s for loss in found.losses] == sorted((loss.delta_s for loss in found.losses), reverse=True)
    assert all(0.49 * _LENGTH_M <= (loss.start_m + loss.end_m) / 2 <= 0.61 * _LENGTH_M for loss in found.losses[:3])
    assert sum(loss.delta_s for loss in found.losses) == pytest.approx(0.75, abs=0.01)


def test_the_other_way_round_losses_are_gains() -> None:
    one, other = _lap(90.0), _lap(90.0, 0.5, 0.75)
    there, back = compare_laps(one, other, (90.0, 90.75)), compare_laps(other, one, (90.75, 90.0))
    assert [gain.delta_s for gain in back.gains] == pytest.approx([-loss.delta_s for loss in there.losses])
    assert back.delta_s == pytest.approx([-delta for delta in there.delta_s])


def test_there_is_no_gear_between_two_gears_and_nothing_where_nothing_is_known() -> None:
    unknown = _lap(90.0).set_column(3, "speed_mps", pa.nulls(_SAMPLES, pa.float64()))
    channels = compare_laps(_lap(90.0), unknown, (90.0, 90.0)).channels
    assert set(channels["gear"][0]) == {1, 2, 3, 4, 5}
    assert set(channels["speed_mps"][1]) == {None}


def test_laps_of_two_tracks_are_not_compared() -> None:
    with pytest.raises(RaceNotReadyError, match="not of one track"):
        compare_laps(_lap(90.0), _lap(90.0, length_m=2_600), (90.0, 90.0))
    compare_laps(_lap(90.0), _lap(90.0, length_m=2_900), (90.0, 90.0))  # the last sample is before the line


def test_a_lap_with_hardly_a_sample_is_not_compared() -> None:
    with pytest.raises(RaceNotReadyError, match="9 samples"):
        compare_laps(_lap(90.0), _lap(90.0).slice(0, 9), (90.0, 90.0))


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ([50.0, 49.0, 48.0], LapFuel(50.0, 48.0, 2.0, 0.0, 24.0)),
        ([10.0, 9.0, 39.0, 38.0], LapFuel(10.0, 38.0, 2.0, 30.0, 19.0)),
        ([50.0, 50.0], LapFuel(50.0, 50.0, 0.0, 0.0, None)),
        ([None, 50.0, None, 49.5], LapFuel(50.0, 49.5, 0.5, 0.0, 99.0)),
        ([None, 50.0], LapFuel(None, None, None, None, None)),
        ([], LapFuel(None, None, None, None, None)),
    ],
)
def test_fuel_is_what_was_burnt_and_for_how_many_laps_the_rest_is_enough(
    level: list[float | None], expected: LapFuel
) -> None:
    assert lap_fuel(pa.table({"fuel_l": pa.array(level, pa.float64())})) == expected


def test_the_laps_of_a_processed_race_are_compared(services: RaceServices) -> None:
    race = submit_race(services, two_laps()).race_id
    process_race(services, race)
    laps = {lap.lap_number: lap for lap in require_laps(services.database, race) if lap.lap_time_s}
    (first, one), (second, two) = (lap_samples(services, race, number) for number in sorted(laps))
    times = (first.lap_time_s or 0, second.lap_time_s or 0)
    assert times == pytest.approx(LAP_TIMES_S, abs=0.1)
    assert compare_laps(one, two, times).delta_s[-1] == pytest.approx(times[1] - times[0], abs=0.001)


def test_laps_whose_objects_are_gone_are_not_found(services: RaceServices) -> None:
    race = submit_race(services, two_laps()).race_id
    process_race(services, race)
    lap = require_laps(services.database, race)[0]
    services.store.delete(lap_file_key(race, lap.lap_uuid))
    with pytest.raises(RaceNotFoundError, match="gone from the store"):
        lap_samples(services, race, lap.lap_number)
    for item in list(services.store.list("tables/race_laps/")):
        services.store.delete(item.key)
    with pytest.raises(RaceNotFoundError, match="gone from the store") as caught:
        lap_rows(services, race)
    assert isinstance(caught.value.__cause__, ObjectMissingError)


def test_a_race_read_again_is_published_although_old_lap_files_cannot_be_removed(
    services: RaceServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    race = submit_race(services, two_laps()).race_id
    process_race(services, race)

    def refuse(*_: object) -> None:
        raise StoreUnavailableError("The store is away.", "Try again.")

    monkeypatch.setattr(process_module, "remove_stale_laps", refuse)
    assert process_race(services, race, again=True).status == "Ready"
    view = view_race(services.database, race)
    assert (view.status, view.published_attempt, view.error) == ("Ready", 2, None)
