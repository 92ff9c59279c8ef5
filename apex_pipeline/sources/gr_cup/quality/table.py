"""Builds the table ``quality`` from the tables of a session: scores of its cars and of the session, and its note.

See ``scores.py`` for the scores and ``summary.py`` for the note.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import pyarrow as pa

from apex_pipeline.sources.gr_cup.official_columns import COLUMN_NOTATION
from apex_pipeline.sources.gr_cup.quality.scores import Row, Score, lap_scores, session_score, telemetry_scores
from apex_pipeline.sources.gr_cup.quality.summary import SessionTables, session_summary
from apex_pipeline.sources.rejects import file_remarks, unreadable_files
from apex_pipeline.tables import CARS, LAPS, OFFICIAL_LAPS, QUALITY, QUALITY_MEASURES, RESULTS, TELEMETRY_CARS, Table

_MEASURES = [measure for measure in QUALITY_MEASURES if measure != "overall"]
# Maximum findings returned; the table has them all.
_MAX_FINDINGS = 10


def score_session(
    track: str,
    session: str,
    laps: pa.Table,
    cars: pa.Table,
    official_laps: pa.Table,
    results: pa.Table,
    telemetry_cars: pa.Table,
    rejects: Iterable[pa.Table] = (),
) -> pa.Table:
    """Score a session and each of its cars.

    Args:
        track: Track slug.
        session: Session name.
        laps: Its table ``laps``. The rows of all tables may be in any order; a missing table is passed as an empty one.
        cars: Its table ``cars``.
        official_laps: Its table ``official_laps``.
        results: Its table ``results``.
        telemetry_cars: Its table ``telemetry_cars``.
        rejects: Its rejects tables, which name the files that could not be read.

    Returns:
        The table ``quality``.
    """
    rejects = list(rejects)
    tables = SessionTables(
        laps=_rows(laps, LAPS),
        cars=_rows(cars, CARS),
        official_laps=_rows(official_laps, OFFICIAL_LAPS),
        results=_rows(results, RESULTS),
        telemetry_cars=_rows(telemetry_cars, TELEMETRY_CARS),
        unreadable=unreadable_files(rejects),
        columns=_column_sentences(rejects),
        remarks=file_remarks(rejects),
    )
    by_car = _scores_by_car(tables)
    rows = [_row(None, score) for score in _with_overall(_session_scores(by_car.values()), session_summary(tables))]
    for vehicle_id in sorted(by_car):
        worst = min(by_car[vehicle_id], key=lambda score: (score.score is None, score.score))
        rows += [_row(vehicle_id, score) for score in _with_overall(by_car[vehicle_id], worst.sentence)]
    ordered = sorted(rows, key=lambda row: (row["scope"], row["vehicle_id"] or "", row["measure"]))
    return QUALITY.from_rows([{"track": track, "session": session, **row} for row in ordered])


def _column_sentences(rejects: Iterable[pa.Table]) -> list[str]:
    rows = [row for table in rejects for row in table.to_pylist() if row["reason"] == COLUMN_NOTATION]
    return sorted({row["detail"] for row in rows})


def _rows(table: pa.Table, schema: Table) -> list[Row]:
    """Return the rows sorted by key, which makes the result independent of their order in the table."""
    return sorted(table.to_pylist(), key=lambda row: [str(row[name]) for name in schema.key])


def _scores_by_car(tables: SessionTables) -> dict[str, list[Score]]:
    laps: defaultdict[str, list[Row]] = defaultdict(list)
    for lap in tables.laps:
        laps[lap["vehicle_id"]].append(lap)
    cars = {car["vehicle_id"]: car for car in tables.cars if car["vehicle_id"] is not None}
    telemetry = {car["vehicle_id"]: car for car in tables.telemetry_cars}
    listed = Counter((lap["car_number"], lap["entry"]) for lap in tables.official_laps)
    scores: dict[str, list[Score]] = {}
    for vehicle_id in {*cars, *telemetry, *laps}:
        own_laps, car = laps.get(vehicle_id, []), cars.get(vehicle_id, {})
        official = listed[car.get("official_number"), car.get("official_entry")]
        scores[vehicle_id] = [
            *telemetry_scores(vehicle_id, telemetry.get(vehicle_id), own_laps),
            *lap_scores(vehicle_id, own_laps, official, is_undecided=bool(car.get("candidates"))),
        ]
    return scores


def _session_scores(by_car: Iterable[Sequence[Score]]) -> list[Score]:
    scores = [score for of_car in by_car for score in of_car]
    return [session_score(name, [score for score in scores if score.measure == name]) for name in _MEASURES]


def _with_overall(scores: Sequence[Score], sentence: str) -> list[Score]:
    """Return the scores plus the lowest one as ``overall``."""
    known = [score.score for score in scores if score.score is not None]
    return [*scores, Score("overall", min(known, default=None), sentence)]


def _row(vehicle_id: str | None, score: Score) -> Row:
    return {
        "scope": "session" if vehicle_id is None else "car",
        "vehicle_id": vehicle_id,
        "measure": score.measure,
        "score": score.score,
        "level": score.level,
        "sentence": score.sentence,
    }


def session_note_of(quality: pa.Table) -> str:
    """Return the session note from the table ``quality``; empty if it has none."""
    rows = (row for row in quality.to_pylist() if row["scope"] == "session" and row["measure"] == "overall")
    return next((str(row["sentence"]) for row in rows), "")


def worst_scores(quality: pa.Table) -> list[str]:
    """Return the sentences of the worst car scores that need a check or action, worst first, at most ten.

    Session scores are left out: one is below a limit only if a car's is, and its sentence names that car.

    Args:
        quality: The table ``quality``, or some rows of it.
    """
    car_rows = [row for row in quality.to_pylist() if row["scope"] == "car" and row["measure"] != "overall"]
    findings = [row for row in car_rows if row["level"] != "ok"]
    findings.sort(key=lambda row: (row["score"], row["vehicle_id"], row["measure"]))
    return [row["sentence"] for row in findings[:_MAX_FINDINGS]]
