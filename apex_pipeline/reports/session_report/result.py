"""Writes the result: place, best lap, gap and penalty of each car, beside its place on the road."""

from apex_pipeline.reports.markup import Column, missing, name, paragraph, section, table
from apex_pipeline.reports.session_report.cars import CarNames
from apex_pipeline.reports.session_report.facts import SessionFacts
from apex_pipeline.reports.session_report.numbers import count, decimals, known, lap, race_time, signed
from apex_pipeline.tables.model import Row

_COLUMNS = (
    Column("Place"),
    Column("Car", is_text=True),
    Column("Best lap"),
    Column("Gap, s"),
    Column("Penalty, s"),
    Column("On the road"),
    Column("Laps"),
    Column("Time"),
    Column("Best in lap"),
    Column("Status", is_text=True),
)
_NAMED = 8


def result_section(facts: SessionFacts, names: CarNames) -> str:
    """Return the section with the result, or with the best laps where there is none."""
    if not facts.penalties:
        return section("result", "Result", *_best_laps(facts, names))
    # Both are in the order of the classification; the penalties have cars behind it that are in no classification.
    results = sorted(facts.results, key=lambda row: (row["position"] is None, row["position"] or 0))
    classified = [row for row in facts.penalties if row["status"] is not None or row["position"] is not None]
    best = {id(row): result for row, result in zip(classified, results, strict=False)}
    rows = [_cells(row, best.get(id(row), {}), names) for row in facts.penalties]
    return section(
        "result",
        "Result",
        paragraph(_penalties(facts.penalties, names)),
        table("Classification with penalties", _COLUMNS, rows),
        paragraph("Penalty: what the result adds to the time on the road. A dash: the files do not say it.", "m"),
    )


def _cells(row: Row, result: Row, names: CarNames) -> list[str]:
    return [
        known(row["position"]),
        name(names.of(row)),
        lap(result.get("best_lap_time_s")),
        _gap(result),
        # What is no more than the rounding of the sums is no penalty.
        "0" if row["penalty_s"] == 0 else signed(row["penalty_s"], 3),
        known(row["position_on_road"]),
        known(row["laps_completed"]),
        race_time(row["total_time_s"]),
        known(result.get("best_lap_number")),
        known(row["status"]),
    ]


def _gap(result: Row) -> str:
    if result.get("gap_to_first_laps"):
        return count(result["gap_to_first_laps"], "lap")
    return decimals(result.get("gap_to_first_s"), 3)


def _penalties(rows: list[Row], names: CarNames) -> str:
    """Return a sentence that says who lost time after the flag, and whether the winner on the road won."""
    first = next((row for row in rows if row["position_on_road"] == 1), None)
    said = [f"{names.of(row)} {signed(row['penalty_s'], 3)} s" for row in rows if (row["penalty_s"] or 0) != 0]
    if not said:
        return "The result adds nothing to any car's time on the road."
    more = f" and {count(len(said) - _NAMED, 'more car')}" if len(said) > _NAMED else ""
    sentence = f"The result changes the time of {count(len(said), 'car')}: {', '.join(said[:_NAMED])}{more}."
    if first is not None and first["position"] not in {1, None}:
        sentence += f" The winner on the road, {names.of(first)}, is in place {first['position']} of the result."
    return sentence


def _best_laps(facts: SessionFacts, names: CarNames) -> list[str]:
    why = "There is no classification among the session's files, so places and penalties are not known."
    if not facts.best:
        return [missing(why), missing("No car has a valid lap with a time.")]
    columns = (Column("Rank"), Column("Car", is_text=True), Column("Best lap"), Column("in lap"), Column("Gap, s"))
    rows = [
        [
            known(row["rank"]),
            name(names.of_vehicle(row["vehicle_id"], row["car_number"])),
            lap(row["lap_time_s"]),
            known(row["lap_number"]),
            decimals(row["gap_s"], 3),
        ]
        for row in facts.best
    ]
    return [missing(f"{why} By their best valid laps:"), table("Best valid laps", columns, rows)]
