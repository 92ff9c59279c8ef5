"""Writes the tables below the charts: a row for each car, a column for each lap."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from apex_pipeline.reports.markup import Column, name, table
from apex_pipeline.reports.session_report.cars import CarKey, CarNames, car_key
from apex_pipeline.tables.model import Row

# A race of 24 hours has 400 laps and 60 cars; with a column for each lap its two tables would be a megabyte.
_MOST = 80

ByCar = Mapping[CarKey, list[Row]]


def by_car(rows: Iterable[Row]) -> dict[CarKey, list[Row]]:
    """Return the rows of each car, in their order."""
    found: defaultdict[CarKey, list[Row]] = defaultdict(list)
    for row in rows:
        found[car_key(row)].append(row)
    return dict(found)


def lap_table(caption: str, cars: ByCar, names: CarNames, cell: Callable[[Row], str]) -> str:
    """Return a table with what ``cell`` writes for each car and lap; of more than 80 laps every second, third.

    Args:
        caption: What the cells are.
        cars: The rows of each car.
        names: What the cars are called.
        cell: Writes what is in a row, as HTML.
    """
    laps = sorted({row["lap_number"] for of_car in cars.values() for row in of_car})
    step = -(-len(laps) // _MOST)
    shown = laps[::step] if laps[::step][-1] == laps[-1] else [*laps[::step], laps[-1]]
    rows: list[list[str]] = []
    for of_car in cars.values():
        cells = {row["lap_number"]: cell(row) for row in of_car}
        rows.append([name(names.of(of_car[0])), *(cells.get(lap, "") for lap in shown)])
    columns = [Column("Car", is_text=True), *(Column(str(lap)) for lap in shown)]
    return table(caption if step == 1 else f"{caption}; every {step} laps", columns, rows)
