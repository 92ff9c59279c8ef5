"""Draws the gap of each car to the leader at the end of each lap."""

from collections.abc import Mapping

from apex_pipeline.reports.markup import figure, missing, section
from apex_pipeline.reports.session_report.cars import CarKey, CarNames
from apex_pipeline.reports.session_report.facts import SessionFacts
from apex_pipeline.reports.session_report.lap_tables import ByCar, by_car, lap_table
from apex_pipeline.reports.session_report.line_chart import Frame, Label, Line, draw, spread
from apex_pipeline.reports.session_report.numbers import decimals
from apex_pipeline.reports.svg import Scale
from apex_pipeline.tables.model import Row

_LEAST_HEIGHT = 320
# Between two labels, so that their letters do not touch.
_APART = 13
_TICKS = 7
_NAMED = 12
_ABOUT = (
    "Each gap is to the first car at the end of the same lap, on the road. Cars that did not complete the leader's "
    "last lap have no name at the right edge: point at a line to see whose it is."
)


def gaps_section(facts: SessionFacts, names: CarNames, colours: Mapping[CarKey, int]) -> str:
    """Return the section with the gaps, or with the reason why there are none."""
    cars = by_car(row for row in facts.chart if row["gap_to_leader_s"] is not None)
    title = "Gap to the leader"
    if not cars:
        return section("gaps", title, missing("No gap is known: no lap has the time it ended at."))
    drawing, outside = _draw(cars, names, colours)
    notes = [_ABOUT, outside]
    as_table = lap_table("Gap to the leader at the end of each lap, s", cars, names, _gap)
    return section("gaps", title, figure("Gap by lap", drawing, *filter(None, notes), as_table=as_table))


def _gap(row: Row) -> str:
    return decimals(row["gap_to_leader_s"], 3)


def _draw(cars: ByCar, names: CarNames, colours: Mapping[CarKey, int]) -> tuple[str, str]:
    """Return the drawing, and a sentence about the cars that are too far behind for it."""
    laps = [row["lap_number"] for of_car in cars.values() for row in of_car]
    last_lap = max(laps)
    finished = {key: of_car for key, of_car in cars.items() if of_car[-1]["lap_number"] == last_lap}
    limit_s = max(row["gap_to_leader_s"] for of_car in finished.values() for row in of_car)
    height = max(_LEAST_HEIGHT, _APART * (len(finished) + 1))
    frame = Frame("Gap of each car to the leader at the end of each lap", min(laps), last_lap, height)
    scale = Scale(0, limit_s, 6, height - 6)
    lines: list[Line] = []
    outside: list[str] = []
    for key, of_car in cars.items():
        near = [(row["lap_number"], scale(row["gap_to_leader_s"])) for row in of_car if _is_near(row, limit_s)]
        called = names.of(of_car[0])
        if len(near) < len(of_car):
            outside.append(called)
        end = of_car[-1]
        said = f"{called}: {decimals(end['gap_to_leader_s'], 3)} s at the end of lap {end['lap_number']}"
        lines.append(Line(said, near, colours.get(key)))
    left = [Label(f"{tick:g}", scale(tick)) for tick in scale.ticks(_TICKS)]
    drawing = draw(frame, lines, left, _labels(finished, scale, names, colours), "gap to the leader, s")
    return drawing, _outside(outside, limit_s)


def _is_near(row: Row, limit_s: float) -> bool:
    return row["gap_to_leader_s"] <= limit_s


def _labels(finished: ByCar, scale: Scale, names: CarNames, colours: Mapping[CarKey, int]) -> list[Label]:
    ordered = sorted(finished.items(), key=lambda item: item[1][-1]["gap_to_leader_s"])
    wanted = [scale(of_car[-1]["gap_to_leader_s"]) for _, of_car in ordered]
    placed = spread(wanted, _APART, scale(scale.low), scale(scale.high))
    return [
        Label(names.of(of_car[0]), place, height, colours.get(key))
        for (key, of_car), height, place in zip(ordered, wanted, placed, strict=True)
    ]


def _outside(outside: list[str], limit_s: float) -> str:
    if not outside:
        return ""
    listed = ", ".join(outside[:_NAMED])
    more = f" and {len(outside) - _NAMED} more" if len(outside) > _NAMED else ""
    return f"Laps more than {decimals(limit_s, 1)} s behind are only in the table: of {listed}{more}."
