"""Scores: good data scores 100, problems score less, and a sentence gives the reason."""

import random
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_pipeline.sources.gr_cup.quality import worst_scores
from apex_pipeline.tables import QUALITY_MEASURES
from apex_pipeline_tests.sources.gr_cup.quality.session_builder import (
    GREEN,
    UNIT,
    Row,
    car,
    good_session,
    lap,
    official_lap,
    row_of,
    score,
    telemetry_car,
)

OTHER = "GR86-030-18"


@pytest.mark.parametrize("measure", QUALITY_MEASURES)
@pytest.mark.parametrize("unit", [UNIT, None])
def test_a_good_car_and_its_session_score_100(measure: str, unit: str | None) -> None:
    row = row_of(score(**good_session()), measure, unit)
    assert (row["score"], row["level"]) == (100.0, "ok")


@pytest.mark.parametrize(
    ("measure", "change", "expected", "level", "words"),
    [
        ("duplicates", {"exact_duplicates": 4_700}, 76.5, "ok", "4.7%"),
        ("duplicates", {"exact_duplicates": 10_000}, 50.0, "warn", "10.0%"),
        ("duplicates", {"exact_duplicates": 16_000}, 20.0, "error", "16.0%"),
        ("backward_time", {"is_clock_frozen": True, "backward_steps": None}, 60.0, "warn", "stood still"),
        ("backward_time", {"backward_steps": 50}, 50.0, "warn", "50 times"),
        ("gaps", {"gaps": 1, "longest_gap_s": 73.0}, 89.9, "ok", "the longest 73 s"),
        ("gaps", {"gaps": 3, "longest_gap_s": 900.0}, 0.0, "error", "3 holes"),
        ("missing_channels", {"missing_channels": ["speed_kph", "lap_distance_m"]}, 50.0, "warn", "lap_distance_m"),
    ],
)
def test_telemetry_problems_lower_the_score_with_a_reason(
    measure: str, change: dict[str, Any], expected: float, level: str, words: str
) -> None:
    row = row_of(score(**good_session(telemetry_cars=[telemetry_car(**change)])), measure)
    assert (row["score"], row["level"]) == (expected, level)
    assert words in row["sentence"]
    assert row["sentence"].startswith(UNIT)


def test_a_car_with_a_single_sample_has_no_gap() -> None:
    single = telemetry_car(readings=1, first_sample_utc=GREEN, last_sample_utc=GREEN)
    assert row_of(score(telemetry_cars=[single]), "gaps")["score"] == 100.0


@pytest.mark.parametrize(
    ("start_s", "end_s", "words"),
    [(98, 980, "; 98 s of its laps"), (0, 882, "; 98 s of its laps"), (-60, 980, "0 holes of more than 2 s in telem")],
)
def test_telemetry_that_starts_late_or_ends_early_counts_as_a_gap(start_s: int, end_s: int, words: str) -> None:
    first, last = GREEN + timedelta(seconds=start_s), GREEN + timedelta(seconds=end_s)
    partial = telemetry_car(first_sample_utc=first, last_sample_utc=last)
    row = row_of(score(**good_session(telemetry_cars=[partial])), "gaps")
    assert row["score"] == (50.0 if "laps" in words else 100.0)
    assert words in row["sentence"]


@pytest.mark.parametrize("flag", ["formation_lap", "post_race_lap", "other_day"])
def test_laps_that_were_not_raced_need_no_telemetry(flag: str) -> None:
    not_raced = lap(0, official_lap_number=None, flags=[flag], lap_start_utc=GREEN - timedelta(hours=20))
    assert row_of(score(laps=[not_raced, lap(1)], telemetry_cars=[telemetry_car()]), "gaps")["score"] == 100.0


def test_every_gap_counts_with_at_least_two_seconds() -> None:
    many_gaps = telemetry_car(gaps=181, longest_gap_s=3.0)
    assert row_of(score(telemetry_cars=[many_gaps]), "gaps")["score"] == pytest.approx(100 * (1 - 363 / 720), abs=0.1)


def test_an_official_lap_missing_from_the_table_of_laps_lowers_coverage() -> None:
    row = row_of(score(**good_session(laps=[lap(number) for number in range(1, 6)])), "lap_coverage")
    assert (row["score"], row["sentence"][-len("5 of 10 official laps.") :]) == (50.0, "5 of 10 official laps.")


