"""The picture of the quality scores."""

from apex_pipeline.reports.quality import MEASURES, draw_quality
from apex_pipeline.tables import QUALITY, QUALITY_MEASURES
from apex_pipeline_tests.reports.pictures import Picture

_Row = dict[str, object]


def _row(measure: str, score: float | None, level: str = "ok", vehicle: str | None = None) -> _Row:
    scope = "car" if vehicle else "session"
    return {"scope": scope, "vehicle_id": vehicle, "measure": measure, "score": score, "level": level, "sentence": "-"}


def test_every_measure_of_the_table_has_words_for_it() -> None:
    assert tuple(MEASURES) == QUALITY_MEASURES


def test_each_score_of_the_session_is_a_bar_with_its_number_and_what_to_do() -> None:
    rows = [_row("gaps", 55.0, "warn"), _row("duplicates", 99.6), _row("lap_coverage", 12.0, "error")]
    picture = Picture(draw_quality(QUALITY.from_rows(rows)))
    assert picture.texts[1:-1] == [
        *("no reading sent twice", "100  "),
        *("no holes in telemetry", "55  check"),
        *("every lap recorded", "12  act on it"),
    ]


def test_the_lowest_car_is_marked() -> None:
    alone = Picture(draw_quality(QUALITY.from_rows([_row("gaps", 90.0)])))
    rows = [_row("gaps", 90.0), _row("gaps", 20.0, vehicle="a"), _row("gaps", None, vehicle="b")]
    marked = Picture(draw_quality(QUALITY.from_rows(rows)))
    assert len(marked.paths) == len(alone.paths) + 1


def test_a_measure_without_a_score_says_so() -> None:
    assert "nothing to score" in Picture(draw_quality(QUALITY.from_rows([_row("gaps", None)]))).texts


def test_without_scores_there_is_no_picture() -> None:
    assert draw_quality(QUALITY.empty()) is None
