"""Draws the map of the track, coloured by the speed of the best lap."""

from dataclasses import dataclass
from itertools import groupby

import numpy as np

from apex_pipeline.distance import DistanceLap, TrackLine, TrackMap
from apex_pipeline.distance.arrays import Numbers
from apex_pipeline.reports.markup import Column, figure, missing, section, table, text
from apex_pipeline.reports.session_report.cars import CarNames
from apex_pipeline.reports.session_report.facts import SessionFacts
from apex_pipeline.reports.session_report.numbers import decimals
from apex_pipeline.reports.session_report.trace_section import lap_labels
from apex_pipeline.reports.session_report.traces import SPEED

# Units of the drawing across and down: about the pixels of a phone, so that text is as large there as elsewhere.
_SIZE = 400.0
_MARGIN = 36.0
# Steps of the scale: neighbours can still be told apart.
_COLOURS = 9
# Points of the line: finer than a pixel of a phone.
_POINTS = 360
# Half a mark across the track, and how far its name is from the track, in units.
_MARK, _AWAY = 8.0, 20.0
_ROWS = 40
_START = "start/finish"


@dataclass(frozen=True)
class _Drawn:
    """The line in units of the drawing, its first point again at its end; shape (n + 1,)."""

    x: Numbers
    y: Numbers
    width: float
    height: float

    def data(self, first: int, last: int) -> str:
        """Return the path from one point to another."""
        points = zip(self.x[first : last + 1].tolist(), self.y[first : last + 1].tolist(), strict=True)
        return "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points)

    def across(self, share: float) -> tuple[float, float, float, float]:
        """Return the place at a share of the lap, and the direction away from the middle of the track there."""
        count = len(self.x) - 1
        at = round(share * count) % count
        ahead_x = self.x[(at + 1) % count] - self.x[at - 1]
        ahead_y = self.y[(at + 1) % count] - self.y[at - 1]
        size = max(float(np.hypot(ahead_x, ahead_y)), 1e-9)
        out_x, out_y = float(ahead_y) / size, -float(ahead_x) / size
        x, y = float(self.x[at]), float(self.y[at])
        if out_x * (x - float(self.x.mean())) + out_y * (y - float(self.y.mean())) < 0:
            out_x, out_y = -out_x, -out_y
        return x, y, out_x, out_y


def map_section(facts: SessionFacts, names: CarNames) -> str:
    """Return the section, or the reason why there is no map."""
    found = facts.track_map
    if isinstance(found, str) or found.line is None:
        why = found if isinstance(found, str) else f"There is no map: {found.reason}."
        return section("map", "Map", missing(why))
    drawn = _drawn(found.line)
    about = (
        f"Length {decimals(found.length.length_m, 0)} m ({found.length.evidence}). The line is the median of "
        f"{found.line.laps} laps by GPS, driven from {_START}; north is up."
    )
    lap = None if isinstance(facts.traces, str) else facts.traces.on_distance[0]
    if isinstance(facts.traces, str) or lap is None or not _has_speed(lap):
        why = "No lap with telemetry has a speed to colour it by."
        return section("map", "Map", figure("The track", _svg(drawn, found, "The track", ""), about, why))
    caption = f"Speed of {lap_labels(facts.traces, names)[0]}, km/h"
    steps = _steps(lap.channels[SPEED])
    drawing = _svg(drawn, found, caption, _coloured(drawn, lap, steps)) + _legend(steps)
    return section("map", "Map coloured by speed", figure(caption, drawing, about, as_table=_table(lap, found)))


def _has_speed(lap: DistanceLap) -> bool:
    return SPEED in lap.channels and bool(np.isfinite(lap.channels[SPEED]).any())


