"""Writes what the data is worth: the session note, the scores with their sentences, and what is doubtful."""

from collections.abc import Iterable, Sequence

from apex_pipeline.reports.markup import element, missing, name, paragraph, section, text
from apex_pipeline.reports.quality import MEASURES
from apex_pipeline.reports.session_report.cars import CarNames
from apex_pipeline.reports.session_report.facts import SessionFacts
from apex_pipeline.reports.session_report.numbers import decimals
from apex_pipeline.tables.model import Row

_LEVELS = {"ok": "good", "warn": "look at it", "error": "act on it"}
# Findings that are listed: those of two grids with one bad measure each.
_MOST_DOUBTS = 60


def quality_section(facts: SessionFacts, names: CarNames) -> str:
    """Return the section, or the reason why there is none."""
    title = "Quality, and what is doubtful"
    if not facts.quality:
        why = "The session has no quality scores: its source makes none."
        return section("quality", title, paragraph(facts.note, "note"), missing(why))
    scores = [row for row in facts.quality if row["scope"] == "session" and row["measure"] != "overall"]
    doubts = [row for row in facts.quality if row["scope"] == "car" and _is_doubt(row)]
    return section(
        "quality",
        title,
        paragraph(facts.note or "The session has no note.", "note"),
        element("h3", "Scores of the session; 100 is perfect"),
        _findings((_measure(row), row) for row in scores),
        _doubts(doubts, names),
    )


def _is_doubt(row: Row) -> bool:
    return row["level"] != "ok" and row["measure"] != "overall"


def _measure(row: Row) -> str:
    return text(MEASURES.get(row["measure"], row["measure"]))


def _findings(rows: Iterable[tuple[str, Row]]) -> str:
    """Return a list of findings: a table of sentences is too wide for a phone."""
    items = (
        f"<li><b>{title}</b>: {decimals(row['score'], 0)}, {_LEVELS[row['level']]}<p>{text(row['sentence'])}</p></li>"
        for title, row in rows
    )
    return f'<ul class="findings">{"".join(items)}</ul>'


def _doubts(rows: Sequence[Row], names: CarNames) -> str:
    if not rows:
        return paragraph("Nothing speaks against the data of a single car.")
    worst = sorted(rows, key=lambda row: (row["level"] != "error", row["score"] if row["score"] is not None else 0.0))
    title = "Doubtful, car by car, the worst first"
    if len(rows) > _MOST_DOUBTS:
        title += f"; {_MOST_DOUBTS} of {len(rows):,}"
    shown = (
        (f"{name(names.of_vehicle(row['vehicle_id'], None))} {_measure(row)}", row) for row in worst[:_MOST_DOUBTS]
    )
    return element("h3", title) + _findings(shown)
