"""Writes the weather: its range, and the readings thinned to a table of some rows."""

from collections.abc import Sequence

from apex_pipeline.reports.markup import Column, element, missing, paragraph, section, table, text
from apex_pipeline.reports.session_report.facts import SessionFacts
from apex_pipeline.reports.session_report.numbers import UNKNOWN, count, decimals
from apex_pipeline.tables.model import Row

# Column, title and digits after the point.
_Measure = tuple[str, str, int]
_MEASURES: tuple[_Measure, ...] = (
    ("air_temp_c", "Air, °C", 1),
    ("track_temp_c", "Track, °C", 1),
    ("humidity_pct", "Humidity, %", 0),
    ("pressure_hpa", "Pressure, hPa", 0),
    # The source does not state the unit of the wind.
    ("wind_speed", "Wind, unit not stated", 1),
    ("wind_direction_deg", "Wind from, °", 0),
)
# Rows of the table: a race has about 45 readings, one a minute.
_ROWS = 12


def weather_section(facts: SessionFacts) -> str:
    """Return the section, or the reason why there is none."""
    readings = facts.weather
    if not readings:
        return section("weather", "Weather", missing("None of the session's files has weather."))
    step = -(-len(readings) // _ROWS)
    day = readings[0]["observed_utc"]
    measured = [one for one in _MEASURES if any(row[one[0]] is not None for row in readings)]
    columns = [Column("Time, UTC", is_text=True), *(Column(title) for _, title, _ in measured), Column("Rain")]
    ranges = [_range(readings, name, digits) for name, _, digits in measured]
    rows = [[element("b", "range"), *ranges, _rain(readings)], *(_cells(row, measured) for row in readings[::step])]
    thinned = "" if step == 1 else f"; 1 of {step} readings"
    return section(
        "weather", "Weather", table(f"{day:%d %B %Y}{thinned}", columns, rows), paragraph(_sentence(readings), "m")
    )


def _range(readings: Sequence[Row], name: str, digits: int) -> str:
    values = [row[name] for row in readings if row[name] is not None]
    if not values or name == "wind_direction_deg":  # a circle has no lowest
        return ""
    return f"{decimals(min(values), digits)} to {decimals(max(values), digits)}"


def _rain(readings: Sequence[Row]) -> str:
    known = {row["is_raining"] for row in readings} - {None}
    return "yes" if True in known else "no" if known else UNKNOWN


def _cells(row: Row, measured: Sequence[_Measure]) -> list[str]:
    rain = {True: "yes", False: "no"}.get(row["is_raining"], UNKNOWN)
    time = text(f"{row['observed_utc']:%H:%M}")
    return [time, *(decimals(row[name], digits) for name, _, digits in measured), rain]


def _sentence(readings: Sequence[Row]) -> str:
    rainy = sum(row["is_raining"] is True for row in readings)
    said = f"Rain in {rainy:,} of them." if rainy else "No rain reported."
    return f"{count(len(readings), 'reading')}. {said}"
