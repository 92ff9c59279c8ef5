"""The session note: a plain sentence for each problem, and no mention of absent ones."""

from datetime import timedelta

import pytest

from apex_pipeline.errors import MalformedFileError
from apex_pipeline.sources.base import Reject
from apex_pipeline.sources.gr_cup.quality import session_note_of
from apex_pipeline.sources.rejects import file_rejects
from apex_pipeline.sources.unreadable import UnreadableFile
from apex_pipeline_tests.sources.gr_cup.quality.session_builder import (
    GREEN,
    UNIT,
    Row,
    car,
    good_session,
    lap,
    official_lap,
    score,
    telemetry_car,
)


def note(**tables: list[Row]) -> str:
    return session_note_of(score(**tables))


def test_the_note_of_a_good_session_has_counts_only() -> None:
    assert note(**good_session()) == (
        "1 car with lap triggers, 1 with telemetry. "
        "10 laps, 10 of them official, 10 of these timed by the car itself too."
    )


def test_the_note_of_an_empty_session() -> None:
    assert note() == (
        "0 cars with lap triggers, none with telemetry. "
        "There is no official timing: car numbers are what the ids say, lap times are the cars' own."
    )


def unreadable(path: str) -> Reject:
    error = MalformedFileError(f"{path} cannot be decompressed: its end is missing.", "Compress it again.")
    return file_rejects([UnreadableFile(path, "lap_end", error)])[0]


def test_a_file_that_could_not_be_read_comes_first_with_its_next_step() -> None:
    rejected = [Reject("spa/b.csv", 3, "lap_end", "bad_time", "timestamp='x'"), unreadable("spa/a.csv.gz")]
    quality = score(rejected, **good_session())
    assert session_note_of(quality) == (
        "Nothing is from spa/a.csv.gz, which cannot be decompressed: its end is missing. Compress it again. "
        + note(**good_session())
    )


def test_of_many_files_that_could_not_be_read_six_are_named() -> None:
    text = session_note_of(score([unreadable(f"spa/{number}.csv.gz") for number in range(9)], **good_session()))
    assert text.count("Nothing is from") == 6
    assert "Nothing is from spa/5.csv.gz" in text
    assert "3 more files could not be read." in text


def test_an_export_that_ends_early_is_mentioned_with_the_missing_laps() -> None:
    cut: Row = {"flags": ["truncated_export"], "trigger_lap_time_s": None, "delta_to_official_s": None}
    laps = [lap(number, **(cut if number > 8 else {})) for number in range(1, 11)]
    start = "The export ends 3 min 16 s before the last official crossing of its cars: "
    assert f"{start}2 laps of official timing are not in it as a whole." in note(**good_session(laps=laps))


def test_an_export_that_starts_late_is_mentioned() -> None:
    cut: Row = {"flags": ["truncated_export"], "trigger_lap_time_s": None, "delta_to_official_s": None}
    laps = [lap(number, **(cut if number < 3 else {})) for number in range(1, 11)]
    expected = "The export does not cover the whole race: 2 laps of official timing are not in it as a whole."
    assert expected in note(**good_session(laps=laps))


def test_an_export_that_ends_early_is_found_despite_a_lap_of_another_day() -> None:
    cut: Row = {"flags": ["truncated_export"], "trigger_lap_time_s": None, "delta_to_official_s": None}
    tomorrow: Row = {"flags": ["other_day"], "official_lap_number": None, "lap_end_utc": GREEN + timedelta(days=1)}
    laps = [*(lap(number, **(cut if number == 5 else {})) for number in range(1, 6)), lap(6, **tomorrow)]
    start = "The export ends 1 min 38 s before the last official crossing of its cars: "
    assert f"{start}1 lap of official timing is not in it as a whole." in note(**good_session(laps=laps))


@pytest.mark.parametrize(
    ("units", "words"),
    [
        ([UNIT], f"The clock of {UNIT} stood still; its sample times are receive times."),
        ([UNIT, "GR86-030-18"], f"The clocks of {UNIT}, GR86-030-18 stood still"),
    ],
)
def test_stopped_clocks_are_named(units: list[str], words: str) -> None:
    frozen = [telemetry_car(unit, is_clock_frozen=True, clock_method="received") for unit in units]
    assert words in note(**good_session(telemetry_cars=frozen))


def test_cars_with_the_wrong_number_in_their_id_are_named() -> None:
    cars = [car("GR86-060-2", "111"), car("GR86-002-000", "2"), car("GR86-037-03", "3"), car("GR86-040-3", "03")]
    text = note(**good_session(cars=cars))
    assert "GR86-060-2 is car 111" in text
    assert "GR86-037-03 is car 3" in text
    assert "GR86-040-3 is car 03" in text


def test_a_leading_zero_does_not_make_the_number_wrong() -> None:
    assert "is car" not in note(**good_session(cars=[car("GR86-062-012", "12")]))


def test_only_six_names_are_listed_and_the_rest_are_counted() -> None:
    cars = [car(f"GR86-{100 + place}-{place}", f"{900 + place}", official_entry=1) for place in range(9)]
    assert "and 3 more" in note(**good_session(cars=cars))


def test_an_undecided_car_is_listed_with_its_candidates() -> None:
    undecided = car("GR86-004-78", None, method="undecided", candidates=["58", "41"], official_entry=None)
    assert "GR86-004-78 could be 41 or 58." in note(**good_session(cars=[car(), undecided]))


