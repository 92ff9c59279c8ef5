"""Writes the first things that a report says as plain text, for a list of reports or the log of a run."""

from apex_pipeline.amounts import lap_time
from apex_pipeline.reports.session_report.cars import CarNames
from apex_pipeline.reports.session_report.facts import SessionFacts
from apex_pipeline.reports.session_report.page import about

# Places of the result that are named.
_NAMED = 3


def preview_of(facts: SessionFacts) -> str:
    """Return a few lines: what the session is, who won, the best lap, and what its note says."""
    names = CarNames([*facts.chart, *facts.penalties, *facts.sectors, *facts.best])
    lines = (f"{facts.track_name}, {facts.session}. {about(facts)}", _result(facts, names), _best(facts, names))
    return "\n".join(filter(None, (*lines, facts.note)))


def _result(facts: SessionFacts, names: CarNames) -> str:
    placed = sorted((row for row in facts.penalties if row["position"]), key=lambda row: row["position"])
    if not placed:
        return "There is no classification."
    named = ", ".join(f"{row['position']}. {names.of(row)}" for row in placed[:_NAMED])
    return f"Result: {named}."


def _best(facts: SessionFacts, names: CarNames) -> str:
    if not facts.best:
        return "No car has a valid lap with a time."
    row = facts.best[0]
    name = names.of_vehicle(row["vehicle_id"], row["car_number"])
    return f"Best lap: {lap_time(row['lap_time_s'])} by {name} in lap {row['lap_number']}."
