"""A weekend is reproducible, has the requested size, and never replaces files that were not generated."""

import json
import tracemalloc
from pathlib import Path

import pytest

from apex_pipeline.demo import FaultKind, GroundTruth, WeekendOptions, ground_truth_path, make_weekend
from apex_pipeline.errors import ConfigurationError
from apex_pipeline_tests.demo.reading import Weekend

_SMALL = WeekendOptions(target_bytes=700_000)


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    first = make_weekend(tmp_path / "one", _SMALL)
    second = make_weekend(tmp_path / "two", _SMALL)
    assert _contents(tmp_path / "one") == _contents(tmp_path / "two")
    assert first == second


def test_another_seed_gives_other_laps(tmp_path: Path) -> None:
    first = make_weekend(tmp_path / "one", _SMALL)
    second = make_weekend(tmp_path / "two", WeekendOptions(seed=8, target_bytes=700_000))
    assert first.sessions[0].laps != second.sessions[0].laps


@pytest.mark.parametrize("seed", range(5))
def test_every_kind_of_fault_is_injected_whatever_the_seed(tmp_path: Path, seed: int) -> None:
    truth = make_weekend(tmp_path / "weekend", WeekendOptions(seed=seed, target_bytes=700_000))
    assert {fault.kind for fault in truth.faults} == set(FaultKind)
    assert {fault.file for fault in truth.faults} <= {file.path for file in truth.files}


@pytest.mark.parametrize("target_bytes", [1_000_000, 6_000_000, 20_000_000, 60_000_000])
def test_the_size_is_met_within_fifteen_percent(tmp_path: Path, target_bytes: int) -> None:
    truth = make_weekend(tmp_path / "weekend", WeekendOptions(target_bytes=target_bytes))
    assert sum(file.size for file in truth.files) == pytest.approx(target_bytes, rel=0.15)


def test_cars_and_laps_are_as_many_as_requested(tmp_path: Path) -> None:
    options = WeekendOptions(cars=9, laps=11, target_bytes=2_000_000)
    truth = make_weekend(tmp_path / "weekend", options)
    answer = truth.session("harbor_street_circuit", "R2")
    assert len(answer.cars) == 9
    assert max(lap.lap_number for lap in answer.laps if lap.lap_time_s) == 11


def test_memory_stays_bounded_while_the_files_grow(tmp_path: Path) -> None:
    def peak(target_bytes: int) -> int:
        tracemalloc.start()
        make_weekend(tmp_path / str(target_bytes), WeekendOptions(cars=8, laps=8, target_bytes=target_bytes))
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(25_000_000)  # the texts of the channels are built once and cached
    # The files grow by 24 MB, but only a few copies of a 0.1 MB block are in memory at once.
    assert peak(25_000_000) - peak(1_000_000) < 4_000_000


def test_progress_counts_every_byte(tmp_path: Path) -> None:
    reported: list[int] = []
    truth = make_weekend(tmp_path / "weekend", _SMALL, reported.append)
    # Race 2's wrong lap times and the empty file are reported with their final size.
    assert sum(reported) == sum(file.size for file in truth.files)
    assert len(reported) > 100


def test_the_ground_truth_file_equals_the_returned_ground_truth(weekend: Weekend) -> None:
    text = ground_truth_path(weekend.folder).read_text(encoding="utf-8")
    assert GroundTruth.from_json(text) == weekend.truth
    assert {file.path: file.size for file in weekend.truth.files} == {
        path: len(content) for path, content in _contents(weekend.folder).items()
    }


def test_a_ground_truth_keeps_the_option_key_of_earlier_versions(clean_weekend: Weekend) -> None:
    text = ground_truth_path(clean_weekend.folder).read_text(encoding="utf-8")
    assert json.loads(text)["options"]["plant_faults"] is False
    assert GroundTruth.from_json(text).options.inject_faults is False


def test_an_unknown_session_is_a_key_error(weekend: Weekend) -> None:
    with pytest.raises(KeyError, match="harbor_street_circuit/R3"):
        weekend.truth.session("harbor_street_circuit", "R3")


def test_generating_the_same_weekend_again_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "weekend"
    first = make_weekend(folder, _SMALL)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    reported: list[int] = []
    assert make_weekend(folder, _SMALL, reported.append) == first
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert reported == []


def test_another_generated_weekend_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "weekend"
    make_weekend(folder, _SMALL)
    truth = make_weekend(folder, WeekendOptions(target_bytes=700_000, inject_faults=False))
    assert set(_contents(folder)) == {file.path for file in truth.files}


def test_a_damaged_weekend_is_generated_again(tmp_path: Path) -> None:
    folder = tmp_path / "weekend"
    truth = make_weekend(folder, _SMALL)
    (folder / truth.files[-1].path).unlink()
    make_weekend(folder, _SMALL)
    assert set(_contents(folder)) == {file.path for file in truth.files}


def test_leftovers_of_an_interrupted_run_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".weekend.unfinished").mkdir()
    (tmp_path / ".weekend.unfinished" / "half.csv").write_text("half")
    truth = make_weekend(tmp_path / "weekend", _SMALL)
    assert set(_contents(tmp_path / "weekend")) == {file.path for file in truth.files}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["weekend", "weekend.answers.json"]


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "holiday.jpg").write_bytes(b"photo")
    with pytest.raises(ConfigurationError, match=r"holiday\.jpg"):
        make_weekend(folder, _SMALL)
    assert _contents(tmp_path) == {"photos/holiday.jpg": b"photo"}


def test_an_additional_file_in_a_generated_weekend_is_never_deleted(tmp_path: Path) -> None:
    folder = tmp_path / "weekend"
    make_weekend(folder, _SMALL)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match=r"notes\.txt"):
        make_weekend(folder, WeekendOptions(seed=9, target_bytes=700_000))
    assert (folder / "notes.txt").read_text() == "mine"


def test_an_unreadable_ground_truth_protects_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "weekend"
    make_weekend(folder, _SMALL)
    ground_truth_path(folder).write_text("{}")
    with pytest.raises(ConfigurationError, match="not part of a synthetic weekend"):
        make_weekend(folder, _SMALL)


def test_an_empty_folder_is_accepted_and_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    make_weekend(tmp_path / "empty", _SMALL)
    with pytest.raises(ConfigurationError, match="is a file"):
        make_weekend(tmp_path / "file", _SMALL)


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        (WeekendOptions(target_bytes=50_000), "fewer cars or laps, or at least"),
        (WeekendOptions(cars=6, laps=8, target_bytes=2_000_000_000), "more cars or laps, or at most"),
    ],
)
def test_a_size_that_cannot_be_met_is_refused_with_the_limit(
    tmp_path: Path, options: WeekendOptions, hint: str
) -> None:
    with pytest.raises(ConfigurationError, match=hint):
        make_weekend(tmp_path / "weekend", options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("values", "problem"),
    [({"cars": 5}, "5 cars are too few"), ({"laps": 7}, "7 laps are too few"), ({"seed": -1}, "seed -1 is negative")],
)
def test_options_below_what_the_faults_need_are_refused(values: dict[str, int], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        WeekendOptions(**values)  # pyright: ignore[reportArgumentType] - the keys are listed above


@pytest.mark.parametrize("target_bytes", [6_000_000, 1_000_000_000, 3_000_000_000, 6_000_000_000])
def test_the_field_grows_so_that_real_sample_rates_fill_the_size(target_bytes: int) -> None:
    options = WeekendOptions(target_bytes=target_bytes)
    at_full_rate = 4 * options.car_count * options.lap_count * 100 * 18_000
    assert at_full_rate >= target_bytes
