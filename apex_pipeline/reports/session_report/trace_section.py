"""Writes the traces of the two best laps: what is said of them, the numbers that the script draws, and a table."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from apex_pipeline.distance.arrays import Numbers
from apex_pipeline.distance.lap import NO_METHOD
from apex_pipeline.distance.positions import Method
from apex_pipeline.reports.markup import Column, missing, paragraph, section, table, text
from apex_pipeline.reports.session_report.cars import CarNames
from apex_pipeline.reports.session_report.facts import SessionFacts
from apex_pipeline.reports.session_report.numbers import count, decimals, lap, signed
from apex_pipeline.reports.session_report.traces import SPEED, Traces

# Rows of the table: one about every 100 m.
_ROWS = 40
_METHODS: dict[str, str] = {
    Method.SPEED: "integrated speed",
    Method.LAP_DISTANCE: "the car's own lap distance",
    Method.GPS: "GPS on the line of the track",
}
_NO_SCRIPT = "The curves are drawn by a script, which is switched off here; the table below has their numbers."
_HOW = (
    "Drag across a curve to zoom in, double-click to see the whole lap; with two fingers on a touch screen. Gaps are "
    "holes in the telemetry, which nothing fills."
)


@dataclass(frozen=True)
class Panel:
    """A chart of the same distances.

    Attributes:
        title: What is drawn.
        unit: Of its values.
        digits: Digits after the point that are kept.
        series: A curve for each lap, or one; NaN in holes.
        error: Half the width of the band around a single curve.
    """

    title: str
    unit: str
    digits: int
    series: tuple[Numbers, ...]
    error: Numbers | None = None


_PANELS = (
    (SPEED, "Speed", "km/h", 1),
    ("accelerator_pedal_pct", "Accelerator pedal", "%", 0),
    ("throttle_blade_pct", "Throttle blade", "%", 0),
    ("brake_front_bar", "Brake pressure, front", "bar", 1),
    ("brake_rear_bar", "Brake pressure, rear", "bar", 1),
)


def trace_section(facts: SessionFacts, names: CarNames) -> str:
    """Return the section, or the reason why there are no traces."""
    traces = facts.traces
    if isinstance(traces, str):
        return section("traces", "The two best laps on distance", missing(traces))
    labels = lap_labels(traces, names)
    panels = panels_of(traces, labels)
    title = "The two best laps on distance" if len(labels) == 2 else "The best lap on distance"  # noqa: PLR2004
    if not panels:
        return section("traces", title, missing("The laps have no channel that is drawn here."))
    charts = "".join(
        f'<figure><figcaption>{text(panel.title)}, {text(panel.unit)}</figcaption><div class="chart" role="img" '
        f'aria-label="{text(panel.title)} in {text(panel.unit)} on distance; the table below has the numbers"></div>'
        "</figure>"
        for panel in panels
    )
    said = "".join(paragraph(note, "m") for note in (*_facts(traces), *_missing(panels, labels), *traces.notes))
    folded = f"<details><summary>The same as a table</summary>{_table(traces, panels, labels)}</details>"
    return section(
        "traces",
        title,
        paragraph(_sentence(traces, labels) + _faster(facts, traces, names)),
        f"<noscript>{paragraph(_NO_SCRIPT, 'm')}</noscript>",
        '<p class="buttons" hidden><button type="button" data-zoom="0.5">Zoom in</button> '
        '<button type="button" data-zoom="2">Zoom out</button> '
        '<button type="button" data-zoom="">Whole lap</button></p>',
        f'<div id="charts">{charts}</div>',
        paragraph(_HOW, "m"),
        said,
        folded,
    )


def lap_labels(traces: Traces, names: CarNames) -> list[str]:
    """Return what the laps are called: ``#13 lap 5``."""
    return [f"{names.of_vehicle(lap.vehicle_id, lap.car_number)} lap {lap.number}" for lap in traces.laps]


def panels_of(traces: Traces, labels: Sequence[str]) -> list[Panel]:
    """Return the charts: each channel that a lap has, and the delta."""
    panels: list[Panel] = []
    for channel, title, unit, digits in _PANELS:
        nothing = np.full(len(traces.on_distance[0].distance_m), np.nan)
        series = tuple(lap.channels.get(channel, nothing) for lap in traces.on_distance)
        if any(np.isfinite(values).any() for values in series):
            panels.append(Panel(title, unit, digits, series))
    delta = traces.delta
    if delta is not None and np.isfinite(delta.delta_s).any():
        panels.append(Panel(f"Delta: {labels[1]} behind {labels[0]}", "s", 3, (delta.delta_s,), delta.error_s))
    return panels


