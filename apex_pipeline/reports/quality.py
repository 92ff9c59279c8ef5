"""Draws the quality scores of a session as bars."""

import pyarrow as pa

from apex_pipeline.reports.svg import Drawing, Scale

_WIDTH = 640
_ROW = 26
_TOP, _LEFT, _BAR = 44, 178, 13
# Every measure in a race engineer's words, in the order of the table.
MEASURES = {
    "duplicates": "no reading sent twice",
    "backward_time": "car clocks run forward",
    "gaps": "no holes in telemetry",
    "missing_channels": "every channel recorded",
    "lap_coverage": "every lap recorded",
    "official_mismatch": "agrees with official times",
    "overall": "overall",
}
_COLOURS = {"ok": "good", "warn": "accent", "error": "accent"}


def draw_quality(quality: pa.Table) -> str | None:
    """Return the scores of a session as a Markdown image; ``None`` without any.

    The bar is the score of the session, and the thin line reaches down to its lowest car.

    Args:
        quality: Rows of the table ``quality``.
    """
    rows = quality.select(["scope", "measure", "score", "level"]).to_pylist()
    session = {row["measure"]: row for row in rows if row["scope"] == "session"}
    lowest: dict[str, float] = {}
    for row in rows:
        if row["scope"] == "car" and row["score"] is not None:
            lowest[row["measure"]] = min(row["score"], lowest.get(row["measure"], row["score"]))
    measures = [measure for measure in MEASURES if measure in session]
    if not measures:
        return None
    drawing = Drawing(_WIDTH, _TOP + _ROW * len(measures) + 30, "Quality of the session, 100 is perfect")
    scale = Scale(0, 100, _LEFT, _WIDTH - 130)
    for row, measure in enumerate(measures):
        found = session[measure]
        _draw_score(drawing, scale, _TOP + _ROW * row, (MEASURES[measure], found["score"], found["level"]))
        _draw_lowest(drawing, scale, _TOP + _ROW * row, lowest.get(measure))
    bottom = _TOP + _ROW * len(measures) + 14
    drawing.text(_LEFT, bottom, "bar: the session; mark: its lowest car", fill="muted")
    return drawing.markdown


def _draw_score(drawing: Drawing, scale: Scale, top: float, score: tuple[str, float | None, str]) -> None:
    name, value, level = score
    middle = top + _BAR / 2
    drawing.text(_LEFT - 10, top + 11, name, anchor="end")
    drawing.line((scale(0), middle), (scale(100), middle))
    if value is None:
        drawing.text(_LEFT + 4, top + 11, "nothing to score", fill="muted")
        return
    drawing.bar(scale(0), top, scale(value) - scale(0), _BAR, fill=_COLOURS[level])
    words = {"ok": "", "warn": "check", "error": "act on it"}[level]
    drawing.text(scale(100) + 10, top + 11, f"{value:.0f}  {words}")


def _draw_lowest(drawing: Drawing, scale: Scale, top: float, value: float | None) -> None:
    if value is not None:
        drawing.path([[(scale(value), top - 3), (scale(value), top + _BAR + 3)]], stroke="muted", width=2)
