"""From the tables of a session to the table ``quality``: every car's scores, the session's, and its note.

Here belongs the putting together; what a score is worth is ``scores.py``, the note ``summary.py``.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import pyarrow as pa

from apex_pipeline.sources.gr_cup.quality.scores import Row, Score, lap_scores, session_score, telemetry_scores
from apex_pipeline.sources.gr_cup.quality.summary import SessionTables, session_summary
from apex_pipeline.tables import CARS, LAPS, OFFICIAL_LAPS, QUALITY, QUALITY_MEASURES, RESULTS, TELEMETRY_CARS, Table

_MEASURES = [measure for measure in QUALITY_MEASURES if measure != "overall"]
# Findings told at once; the table has them all.
_WORST_SHOWN = 10


def score_session(
    track: str,
    session: str,
    laps: pa.Table,
    cars: pa.Table,
    official_laps: pa.Table,
    results: pa.Table,
    telemetry_cars: pa.Table,
) -> pa.Table:
    """Score a session and every car of it.

    Args:
        track: Track slug.
        session: Session.
        laps: Its table ``laps``; like all of them in any order, and empty where there is none.
        cars: Its table ``cars``.
        official_laps: Its table ``official_laps``.
        results: Its table ``results``.
        telemetry_cars: Its table ``telemetry_cars``.

    Returns:
        The table ``quality``.
    """
    tables = SessionTables(
        laps=_rows(laps, LAPS),
        cars=_rows(cars, CARS),
        official_laps=_rows(official_laps, OFFICIAL_LAPS),
        results=_rows(results, RESULTS),
        telemetry_cars=_rows(telemetry_cars, TELEMETRY_CARS),
    )
    by_car = _scores_by_car(tables)
    rows = [_row(None, score) for score in _with_overall(_session_scores(by_car.values()), session_summary(tables))]
    for unit in sorted(by_car):
        worst = min(by_car[unit], key=lambda score: (score.score is None, score.score))
        rows += [_row(unit, score) for score in _with_overall(by_car[unit], worst.sentence)]
    keyed = sorted(rows, key=lambda row: (row["scope"], row["vehicle_id"] or "", row["measure"]))
    return QUALITY.from_rows([{"track": track, "session": session, **row} for row in keyed])


def _rows(table: pa.Table, schema: Table) -> list[Row]:
    """Return the rows in an order of their own, so that the one they came in says nothing."""
    return sorted(table.to_pylist(), key=lambda row: [str(row[name]) for name in schema.key])


def _scores_by_car(tables: SessionTables) -> dict[str, list[Score]]:
    laps: defaultdict[str, list[Row]] = defaultdict(list)
    for lap in tables.laps:
        laps[lap["vehicle_id"]].append(lap)
    cars = {car["vehicle_id"]: car for car in tables.cars if car["vehicle_id"] is not None}
    telemetry = {car["vehicle_id"]: car for car in tables.telemetry_cars}
    listed = Counter((lap["car_number"], lap["entry"]) for lap in tables.official_laps)
    scores: dict[str, list[Score]] = {}
    for unit in {*cars, *telemetry, *laps}:
        driven, car = laps.get(unit, []), cars.get(unit, {})
        official = listed[car.get("official_number"), car.get("official_entry")]
        scores[unit] = [
            *telemetry_scores(unit, telemetry.get(unit), driven),
            *lap_scores(unit, driven, official, is_undecided=bool(car.get("candidates"))),
        ]
    return scores


def _session_scores(by_car: Iterable[Sequence[Score]]) -> list[Score]:
    scores = [score for of_car in by_car for score in of_car]
    return [session_score(name, [score for score in scores if score.measure == name]) for name in _MEASURES]


def _with_overall(scores: Sequence[Score], sentence: str) -> list[Score]:
    """Return the scores and the lowest of them as ``overall``."""
    known = [score.score for score in scores if score.score is not None]
    return [*scores, Score("overall", min(known, default=None), sentence)]


def _row(unit: str | None, score: Score) -> Row:
    return {
        "scope": "session" if unit is None else "car",
        "vehicle_id": unit,
        "measure": score.measure,
        "score": score.score,
        "level": score.level,
        "sentence": score.sentence,
    }


def session_note_of(quality: pa.Table) -> str:
    """Return the session note out of the table ``quality``."""
    rows = (row for row in quality.to_pylist() if row["scope"] == "session" and row["measure"] == "overall")
    return next((str(row["sentence"]) for row in rows), "")


def worst_scores(quality: pa.Table) -> list[str]:
    """Return what calls for a look or for action, the worst first, at most ten sentences.

    Those of the cars: a session's score is below the line only where a car's is, and tells the same car.

    Args:
        quality: The table ``quality``, or some rows of it.
    """
    told = [row for row in quality.to_pylist() if row["scope"] == "car" and row["measure"] != "overall"]
    wanting = [row for row in told if row["level"] != "ok"]
    wanting.sort(key=lambda row: (row["score"], row["vehicle_id"], row["measure"]))
    return [row["sentence"] for row in wanting[:_WORST_SHOWN]]