def _drawn(line: TrackLine) -> _Drawn:
    every = np.linspace(0, len(line.east_m), _POINTS, endpoint=False).astype(np.intp)
    east, north = line.east_m[np.append(every, 0)], line.north_m[np.append(every, 0)]
    scale = (_SIZE - 2 * _MARGIN) / max(float(np.ptp(east)), float(np.ptp(north)), 1.0)
    x, y = _MARGIN + (east - east.min()) * scale, _MARGIN + (north.max() - north) * scale
    return _Drawn(x, y, float(x.max()) + _MARGIN, float(y.max()) + _MARGIN)


def _svg(drawn: _Drawn, found: TrackMap, title: str, coloured: str) -> str:
    marks = {_START: 0.0, **found.crossings_m}
    crossings = "".join(_mark(drawn, name, at_m / found.length.length_m) for name, at_m in marks.items())
    whole = drawn.data(0, len(drawn.x) - 1)
    line = coloured or f'<path class="plain" d="{whole}"/>'
    return (
        f'<svg class="map" viewBox="0 0 {drawn.width:.0f} {drawn.height:.0f}" role="img"><title>{text(title)}</title>'
        f'<path id="track" class="casing" d="{whole}"/>{line}{crossings}'
        '<circle id="here" r="6" hidden="hidden"/></svg>'
    )


def _mark(drawn: _Drawn, name: str, share: float) -> str:
    x, y, out_x, out_y = drawn.across(share)
    anchor = "n" if out_x > 0.5 else "e" if out_x < -0.5 else "c"  # noqa: PLR2004  -- the name grows away from the track
    ends = f"M{x - _MARK * out_x:.1f},{y - _MARK * out_y:.1f}L{x + _MARK * out_x:.1f},{y + _MARK * out_y:.1f}"
    # 4 below the middle: half the height of a letter.
    place = f'x="{x + _AWAY * out_x:.1f}" y="{y + _AWAY * out_y + 4:.1f}"'
    return f'<path class="mark" d="{ends}"/><text {place} class="{anchor}">{text(name)}</text>'


def _steps(speed: Numbers) -> Numbers:
    low, high = float(np.nanmin(speed)), float(np.nanmax(speed))
    return np.linspace(low, max(high, low + 1), _COLOURS + 1)


def _coloured(drawn: _Drawn, lap: DistanceLap, steps: Numbers) -> str:
    """Return a path for each stretch of one colour; a hole in the speed has none."""
    middles = (np.arange(_POINTS) + 0.5) / _POINTS * float(lap.distance_m[-1])
    nearest = np.clip(np.searchsorted(lap.distance_m, middles), 0, len(lap.distance_m) - 1)
    speed = lap.channels[SPEED][nearest]
    colours = np.where(np.isfinite(speed), np.clip(np.searchsorted(steps, speed) - 1, 0, _COLOURS - 1), -1)
    paths: list[str] = []
    at = 0
    for colour, points in groupby(colours.tolist()):
        size = len(list(points))
        paths += [f'<path class="s s{colour}" d="{drawn.data(at, at + size)}"/>'] if colour >= 0 else []
        at += size
    return "".join(paths)


def _legend(steps: Numbers) -> str:
    items = "".join(
        f'<li><svg width="14" height="14" aria-hidden="true"><rect width="14" height="14" class="f{colour}"/></svg> '
        f"{steps[colour]:.0f}\u2013{steps[colour + 1]:.0f}</li>"
        for colour in range(_COLOURS)
    )
    return f'<ul class="legend">{items}<li>km/h</li></ul>'


def _table(lap: DistanceLap, found: TrackMap) -> str:
    rows_at = range(0, len(lap.distance_m), -(-len(lap.distance_m) // _ROWS))
    marks = ", ".join(f"{name} at {at_m:,.0f} m" for name, at_m in found.crossings_m.items())
    rows = [[decimals(float(lap.distance_m[at]), 0), decimals(float(lap.channels[SPEED][at]), 1)] for at in rows_at]
    columns = (Column("Distance, m"), Column("Speed, km/h"))
    return table(f"Speed along the track{f'; {marks}' if marks else ''}", columns, rows)