def test_coverage_is_zero_if_all_official_laps_of_a_car_are_missing() -> None:
    quality = score(**good_session(laps=[]))
    assert (row_of(quality, "lap_coverage")["score"], row_of(quality, "official_mismatch")["score"]) == (0.0, None)


def test_cars_printed_with_the_same_number_are_counted_separately() -> None:
    second = [official_lap(number) | {"entry": 2} for number in range(1, 31)]
    quality = score(**good_session(official_laps=[*good_session()["official_laps"], *second]))
    assert row_of(quality, "lap_coverage")["score"] == 100.0


def test_a_car_found_only_in_the_table_of_laps_is_scored() -> None:
    assert row_of(score(laps=[lap(1), lap(2)]), "lap_coverage")["score"] == 100.0


def test_one_wrong_lap_in_five_is_a_warning_and_not_an_error() -> None:
    laps = [*(lap(number) for number in range(2, 6)), lap(6, delta_to_official_s=30.0)]
    assert row_of(score(laps=laps), "official_mismatch")["level"] == "warn"


def test_laps_outside_the_export_lower_coverage() -> None:
    cut: Row = {"flags": ["truncated_export"], "trigger_lap_time_s": None, "delta_to_official_s": None}
    laps = [lap(number, **(cut if number > 5 else {})) for number in range(1, 11)]
    row = row_of(score(**good_session(laps=laps)), "lap_coverage")
    assert (row["score"], row["level"]) == (50.0, "warn")
    assert "5 of 10" in row["sentence"]


def test_laps_off_official_timing_lower_the_score_but_field_wide_jumps_do_not() -> None:
    off: dict[int, Row] = {
        3: {"delta_to_official_s": 0.9},
        4: {"delta_to_official_s": 8.8, "flags": ["field_wide_jump"]},
    }
    row = row_of(
        score(**good_session(laps=[lap(number, **off.get(number, {})) for number in range(1, 11)])), "official_mismatch"
    )
    assert (row["score"], row["level"]) == (75.0, "ok")
    assert "1 of 8 own lap times" in row["sentence"]
    assert "laps with a jump of the whole field, left out: 1" in row["sentence"]


def test_a_car_with_only_field_wide_jumps_has_no_mismatch_score() -> None:
    jumps: Row = {"delta_to_official_s": 8.8, "flags": ["field_wide_jump"]}
    laps = [lap(number, **(jumps if number > 1 else {})) for number in range(1, 4)]
    assert row_of(score(**good_session(laps=laps)), "official_mismatch")["score"] is None


def test_an_undecided_car_is_a_warning_and_is_not_compared() -> None:
    undecided = car(number=None, method="undecided", candidates=["41", "58"], official_entry=None)
    laps = [lap(number, official_lap_number=None, official_lap_time_s=None, is_valid=False) for number in (1, 2)]
    quality = score(**good_session(cars=[undecided], laps=laps))
    assert row_of(quality, "official_mismatch")["level"] == "warn"
    assert row_of(quality, "lap_coverage")["score"] is None


def test_missing_data_is_not_scored() -> None:
    quality = score(cars=[car(method="suffix", official_entry=None)], laps=[lap(1, official_lap_number=None)])
    assert {row["score"] for row in quality.to_pylist()} == {None}
    assert {row["level"] for row in quality.to_pylist()} == {"ok"}


def test_overall_is_the_lowest_score_with_its_sentence() -> None:
    quality = score(**good_session(telemetry_cars=[telemetry_car(exact_duplicates=16_000)]))
    overall = row_of(quality, "overall")
    assert (overall["score"], overall["sentence"]) == (20.0, row_of(quality, "duplicates")["sentence"])


def test_the_session_names_its_worst_car() -> None:
    worst = telemetry_car(OTHER, exact_duplicates=10_000)
    quality = score(**good_session(cars=[car(), car(OTHER, "18")], telemetry_cars=[telemetry_car(), worst]))
    row = row_of(quality, "duplicates", None)
    assert row["score"] == 75.0
    assert row["sentence"].startswith(f"2 cars scored, 1 below 75. The lowest: {OTHER}")


def test_findings_are_the_ten_worst_of_the_cars_in_order() -> None:
    units = [f"GR86-{place:03}-{place}" for place in range(12)]
    cars = [telemetry_car(unit, exact_duplicates=10_000 + 100 * place) for place, unit in enumerate(units)]
    found = worst_scores(score(telemetry_cars=cars))
    assert [sentence.split(":")[0] for sentence in found] == units[:1:-1]
    assert found[0] == f"{units[11]}: 11.1% of 100,000 readings are exact duplicates."