def trace_data(facts: SessionFacts, names: CarNames) -> str:
    """Return the numbers of the charts as JSON that is safe inside a page; nothing without charts.

    A value is a whole number of its last kept digit, written as the difference to the value before it: half as long.
    """
    if isinstance(facts.traces, str):
        return ""
    labels = lap_labels(facts.traces, names)
    panels = panels_of(facts.traces, labels)
    if not panels:
        return ""
    distance = facts.traces.on_distance[0].distance_m
    data = {
        "step": float(distance[1] - distance[0]),
        "length": round(float(distance[-1]), 2),
        "laps": labels,
        "panels": [
            {
                "title": panel.title,
                "unit": panel.unit,
                "digits": panel.digits,
                "series": [differences(values, panel.digits) for values in panel.series],
                "error": None if panel.error is None else differences(panel.error, panel.digits),
            }
            for panel in panels
        ],
    }
    written = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    # A text may hold what would end the element.
    return written.replace("<", "\\u003c")


def differences(values: Numbers, digits: int) -> list[int | None]:
    """Return values as whole numbers of their last kept digit, each minus the one before it; ``None`` for NaN."""
    known = np.isfinite(values)
    whole = np.rint(np.where(known, values, 0) * 10**digits).astype(np.int64).tolist()
    found: list[int | None] = []
    before = 0
    for value, is_known in zip(whole, known.tolist(), strict=True):
        found.append(value - before if is_known else None)
        before = value if is_known else before
    return found


def _sentence(traces: Traces, labels: Sequence[str]) -> str:
    times = [f"{label}: {lap(one.time_s)}" for label, one in zip(labels, traces.laps, strict=True)]
    if traces.delta is None:
        return f"{times[0]}."
    gap = traces.delta.delta_s[-1]
    behind = f", {signed(float(gap), 3)} s at the line" if np.isfinite(gap) else ""
    return f"{times[0]}; {times[1]}{behind}."


def _faster(facts: SessionFacts, traces: Traces, names: CarNames) -> str:
    """Return a sentence about the fastest lap of the session where it is not the first of the two."""
    best, shown = facts.best[0], traces.laps[0]
    if (best["vehicle_id"], best["lap_number"]) == (shown.vehicle_id, shown.number):
        return ""
    label = f"{names.of_vehicle(best['vehicle_id'], best['car_number'])} lap {best['lap_number']}"
    time = lap(best["lap_time_s"])
    return f" The fastest lap of the session, {label} in {time}, has no telemetry as complete as theirs."


def _facts(traces: Traces) -> list[str]:
    """Return how the distance was found, how sure the delta is, and where there is none."""
    delta = traces.delta
    method = traces.on_distance[0].method if delta is None else delta.method
    said = "There is no distance." if method == NO_METHOD else f"Distance by {_method(method)}."
    if delta is None:
        return [said]
    if np.isfinite(delta.error_s).any():
        said += (
            f" The grey band is how far the delta may be off, nine times in ten: at most "
            f"{decimals(float(np.nanmax(delta.error_s)), 3)} s."
        )
    if delta.holes:
        listed = ", ".join(f"{start:,.0f} to {end:,.0f} m" for start, end in delta.holes[:6])
        said += f" {count(len(delta.holes), 'stretch has', 'stretches have')} no delta: {listed}."
    return [said]


def _method(method: str) -> str:
    return " and ".join(_METHODS.get(one, one) for one in method.split(" / "))


def _missing(panels: Sequence[Panel], labels: Sequence[str]) -> list[str]:
    """Return a sentence for each lap that lacks a channel of the other."""
    found: list[str] = []
    for at, label in enumerate(labels):
        of_laps = [panel for panel in panels if len(panel.series) == len(labels) and panel.error is None]
        lacks = [panel.title.lower() for panel in of_laps if not np.isfinite(panel.series[at]).any()]
        found += [f"{label} has no {', no '.join(lacks)}."] if lacks else []
    return found


def _table(traces: Traces, panels: Sequence[Panel], labels: Sequence[str]) -> str:
    distance = traces.on_distance[0].distance_m
    rows_at = sorted({*range(0, len(distance), -(-len(distance) // _ROWS)), len(distance) - 1})
    columns = [Column("Distance, m")]
    curves: list[tuple[Numbers, int]] = []
    for panel in panels:
        of_laps = labels if len(panel.series) == len(labels) else [""]
        columns += [Column(f"{panel.title}, {panel.unit}{f', {label}' if label else ''}") for label in of_laps]
        curves += [(values, panel.digits) for values in panel.series]
    rows = [
        [decimals(float(distance[at]), 0), *(decimals(float(values[at]), digits) for values, digits in curves)]
        for at in rows_at
    ]
    step = max((after - before for before, after in pairwise(rows_at)), default=1)
    return table(f"Every {step * (distance[1] - distance[0]):,.0f} m", columns, rows)
