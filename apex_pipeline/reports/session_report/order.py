"""Draws the lap chart: the order of the cars on the road at the end of each lap."""

from collections.abc import Mapping

from apex_pipeline.reports.markup import figure, missing, section
from apex_pipeline.reports.session_report.cars import CarKey, CarNames
from apex_pipeline.reports.session_report.facts import SessionFacts
from apex_pipeline.reports.session_report.lap_tables import ByCar, by_car, lap_table
from apex_pipeline.reports.session_report.line_chart import Frame, Label, Line, draw
from apex_pipeline.tables.model import Row

_ROW = 16
_ABOUT = (
    "On the road: penalties are not in it; the result above has them. A line goes to where the car crossed the line "
    "last, a dotted one from there to its place after all cars."
)
_NO_ORDER = "The order on the road is not known: no lap has the time at which it ended."


def order_section(facts: SessionFacts, names: CarNames, colours: Mapping[CarKey, int]) -> str:
    """Return the section with the lap chart, or with the reason why there is none."""
    rows = [row for row in facts.chart if row["position"] is not None]
    title = "Lap chart: the order on the road"
    if not rows:
        return section("order", title, missing(_NO_ORDER))
    cars = _ordered(rows)
    drawing = _draw(cars, names, colours)
    notes = [_ABOUT, facts.timing_note]
    as_table = lap_table("Position at the end of each lap", cars, names, lambda row: str(row["position"]))
    return section("order", title, figure("Position by lap", drawing, *filter(None, notes), as_table=as_table))


def _ordered(rows: list[Row]) -> ByCar:
    """Return the laps of each car, the cars in their order on the road after the last of them."""
    cars = by_car(rows)
    last = {key: max(laps, key=lambda row: row["lap_number"]) for key, laps in cars.items()}
    ordered = sorted(cars, key=lambda key: (-last[key]["lap_number"], last[key]["elapsed_s"], str(key)))
    return {key: cars[key] for key in ordered}


def _draw(cars: ByCar, names: CarNames, colours: Mapping[CarKey, int]) -> str:
    laps = [row["lap_number"] for of_car in cars.values() for row in of_car]
    frame = Frame("Position of each car at the end of each lap", min(laps), max(laps), _ROW * len(cars))
    lines: list[Line] = []
    right: list[Label] = []
    for place, (key, of_car) in enumerate(cars.items(), start=1):
        called, colour = names.of(of_car[0]), colours.get(key)
        points = [(row["lap_number"], _height(row["position"])) for row in of_car]
        end = (frame.last_lap, _height(place))
        dotted = [points[-1], end] if points[-1] != end else []
        said = f"{called}: place {of_car[-1]['position']} at the end of lap {of_car[-1]['lap_number']}"
        lines.append(Line(said, points, colour, dotted))
        right.append(Label(called, _height(place), colour=colour))
    left = [Label(str(place), _height(place)) for place in range(1, len(cars) + 1)]
    return draw(frame, lines, left, right, "position on the road")


def _height(position: int) -> float:
    return _ROW * (position - 0.5)