def test_a_good_session_has_no_findings() -> None:
    assert worst_scores(score(**good_session())) == []


_FLAGS = ["truncated_export", "missing_crossing", "field_wide_jump", "late_trigger", "other_day", "formation_lap"]


def _drawn_laps(draw: st.DrawFn, unit: str) -> list[Row]:
    return [
        lap(
            number,
            unit,
            official_lap_number=draw(st.sampled_from([None, number])),
            trigger_lap_time_s=draw(st.sampled_from([None, 98.0])),
            delta_to_official_s=draw(st.none() | st.floats(-300, 300)),
            flags=draw(st.lists(st.sampled_from(_FLAGS), unique=True)),
        )
        for number in range(1, draw(st.integers(0, 4)) + 1)
    ]


@st.composite
def sessions(draw: st.DrawFn) -> dict[str, list[Row]]:
    """Draw the tables of a session whose cars have any combination of problems."""
    tables: dict[str, list[Row]] = {"laps": [], "cars": [], "official_laps": [], "telemetry_cars": []}
    for place in range(draw(st.integers(0, 4))):
        unit, is_undecided = f"GR86-{place:03}-{place}", draw(st.booleans())
        number = None if is_undecided else f"{draw(st.integers(10, 12)) * 10 + place}"
        undecided: Row = {"method": "undecided", "candidates": ["41"]} if is_undecided else {}
        tables["cars"].append(car(unit, number, has_started=draw(st.booleans()), **undecided))
        tables["laps"] += _drawn_laps(draw, unit)
        tables["official_laps"] += [official_lap(lap, number) for lap in range(1, draw(st.integers(0, 3))) if number]
        tables["telemetry_cars"].append(
            telemetry_car(
                unit,
                readings=draw(st.sampled_from([0, 100_000])),
                is_clock_frozen=draw(st.booleans()),
                exact_duplicates=draw(st.integers(0, 100_000)),
                backward_steps=draw(st.none() | st.integers(0, 1_000)),
                gaps=draw(st.integers(0, 2_000)),
                longest_gap_s=draw(st.none() | st.floats(0, 3_600)),
                last_sample_utc=GREEN + timedelta(seconds=draw(st.integers(0, 7_200))),
                missing_channels=draw(st.lists(st.sampled_from(["gear", "speed_kph"]), unique=True)),
            )
        )
    return tables


@given(sessions())
def test_scores_are_within_bounds_and_overall_is_the_lowest(tables: dict[str, list[Row]]) -> None:
    quality = score(**tables)  # also checks the schema: scores from 0 to 100, no duplicate rows
    for unit in {row["vehicle_id"] for row in quality.to_pylist()}:
        scores = [row_of(quality, measure, unit)["score"] for measure in QUALITY_MEASURES if measure != "overall"]
        known = [value for value in scores if value is not None]
        assert row_of(quality, "overall", unit)["score"] == min(known, default=None)


@given(sessions())
def test_adding_a_perfect_car_never_lowers_a_session_score(tables: dict[str, list[Row]]) -> None:
    unit = "GR86-999-9"
    perfect = {
        "laps": [lap(number, unit) for number in (1, 2)],
        "cars": [car(unit, "9")],
        "official_laps": [official_lap(number, "9") for number in (1, 2)],
        "telemetry_cars": [telemetry_car(unit)],
    }
    before, after = score(**tables), score(**{name: [*rows, *perfect[name]] for name, rows in tables.items()})
    for measure in set(QUALITY_MEASURES) - {"overall"}:
        assert row_of(after, measure, unit)["score"] == 100.0
        score_before = row_of(before, measure, None)["score"]
        assert score_before is None or row_of(after, measure, None)["score"] >= score_before


@given(sessions(), st.randoms(use_true_random=False))
def test_row_order_does_not_matter(tables: dict[str, list[Row]], chance: random.Random) -> None:
    shuffled = {name: chance.sample(rows, len(rows)) for name, rows in tables.items()}
    assert score(**shuffled).equals(score(**tables))


def test_official_laps_alone_give_no_car_scores() -> None:
    quality = score(official_laps=[official_lap(1)])
    assert {row["vehicle_id"] for row in quality.to_pylist()} == {None}