@pytest.mark.parametrize(("behind_s", "words"), [(7.3, "7.3 s behind"), (-2.0, "2.0 s ahead of")])
def test_a_wrong_official_clock_is_mentioned_in_any_zone(behind_s: float, words: str) -> None:
    official = [official_lap(number, behind_s=behind_s) for number in range(1, 11)]
    assert f"The official clock runs {words} the cars' crossings." in note(**good_session(official_laps=official))


def test_the_official_clock_is_not_mentioned_without_times_of_day() -> None:
    official = [official_lap(number) | {"crossing_local_time": None} for number in range(1, 11)]
    assert "official clock" not in note(**good_session(official_laps=official))


def test_field_wide_jumps_are_mentioned_with_their_laps() -> None:
    laps = [lap(number, flags=["field_wide_jump"] if number in {2, 12} else []) for number in (1, 2, 12)]
    expected = "The official clock moved against the crossings of the whole field in laps 2, 12 (the two may"
    assert expected in note(**good_session(laps=laps))


def test_late_and_missing_crossings_and_other_days_are_mentioned() -> None:
    flags = {2: ["late_trigger_pair"], 3: ["late_trigger_pair"], 4: ["missing_crossing"], 5: ["other_day"]}
    text = note(**good_session(laps=[lap(number, flags=flags.get(number, [])) for number in range(1, 11)]))
    assert "2 with a crossing stamped late, 1 with a crossing never sent, 1 of another day" in text


def test_non_starters_and_official_cars_without_a_device_are_named() -> None:
    absent: Row = {
        "track": "spa",
        "session": "R1",
        "version": "official",
        "is_final": True,
        "car_number": "78",
        "status": "Not started",
        "source_file": "spa/03.CSV",
    }
    cars = [car(), car("GR86-028-89", "89", has_started=False), car(None, "61", method="official_only")]
    text = note(**good_session(cars=cars, results=[absent]))
    assert "2 cars with lap triggers, 1 with telemetry; official cars matched with none of them: 61." in text
    assert "Cars that did not start: 78; crossed the line without racing: GR86-028-89." in text


def test_laps_without_official_timing_are_only_counted() -> None:
    laps = [lap(1, official_lap_number=None, lap_end_utc=lap(1)["lap_end_utc"] + timedelta(seconds=1))]
    assert note(cars=[car()], laps=laps).endswith(" 1 lap.")


def test_a_non_starter_is_not_listed_as_an_unmatched_official_car() -> None:
    text = note(**good_session(cars=[car(), car(None, "78", method="official_only", has_started=False)]))
    assert "matched with none" not in text


def test_car_numbers_are_sorted_by_value() -> None:
    others = [car(None, number, method="official_only") for number in ("111", "61", "7")]
    assert "matched with none of them: 7, 61, 111." in note(**good_session(cars=[car(), *others]))


def test_an_undecided_car_is_listed_before_many_renamed_ones() -> None:
    others = [car(f"GR86-{100 + place}-{place}", f"{900 + place}") for place in range(9)]
    undecided = car("GR86-999-78", None, method="undecided", candidates=["41"], official_number=None)
    assert "GR86-999-78 could be 41" in note(**good_session(cars=[*others, undecided]))


def test_a_non_starter_in_provisional_results_only_is_not_mentioned() -> None:
    row: Row = {
        "track": "spa",
        "session": "R1",
        "version": "provisional",
        "is_final": False,
        "car_number": "78",
        "status": "Not started",
        "source_file": "spa/03.CSV",
    }
    assert "did not start" not in note(**good_session(results=[row]))


def test_with_all_problems_at_once_the_note_has_eight_sentences() -> None:
    flags = ["late_trigger", "missing_crossing", "other_day", "truncated_export", "field_wide_jump"]
    undecided = car("GR86-004-78", None, method="undecided", candidates=["58", "41"], official_number=None)
    idle, other = car("GR86-028-89", "89", has_started=False), car(None, "61", method="official_only")
    text = note(
        laps=[*(lap(number) for number in range(1, 5)), lap(5, flags=flags, trigger_lap_time_s=None)],
        cars=[car(number="111"), undecided, idle, other],
        official_laps=[official_lap(number, car="111", behind_s=7.3) for number in range(1, 6)],
        telemetry_cars=[telemetry_car(is_clock_frozen=True)],
    )
    assert text.count(". ") + 1 == 8
    assert "7.3 s behind" in text


def test_a_clock_that_stopped_is_in_the_note_with_its_hole() -> None:
    before = telemetry_car(piece_start_utc=GREEN, piece_end_utc=GREEN + timedelta(minutes=10), clock_piece=1)
    after = telemetry_car(
        piece_start_utc=GREEN + timedelta(minutes=17), clock_piece=2, clock_offset_s=before["clock_offset_s"] + 420
    )

    text = note(**good_session(telemetry_cars=[before, after]))

    sentence = "Clocks stopped or were set during the session: GR86-022-13 by 420 s further behind after 7 min 0 s"
    assert sentence in text
    assert "1 with telemetry" in text


def test_times_that_are_not_explained_are_in_the_note() -> None:
    text = note(**good_session(telemetry_cars=[telemetry_car(unexplained_rows=12)]))

    assert "time_flag): 12 rows of GR86-022-13." in text
